package feed

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// anchors are what the trust in a feed's documents rests on: the policy, and the certificates of the accepted document. Those do
// not count for a document with a counter-signature, which is judged for the time that it proves.
func anchors(feed *emsv1.MitigationFeed) ([]trust.Anchor, error) {
	all, err := feedtrust.Policy(feed.Spec.Trust).Anchors()
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Field = "spec.trust." + all[i].Field
	}
	all = append(all, fetchedLists(feed)...)
	document := &feed.Status.Document
	if document.SignerExpiryTime != nil && document.SignedTime == nil {
		all = append(all, trust.Anchor{
			Kind: trust.KindSigner, Field: "status.document", Subject: document.Signer, NotAfter: document.SignerExpiryTime.Time,
		})
	}
	return all, nil
}

// fetchedLists are the lists that the agents are handed and that the policy itself does not hold.
func fetchedLists(feed *emsv1.MitigationFeed) (anchors []trust.Anchor) {
	policy := &feed.Spec.Trust.Revocation
	if mode := xmlsig.RevocationMode(policy.Mode); mode == "" || mode == xmlsig.RevocationOff {
		return nil
	}
	for _, list := range feed.Status.Revocation.Lists {
		if list.Source == lists.ConfiguredSource || list.ThisUpdateTime == nil {
			continue
		}
		a := trust.Anchor{Kind: trust.KindFetchedList, Field: list.Source, Subject: list.Issuer, Since: list.ThisUpdateTime.Time}
		if list.NextUpdateTime != nil {
			a.NotAfter = list.NextUpdateTime.Time
		}
		if oldest := a.Since.Add(time.Duration(policy.MaxAgeSeconds) * time.Second); policy.MaxAgeSeconds > 0 && (a.NotAfter.IsZero() || oldest.Before(a.NotAfter)) {
			a.NotAfter = oldest
		}
		anchors = append(anchors, a)
	}
	return anchors
}

// beganToMissLists reports whether lists cannot be read, or others than before.
func beganToMissLists(before, after []metav1.Condition) bool {
	is := meta.FindStatusCondition(after, emsv1.RevocationListsReadCondition)
	if is == nil || is.Status != metav1.ConditionFalse {
		return false
	}
	was := meta.FindStatusCondition(before, emsv1.RevocationListsReadCondition)
	return was == nil || was.Status != is.Status || was.Reason != is.Reason
}

// trustAnchors is the condition over a feed's anchors.
func trustAnchors(feed *emsv1.MitigationFeed, now time.Time) metav1.Condition {
	all, err := anchors(feed)
	if err != nil {
		// Ready says what is wrong, and an event has told of it.
		return metav1.Condition{
			Type: emsv1.TrustAnchorsCurrentCondition, Status: metav1.ConditionUnknown, ObservedGeneration: feed.Generation,
			Reason: emsv1.InvalidSpecReason, Message: "spec.trust cannot be read; see Ready",
		}
	}
	return conditions.TrustAnchors(all, feed.Generation, now)
}

// anchorsUntil returns when the condition over the anchors may change by itself; zero if it does not.
func anchorsUntil(feed *emsv1.MitigationFeed, now time.Time) time.Time {
	all, err := anchors(feed)
	if err != nil {
		return time.Time{}
	}
	return trust.NextChange(all, now, trust.Horizon)
}

// noteSigner keeps until when the certificates of the accepted document last: in the status for the condition, in memory for
// the metrics. Every look at the document notes them anew, so that neither is missing after a restart.
func (r *Reconciler) noteSigner(feed *emsv1.MitigationFeed, d *document) {
	chain := d.signed.Chain
	if len(chain) < 2 {
		return
	}
	var issuers []trust.Anchor
	end := chain[0].NotAfter
	for _, c := range chain[1 : len(chain)-1] {
		issuers = append(issuers, trust.CertificateAnchor(trust.KindIssuer, "status.document", c))
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	feed.Status.Document.SignerExpiryTime = optionalTime(end)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.issuers == nil {
		r.issuers = map[string][]trust.Anchor{}
	}
	r.issuers[client.ObjectKeyFromObject(feed).Name] = issuers
}

// measure exports what the status says in numbers.
func (r *Reconciler) measure(feed *emsv1.MitigationFeed) {
	if read := feed.Status.LastReadTime; read != nil {
		measured.lastSuccess.WithLabelValues(feed.Name).Set(float64(read.Unix()))
	}
	measured.setPush(feed.Name, feed.Status.Push)
	all, err := feedtrust.Policy(feed.Spec.Trust).Anchors()
	if err != nil {
		return // what was known before is better than nothing
	}
	r.mu.Lock()
	all = slices.Concat(all, r.issuers[feed.Name])
	r.mu.Unlock()
	measured.setAnchors(feed.Name, all)
}

// beganToRunOut reports whether the condition over the anchors says something worse than before.
func beganToRunOut(before, after []metav1.Condition) bool {
	was := meta.FindStatusCondition(before, emsv1.TrustAnchorsCurrentCondition)
	is := meta.FindStatusCondition(after, emsv1.TrustAnchorsCurrentCondition)
	if is == nil || is.Status != metav1.ConditionFalse {
		return false
	}
	return was == nil || was.Status != is.Status || was.Reason != is.Reason
}
