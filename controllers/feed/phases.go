package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/replay"
)

// sequenceJumpAccepted is the reason of the event for a jump that the operator allowed.
const sequenceJumpAccepted = "SequenceJumpAccepted"

// poll reads the feed and takes its document in.
func (r *Reconciler) poll(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) (conditions.Outcome, error) {
	expected := r.takeExpected(feed)
	outcome, err := r.tryPoll(ctx, feed, now)
	if f := (*failure)(nil); errors.As(err, &f) {
		ctrl.LoggerFrom(ctx).Info("Polling failed", "reason", f.reason, "cause", f.Error())
		feed.Status.Failures = new(failures(feed) + 1)
		measured.countFailure(feed.Name, f.reason)
		outcome, err = f.outcome(), nil
	} else if err == nil {
		feed.Status.Failures = nil
	}
	if err != nil {
		if expected {
			r.expect(client.ObjectKeyFromObject(feed))
		}
		return conditions.Outcome{}, err
	}
	feed.Status.LastHandledReconcileAt = feed.Annotations[emsv1.ReconcileRequestAnnotation]
	r.schedule(feed, now)
	return outcome, nil
}

func (r *Reconciler) tryPoll(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) (conditions.Outcome, error) {
	got, err := r.read(ctx, feed)
	if err != nil {
		return conditions.Outcome{}, err
	}
	if got.notModified {
		feed.Status.LastReadTime = new(metav1.NewTime(now))
		return r.fromBundle(ctx, feed, now)
	}
	document, err := verify(got.body, feed, r.listsOf(feed), now)
	if err != nil {
		return conditions.Outcome{}, err
	}
	jumped, err := guard(feed, document, now)
	if err != nil {
		return conditions.Outcome{}, err
	}
	outcome, err := r.accept(ctx, feed, document, got.eTag, now)
	if err == nil && jumped {
		r.Recorder.Eventf(feed, nil, corev1.EventTypeNormal, sequenceJumpAccepted, "Poll",
			"Accepted the document of sequence %d, which the annotation %s names", document.Sequence, emsv1.AcceptSequenceJumpAnnotation)
	}
	return outcome, err
}

// guard checks that the document may follow what was accepted, and reports whether it does so by a jump that the operator
// allowed. Errors are *failure.
func guard(feed *emsv1.MitigationFeed, d *document, now time.Time) (jumped bool, err error) {
	before, candidate := seen(feed), d.candidate()
	if namedForJump(feed, candidate.Sequence, candidate.Digest) {
		before.JumpTo = candidate.Sequence
	}
	if err := replay.Check(before, candidate, feedtrust.Policy(feed.Spec.Trust).AcceptsUndated(), now); err != nil {
		reason := replayReason(err)
		if reason == emsv1.SequenceJumpReason {
			err = fmt.Errorf("%w with the annotation %s=%d", err, emsv1.AcceptSequenceJumpAnnotation, candidate.Sequence)
		}
		return false, failed(reason, err)
	}
	return replay.Jumps(before, candidate), nil
}

// accept stores the document and writes its mitigations. The status changes only after all of it is done, so that a
// poll that was interrupted is done again.
func (r *Reconciler) accept(ctx context.Context, feed *emsv1.MitigationFeed, d *document, eTag string, now time.Time) (conditions.Outcome, error) {
	bundleName, err := r.storeBundle(ctx, feed, d)
	if err != nil {
		return conditions.Outcome{}, err
	}
	refused, err := r.writeMitigations(ctx, feed, d, bundleName)
	if err != nil {
		return conditions.Outcome{}, err
	}
	status := &feed.Status
	if status.Document.Digest != d.digest {
		ctrl.LoggerFrom(ctx).Info("Accepted document", "digest", d.digest, "sequence", d.Sequence, "mitigations", len(d.Configs))
		status.Document = describe(d, bundleName, now)
	}
	r.noteSigner(feed, d)
	noteFindings(feed, d)
	status.HighestSequence = max(status.HighestSequence, d.Sequence)
	status.ETag = eTag
	status.LastReadTime = new(metav1.NewTime(now))
	count(feed, d, refused)
	if err := r.deleteOldBundles(ctx, feed); err != nil {
		return conditions.Outcome{}, err
	}
	return acceptedOutcome(feed), nil
}

// restore checks between polls that what the accepted document says is there, for when somebody deleted or changed a
// Mitigation. It works from the bundle, also while the feed cannot be read.
func (r *Reconciler) restore(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) (conditions.Outcome, error) {
	if feed.Status.Document.BundleName == "" {
		return conditions.Current(feed.Status.Conditions), nil
	}
	outcome, err := r.fromBundle(ctx, feed, now)
	if f := (*failure)(nil); errors.As(err, &f) {
		outcome, err = f.outcome(), nil
	}
	if failures(feed) > 0 {
		// The last poll failed, and that is what there is to say until the next one.
		outcome = conditions.Current(feed.Status.Conditions)
	}
	return outcome, err
}

// fromBundle writes the mitigations of the accepted document again where they differ.
func (r *Reconciler) fromBundle(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) (conditions.Outcome, error) {
	bundle := &emsv1.MitigationBundle{}
	if err := r.Reader.Get(ctx, types.NamespacedName{Name: feed.Status.Document.BundleName}, bundle); err != nil {
		if apierrors.IsNotFound(err) {
			// Somebody deleted the bundle. Reading the feed unconditionally brings it back; an answer that the document
			// has not changed, which would lead here again, does not count without an ETag.
			feed.Status.ETag = ""
			return r.tryPoll(ctx, feed, now)
		}
		return conditions.Outcome{}, fmt.Errorf("get MitigationBundle: %w", err)
	}
	revoked := r.listsOf(feed)
	revoked.foundIn(bundle)
	d, err := verify(bundle.Spec.Document, feed, revoked, now)
	if err != nil {
		return conditions.Outcome{}, err
	}
	refused, err := r.writeMitigations(ctx, feed, d, bundle.Name)
	if err != nil {
		return conditions.Outcome{}, err
	}
	r.noteSigner(feed, d)
	noteFindings(feed, d)
	count(feed, d, refused)
	return acceptedOutcome(feed), nil
}
