package feed

import (
	"context"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/push"
)

// follow has the endpoint of the feed watched for news, or not, as the spec says, and returns how that stands.
func (r *Reconciler) follow(feed *emsv1.MitigationFeed) emsv1.PushState {
	var state emsv1.PushState
	switch {
	case feed.Spec.URL == "":
	case feed.Spec.Push == emsv1.Disabled, feed.Spec.Polling == emsv1.Disabled:
		state = emsv1.PushDisabled
	case feed.Status.Document.Digest == "":
		// News is another document than the accepted one, and there is none yet.
	default:
		request, err := request(feed)
		if err != nil {
			break // Ready says what is wrong with the spec
		}
		request.ETag = feed.Status.ETag
		version := string(feed.UID) + "/" + strconv.FormatInt(feed.Generation, 10)
		r.watcher.Watch(feed.Name, push.Target{Version: version, Request: request})
		return emsv1.PushState(r.watcher.State(feed.Name))
	}
	r.watcher.Forget(feed.Name)
	return state
}

// news has a feed looked at because of what its endpoint said to the watcher, and polled if it has another document.
func (r *Reconciler) news(ctx context.Context, name string, changed bool) {
	if changed {
		r.expect(types.NamespacedName{Name: name})
	}
	feed := &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: name}}
	select {
	case r.events <- event.GenericEvent{Object: feed}:
	case <-ctx.Done():
	}
}

// expect makes the next poll due at once.
func (r *Reconciler) expect(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expected == nil {
		r.expected = map[types.NamespacedName]bool{}
	}
	r.expected[key] = true
}

// takeExpected reports whether news made the poll due that begins now. News that comes while it runs makes the next one due.
func (r *Reconciler) takeExpected(feed *emsv1.MitigationFeed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := client.ObjectKeyFromObject(feed)
	expected := r.expected[key]
	delete(r.expected, key)
	return expected
}

// isExpected reports whether news is there to be polled for.
func (r *Reconciler) isExpected(feed *emsv1.MitigationFeed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.expected[client.ObjectKeyFromObject(feed)]
}
