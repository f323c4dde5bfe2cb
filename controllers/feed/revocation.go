package feed

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/xmlsig"
)

// listState is what the manager knows of the revocation lists of one feed, under one generation of its spec. Only the reconcile
// of that feed uses it.
type listState struct {
	generation int64

	book lists.Book
	// restored says that the lists which were handed out before have been looked up.
	restored bool
	// settled says that the lists fetched last have been compared with a document.
	settled bool
	// request is the annotation that was there when the lists were last fetched, next when they are due again; zero before.
	request string
	next    time.Time
	// read is when all URLs were last read successfully.
	read time.Time
	// unread says which URLs could not be read and why, refused which of the fetched lists are not used and why, beyond for
	// which of the lists in use bundles have no room.
	unread          error
	refused, beyond []revocation.Refused
	// written are the digests of the lists in each bundle.
	written map[string]string
}

// listsOf returns the state of the feed's lists, nil if the policy does not look at any.
func (r *Reconciler) listsOf(feed *emsv1.MitigationFeed) *listState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if mode := xmlsig.RevocationMode(feed.Spec.Trust.Revocation.Mode); mode == "" || mode == xmlsig.RevocationOff {
		delete(r.lists, feed.Name)
		return nil
	}
	if r.lists == nil {
		r.lists = map[string]*listState{}
	}
	state, known := r.lists[feed.Name]
	if !known || state.generation != feed.Generation {
		// Another policy may believe other lists. Those that were handed out are judged by it as well.
		state = &listState{generation: feed.Generation, written: map[string]string{}}
		r.lists[feed.Name] = state
	}
	return state
}

// refreshLists fetches the feed's revocation lists if that is due. A list that cannot be fetched leaves the one that is there;
// the errors are those of the API server.
func (r *Reconciler) refreshLists(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) error {
	state := r.listsOf(feed)
	if state == nil {
		return nil
	}
	if err := r.restoreLists(ctx, feed, state); err != nil {
		return err
	}
	urls := feed.Spec.Trust.Revocation.URLs
	asked := feed.Annotations[emsv1.ReconcileRequestAnnotation]
	if len(urls) == 0 || state.request == asked && now.Before(state.next) {
		return nil
	}
	if r.isExpected(feed) && len(state.book.Known()) > 0 {
		return nil // a new document is there and does not wait for newer lists; they are fetched right after it
	}
	request, err := listRequest(feed)
	if err != nil {
		return nil //nolint:nilerr // Ready says what is wrong with the spec
	}
	found, err := lists.Fetch(ctx, urls, request)
	if ctx.Err() != nil {
		return fmt.Errorf("fetch revocation lists: %w", ctx.Err())
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("Fetching revocation lists failed", "cause", err.Error())
		measured.listFailures.WithLabelValues(feed.Name).Inc()
	} else {
		state.read = now
	}
	state.unread, state.settled, state.request = err, false, asked
	state.book.Note(found)
	state.schedule(feed, now)
	if err == nil && conditions.Current(feed.Status.Conditions).Reason == emsv1.SignerUntrustedReason {
		// Perhaps for want of these lists; the next try after the failure may be an hour away.
		r.expect(client.ObjectKeyFromObject(feed))
	}
	return nil
}

// schedule sets when to fetch the lists again.
func (s *listState) schedule(feed *emsv1.MitigationFeed, now time.Time) {
	maxAge := time.Duration(feed.Spec.Trust.Revocation.MaxAgeSeconds) * time.Second
	pause := s.book.Next(now, feed.Spec.Interval(), maxAge, s.unread != nil).Sub(now)
	s.next = now.Add(wait.Jitter(pause, jitter))
}

// restoreLists looks up, once after a restart, which lists were handed out, so that they never go back.
func (r *Reconciler) restoreLists(ctx context.Context, feed *emsv1.MitigationFeed, state *listState) error {
	name := feed.Status.Revocation.BundleName
	if state.restored || name == "" {
		return nil
	}
	bundle := &emsv1.MitigationBundle{}
	if err := r.Reader.Get(ctx, types.NamespacedName{Name: name}, bundle); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get MitigationBundle: %w", err)
	}
	state.book.Restore(handedOutBefore(bundle, feed.Status.Revocation.Lists))
	if t := feed.Status.Revocation.LastReadTime; t != nil {
		state.read = t.Time
	}
	state.restored = true
	return nil
}

