package feed

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
)

// spareBundles is how many bundles of a feed are kept beside those in use, for agents that are about to fetch one.
const spareBundles = 2

// storeBundle creates the bundle of the document if it is not there, and returns its name.
func (r *Reconciler) storeBundle(ctx context.Context, feed *emsv1.MitigationFeed, d *document) (string, error) {
	bundle := &emsv1.MitigationBundle{
		ObjectMeta: metav1.ObjectMeta{
			Name:   feed.Name + "-" + d.digest[:12],
			Labels: map[string]string{emsv1.FeedLabel: feed.Name},
		},
		Spec: emsv1.MitigationBundleSpec{
			FeedName: feed.Name, Product: feed.Spec.Product, Document: d.raw, Digest: d.digest,
			Publisher: d.Publisher, Sequence: d.Sequence,
			IssuedTime: optionalTime(d.Issued), ExpiryTime: optionalTime(d.Expires),
		},
	}
	revoked := r.listsOf(feed)
	if revoked != nil {
		handed, _ := revoked.book.HandOut()
		bundle.Spec.RevocationLists = encoded(handed)
	}
	err := r.Client.Create(ctx, bundle)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create MitigationBundle %q: %w", bundle.Name, err)
	}
	if err == nil {
		revoked.foundIn(bundle)
	}
	return bundle.Name, nil
}

// writeMitigations makes the feed's Mitigations those of the document. Configs that were refused leave what an earlier
// document brought as it is. It returns the Configs that this cluster refuses in addition.
func (r *Reconciler) writeMitigations(ctx context.Context, feed *emsv1.MitigationFeed, d *document, bundleName string) ([]emsv1.RefusedConfig, error) {
	var list emsv1.MitigationList
	if err := r.Client.List(ctx, &list, client.MatchingLabels{emsv1.FeedLabel: feed.Name}); err != nil {
		return nil, fmt.Errorf("list Mitigations: %w", err)
	}
	existing := make(map[string]*emsv1.Mitigation, len(list.Items))
	for i := range list.Items {
		existing[list.Items[i].Name] = &list.Items[i]
	}

	var refused []emsv1.RefusedConfig
	for _, want := range mitigations(feed, d, bundleName) {
		why, err := r.writeMitigation(ctx, existing[want.Name], want)
		if err != nil {
			return nil, err
		}
		if why != nil {
			refused = append(refused, *why)
		}
		delete(existing, want.Name)
	}
	for _, config := range d.Refused {
		delete(existing, strings.ToLower(config.ID))
	}
	for _, name := range sortedKeys(existing) {
		if err := r.withdraw(ctx, existing[name]); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// writeMitigation creates or updates one Mitigation. It returns why the Config is refused, if it is.
func (r *Reconciler) writeMitigation(ctx context.Context, current, want *emsv1.Mitigation) (*emsv1.RefusedConfig, error) {
	var err error
	switch {
	case current == nil:
		err = r.Client.Create(ctx, want)
		if apierrors.IsAlreadyExists(err) {
			return r.taken(ctx, want)
		}
	case equality.Semantic.DeepEqual(current.Spec, want.Spec):
		return nil, nil
	default:
		changed := current.DeepCopy()
		changed.Spec = want.Spec
		err = r.Client.Update(ctx, changed)
	}
	if apierrors.IsInvalid(err) {
		return &emsv1.RefusedConfig{
			ID: string(want.Spec.ID), Reason: emsv1.NotRepresentableReason, Message: conditions.Truncate(err.Error()),
		}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("write Mitigation %q: %w", want.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("Wrote mitigation", "id", want.Spec.ID, "revision", want.Spec.Revision, "lifecycle", want.Spec.Lifecycle)
	return nil, nil
}

// taken looks at a Mitigation that exists although it does not bear this feed's label in the cache.
func (r *Reconciler) taken(ctx context.Context, want *emsv1.Mitigation) (*emsv1.RefusedConfig, error) {
	other := &emsv1.Mitigation{}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(want), other); err != nil {
		return nil, fmt.Errorf("get Mitigation %q: %w", want.Name, err)
	}
	if other.Spec.FeedName == want.Spec.FeedName {
		return nil, fmt.Errorf("create Mitigation %q: it exists and the cache does not show it yet", want.Name)
	}
	return &emsv1.RefusedConfig{
		ID: string(want.Spec.ID), Reason: emsv1.IDTakenReason,
		Message: fmt.Sprintf("feed %q already provides a mitigation of this id; one of the two publishers has to use another", other.Spec.FeedName),
	}, nil
}

func (r *Reconciler) withdraw(ctx context.Context, current *emsv1.Mitigation) error {
	if current.Spec.Lifecycle == emsv1.LifecycleWithdrawn {
		return nil
	}
	changed := current.DeepCopy()
	changed.Spec.Lifecycle, changed.Spec.SupersededBy = emsv1.LifecycleWithdrawn, ""
	if err := r.Client.Update(ctx, changed); err != nil {
		return fmt.Errorf("withdraw Mitigation %q: %w", current.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("Withdrew mitigation", "id", current.Spec.ID)
	return nil
}

// deleteOldBundles deletes bundles of the feed that neither a Mitigation nor a plan refers to, but for the newest few. Plans name
// older ones: what servers go back to when a revision fails.
func (r *Reconciler) deleteOldBundles(ctx context.Context, feed *emsv1.MitigationFeed) error {
	var bundles metav1.PartialObjectMetadataList
	bundles.SetGroupVersionKind(emsv1.GroupVersion.WithKind("MitigationBundleList"))
	if err := r.Client.List(ctx, &bundles, client.MatchingLabels{emsv1.FeedLabel: feed.Name}); err != nil {
		return fmt.Errorf("list MitigationBundles: %w", err)
	}
	var list emsv1.MitigationList
	if err := r.Client.List(ctx, &list, client.MatchingLabels{emsv1.FeedLabel: feed.Name}); err != nil {
		return fmt.Errorf("list Mitigations: %w", err)
	}
	var plans emsv1.MitigationPlanList
	if err := r.Client.List(ctx, &plans, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list MitigationPlans: %w", err)
	}
	inUse := map[string]bool{feed.Status.Document.BundleName: true}
	for i := range list.Items {
		inUse[list.Items[i].Spec.BundleName] = true
	}
	for i := range plans.Items {
		for j := range plans.Items[i].Spec.Mitigations {
			planned := &plans.Items[i].Spec.Mitigations[j]
			inUse[planned.BundleName], inUse[planned.Rollout.Fallback.BundleName] = true, true
		}
	}
	old := slices.DeleteFunc(bundles.Items, func(b metav1.PartialObjectMetadata) bool { return inUse[b.Name] })
	slices.SortFunc(old, func(a, b metav1.PartialObjectMetadata) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	for i := spareBundles; i < len(old); i++ {
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, &old[i])); err != nil {
			return fmt.Errorf("delete MitigationBundle %q: %w", old[i].Name, err)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
