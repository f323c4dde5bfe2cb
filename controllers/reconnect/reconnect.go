package reconnect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"mitigation.dev/ems/internal/pause"
)

const (
	// longest is the longest pause before an API server that cannot be reached is tried again; each is random below it.
	longest = 2 * time.Second
	// firstRetry is the pause after the first failure of an object, lastRetry the one that it doubles up to.
	firstRetry, lastRetry = 5 * time.Millisecond, 5 * time.Second
)

// RateLimiter is for queues of few objects.
func RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry)
}

// NewInformer makes an informer that waits for an API server that cannot be reached.
func NewInformer(from toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(&patient{
		from: toolscache.ToListerWatcherWithContext(from), original: from, what: fmt.Sprintf("%T", example),
	}, example, resync, indexers)
}

// patient tries again by itself while the API server cannot be reached. Who asks it sees an answer that takes long, and has no
// reason for longer and longer pauses.
type patient struct {
	from     toolscache.ListerWatcherWithContext
	original toolscache.ListerWatcher
	what     string
}

// IsWatchListSemanticsUnSupported says what the original says, which decides how the first objects are read.
func (p *patient) IsWatchListSemanticsUnSupported() bool {
	original, ok := p.original.(interface{ IsWatchListSemanticsUnSupported() bool })
	return ok && original.IsWatchListSemanticsUnSupported()
}

// ListWithContext implements toolscache.ListerWatcherWithContext.
func (p *patient) ListWithContext(ctx context.Context, options metav1.ListOptions) (list runtime.Object, err error) {
	p.try(ctx, func() error { list, err = p.from.ListWithContext(ctx, options); return err })
	return list, err
}

// WatchWithContext implements toolscache.ListerWatcherWithContext.
func (p *patient) WatchWithContext(ctx context.Context, options metav1.ListOptions) (w watch.Interface, err error) {
	p.try(ctx, func() error { w, err = p.from.WatchWithContext(ctx, options); return err })
	return w, err
}

// List implements toolscache.ListerWatcher.
func (p *patient) List(options metav1.ListOptions) (runtime.Object, error) {
	return p.ListWithContext(context.Background(), options)
}

// Watch implements toolscache.ListerWatcher.
func (p *patient) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return p.WatchWithContext(context.Background(), options)
}

func (p *patient) try(ctx context.Context, do func() error) {
	for told := false; ; {
		err := do()
		if !Unreachable(err) || ctx.Err() != nil {
			return
		}
		if !told {
			told = true
			ctrl.Log.WithName("reconnect").Info("API server cannot be reached and will be tried again", "watched", p.what, "problem", err.Error())
		}
		if pause.For(ctx, rand.N(longest)) != nil {
			return
		}
	}
}

// Unreachable reports whether a request got no answer.
func Unreachable(err error) bool {
	if err == nil {
		return false
	}
	_, network := errors.AsType[*net.OpError](err)
	return network || utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err)
}
