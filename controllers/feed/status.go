package feed

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
)

func failures(feed *emsv1.MitigationFeed) int32 { return ptr.Deref(feed.Status.Failures, 0) }

// finish writes the conditions, in one place, from what has been found out.
func (r *Reconciler) finish(feed *emsv1.MitigationFeed, outcome conditions.Outcome, now time.Time) {
	status := &feed.Status
	status.ObservedGeneration = new(feed.Generation)
	conditions.Set(&status.Conditions, feed.Generation, outcome)
	if fresh := freshness(feed, now); fresh != nil {
		meta.SetStatusCondition(&status.Conditions, *fresh)
	}
	r.setListsCondition(feed)
	meta.SetStatusCondition(&status.Conditions, trustAnchors(feed, now))
	keepFindings(feed)
	status.Push = r.follow(feed)
	r.measure(feed)
}

// describe says what is known of an accepted document.
func describe(d *document, bundleName string, now time.Time) emsv1.AcceptedDocument {
	signer := ""
	if d.signed.Signer != nil {
		signer = conditions.Truncate(d.signed.Signer.Subject.String())
	}
	return emsv1.AcceptedDocument{
		BundleName: bundleName, Digest: d.digest, Version: d.Version,
		Publisher: d.Publisher, Sequence: d.Sequence, Signer: signer,
		IssuedTime: optionalTime(d.Issued), ExpiryTime: optionalTime(d.Expires),
		SignedTime: optionalTime(d.signed.SignedAt), AcceptedTime: new(metav1.NewTime(now)),
	}
}

// count records how many Configs became Mitigations and which did not.
func count(feed *emsv1.MitigationFeed, d *document, refusedHere []emsv1.RefusedConfig) {
	var refused []emsv1.RefusedConfig
	for _, c := range d.Refused {
		id := c.ID
		if id == "" {
			id = "(without id)"
		}
		refused = append(refused, emsv1.RefusedConfig{ID: id, Reason: c.Reason, Message: conditions.Truncate(c.Message)})
	}
	feed.Status.Refused = slices.Concat(refused, refusedHere)
	feed.Status.Mitigations = new(int32(len(d.Configs) - len(refusedHere))) //nolint:gosec // a document has at most 256 Configs
}

func acceptedOutcome(feed *emsv1.MitigationFeed) conditions.Outcome {
	mitigations := ptr.Deref(feed.Status.Mitigations, 0)
	accepted := fmt.Sprintf("%d mitigations", mitigations)
	if mitigations == 1 {
		accepted = "1 mitigation"
	}
	if sequence := feed.Status.Document.Sequence; sequence > 0 {
		accepted += fmt.Sprintf(" from the document of sequence %d", sequence)
	}
	if document := &feed.Status.Document; namedForJump(feed, document.Sequence, document.Digest) {
		accepted += fmt.Sprintf(", which the annotation %s named; it has served and can be removed", emsv1.AcceptSequenceJumpAnnotation)
	}
	refused := feed.Status.Refused
	if len(refused) == 0 {
		return conditions.Done(emsv1.DocumentAcceptedReason, accepted)
	}
	return conditions.Done(emsv1.PartlyAcceptedReason, fmt.Sprintf("%s; %d refused, first %s (%s): %s; see status.refused and tell the publisher",
		accepted, len(refused), refused[0].ID, refused[0].Reason, refused[0].Message))
}

// freshness judges the age of the accepted document; nil before there is one.
func freshness(feed *emsv1.MitigationFeed, now time.Time) *metav1.Condition {
	document, lastRead := &feed.Status.Document, feed.Status.LastReadTime
	if document.Digest == "" || lastRead == nil {
		return nil
	}
	c := &metav1.Condition{
		Type: emsv1.FreshCondition, ObservedGeneration: feed.Generation,
		Status: metav1.ConditionTrue, Reason: emsv1.WithinLimitsReason, Message: "feed and document are within their limits",
	}
	switch {
	case !now.Before(lastRead.Add(feed.Spec.MaxAge())):
		c.Status, c.Reason = metav1.ConditionFalse, emsv1.FeedStaleReason
		c.Message = fmt.Sprintf("the feed has not been read successfully for more than %s; nothing is removed for that, but new mitigations do not arrive", feed.Spec.MaxAge())
	case document.ExpiryTime != nil && !now.Before(document.ExpiryTime.Time):
		c.Status, c.Reason = metav1.ConditionFalse, emsv1.DocumentExpiredReason
		c.Message = "the document has expired and the publisher has not sent a newer one; nothing is removed for that"
	case document.ExpiryTime == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, emsv1.NoDatesReason, "the document carries no expiry to judge by"
	}
	return c
}

// freshUntil returns when the Fresh condition may change by itself; zero if it does not.
func freshUntil(feed *emsv1.MitigationFeed) time.Time {
	if feed.Status.LastReadTime == nil {
		return time.Time{}
	}
	until := feed.Status.LastReadTime.Add(feed.Spec.MaxAge())
	if expiry := feed.Status.Document.ExpiryTime; expiry != nil && expiry.Time.Before(until) && meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.FreshCondition) {
		until = expiry.Time
	}
	return until
}