// handedOutBefore are the lists of a bundle, with the sources that the status tells.
func handedOutBefore(bundle *emsv1.MitigationBundle, described []emsv1.RevocationListStatus) (handedOut []*revocation.List) {
	for _, der := range bundle.Spec.RevocationLists {
		list, err := revocation.Parse(der)
		if err != nil {
			continue // somebody else wrote it
		}
		// Of a list that somebody else wrote, only this is known; the status takes no list without a source.
		list.Source = "MitigationBundle " + bundle.Name
		if i := slices.IndexFunc(described, func(l emsv1.RevocationListStatus) bool { return l.Issuer == issuerOf(list) }); i >= 0 {
			list.Source = described[i].Source
		}
		handedOut = append(handedOut, list)
	}
	return handedOut
}

// listRequest is how the lists are asked for: as the endpoint is, but for its private roots, which stand beside those of the
// system here, since lists come from other hosts.
func listRequest(feed *emsv1.MitigationFeed) (fetch.Request, error) {
	request, err := request(feed)
	if err != nil || feed.Spec.CABundle == "" {
		return request, err
	}
	if request.RootCAs, err = x509.SystemCertPool(); err != nil {
		request.RootCAs = x509.NewCertPool()
	}
	request.RootCAs.AppendCertsFromPEM([]byte(feed.Spec.CABundle))
	return request, nil
}

// settleLists adds to the policy the lists that bear on a document. One that is not genuine is left to the verification to refuse.
func settleLists(raw []byte, feed *emsv1.MitigationFeed, state *listState, policy *xmlsig.Policy, now time.Time) {
	authorities := feedtrust.Authorities(raw, *policy, now)
	if authorities == nil {
		return
	}
	state.refused = state.book.Settle(lists.Configured(feed.Spec.Trust.Revocation.CRLs), authorities, now)
	if !state.settled && !state.next.IsZero() {
		state.settled = true
		state.schedule(feed, now) // by the ends of the lists that are known now
	}
	policy.Revocation.CRLs = slices.Concat(policy.Revocation.CRLs, state.book.Known())
}

// settleByBundle compares the fetched lists with the accepted document if no other one was there to do so: because the endpoint
// does not answer, or its document is refused.
func (r *Reconciler) settleByBundle(ctx context.Context, feed *emsv1.MitigationFeed, state *listState, now time.Time) error {
	if state.settled || state.next.IsZero() {
		return nil
	}
	bundle := &emsv1.MitigationBundle{}
	if err := r.Reader.Get(ctx, types.NamespacedName{Name: feed.Status.Document.BundleName}, bundle); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("get MitigationBundle: %w", err))
	}
	policy, err := feedtrust.Policy(feed.Spec.Trust).Compile()
	if err != nil {
		return nil //nolint:nilerr // Ready says what is wrong with the spec
	}
	settleLists(bundle.Spec.Document, feed, state, &policy, now)
	return nil
}

// handOutLists writes the lists into the feed's bundles, where agents find them, and describes them in the status. Nothing is
// ever taken away: without lists, or with revocation switched off, bundles keep those that they have.
func (r *Reconciler) handOutLists(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) error {
	state, accepted := r.listsOf(feed), feed.Status.Document.BundleName
	if state == nil || accepted == "" {
		return nil
	}
	if err := r.settleByBundle(ctx, feed, state, now); err != nil {
		return err
	}
	var handed []*revocation.List
	if handed, state.beyond = state.book.HandOut(); len(handed) == 0 {
		return nil
	}
	var bundles metav1.PartialObjectMetadataList
	bundles.SetGroupVersionKind(emsv1.GroupVersion.WithKind("MitigationBundleList"))
	if err := r.Client.List(ctx, &bundles, client.MatchingLabels{emsv1.FeedLabel: feed.Name}); err != nil {
		return fmt.Errorf("list MitigationBundles: %w", err)
	}
	names := []string{accepted}
	for i := range bundles.Items {
		if name := bundles.Items[i].Name; name != accepted {
			names = append(names, name)
		}
	}
	digest := revocation.Digest(handed)
	written := map[string]string{}
	for _, name := range names {
		if state.written[name] != digest {
			if err := r.writeLists(ctx, name, handed); err != nil {
				return err
			}
		}
		written[name] = digest
	}
	state.written = written
	feed.Status.Revocation = describeLists(accepted, digest, handed, state.read)
	return nil
}

// writeLists replaces the lists of a bundle. The document beside them, which is large, is neither read nor sent.
func (r *Reconciler) writeLists(ctx context.Context, name string, handed []*revocation.List) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"revocationLists": encoded(handed)}})
	if err != nil {
		return fmt.Errorf("encode revocation lists: %w", err)
	}
	bundle := &emsv1.MitigationBundle{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err = client.IgnoreNotFound(r.Client.Patch(ctx, bundle, client.RawPatch(types.MergePatchType, patch)))
	if err != nil {
		return fmt.Errorf("patch MitigationBundle %q: %w", name, err)
	}
	ctrl.LoggerFrom(ctx).Info("Handed out revocation lists", "MitigationBundle", name, "lists", len(handed))
	return nil
}

// foundIn notes which lists a bundle holds, so that those that somebody changed are written again.
func (s *listState) foundIn(bundle *emsv1.MitigationBundle) {
	if s == nil {
		return
	}
	handed, _ := s.book.HandOut()
	delete(s.written, bundle.Name)
	if lists.Same(bundle.Spec.RevocationLists, handed) {
		s.written[bundle.Name] = revocation.Digest(handed)
	}
}

func encoded(handed []*revocation.List) (ders [][]byte) {
	for _, list := range handed {
		ders = append(ders, list.Raw)
	}
	return ders
}

func describeLists(bundleName, digest string, handed []*revocation.List, read time.Time) emsv1.RevocationStatus {
	status := emsv1.RevocationStatus{BundleName: bundleName, Digest: digest, LastReadTime: optionalTime(read)}
	for _, list := range handed {
		described := emsv1.RevocationListStatus{
			Issuer: issuerOf(list), Source: list.Source,
			ThisUpdateTime: optionalTime(list.ThisUpdate), NextUpdateTime: optionalTime(list.NextUpdate),
		}
		if list.Number != nil {
			described.Number = list.Number.String()
		}
		status.Lists = append(status.Lists, described)
	}
	return status
}

func issuerOf(list *revocation.List) string { return conditions.Truncate(list.Issuer.String()) }

// listsCondition says whether all lists of spec.trust.revocation.urls are read and used; nil if there are none to read.
func (r *Reconciler) listsCondition(feed *emsv1.MitigationFeed) *metav1.Condition {
	state := r.listsOf(feed)
	if state == nil || len(feed.Spec.Trust.Revocation.URLs) == 0 || state.next.IsZero() {
		return nil
	}
	c := &metav1.Condition{
		Type: emsv1.RevocationListsReadCondition, ObservedGeneration: feed.Generation,
		Status: metav1.ConditionTrue, Reason: emsv1.ListsReadReason, Message: "every list of spec.trust.revocation.urls was read",
	}
	if problem := state.problem(); problem != "" {
		c.Status, c.Reason = metav1.ConditionFalse, emsv1.ListRefusedReason
		if state.unread != nil {
			c.Reason = emsv1.ListUnreadableReason
		}
		c.Message = conditions.Truncate(problem + "; the lists that are there stay in use")
	}
	return c
}

// problem says in one line what is wrong with the fetched lists; empty if nothing is.
func (s *listState) problem() string {
	var said []string
	if s.unread != nil {
		said = append(said, strings.ReplaceAll(s.unread.Error(), "\n", "; "))
	}
	for _, refused := range slices.Concat(s.refused, s.beyond) {
		said = append(said, fmt.Sprintf("%s: %s", refused.List.Source, refused.Message))
	}
	return strings.Join(said, "; ")
}

// explain adds to the refusal of a signer why lists are missing, which is often the cause.
func (s *listState) explain(err error) error {
	var refusal *xmlsig.Error
	if s == nil || s.problem() == "" || !errors.As(err, &refusal) || refusal.Class != xmlsig.ClassRevoked {
		return err
	}
	return fmt.Errorf("%w (%s)", err, s.problem())
}

// setListsCondition sets the condition or takes it away.
func (r *Reconciler) setListsCondition(feed *emsv1.MitigationFeed) {
	if c := r.listsCondition(feed); c != nil {
		meta.SetStatusCondition(&feed.Status.Conditions, *c)
		return
	}
	meta.RemoveStatusCondition(&feed.Status.Conditions, emsv1.RevocationListsReadCondition)
}
