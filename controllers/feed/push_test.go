package feed

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/push"
	"mitigation.dev/ems/internal/fetch"
)

func TestFollowWatchesWhatCanBeWatched(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*emsv1.MitigationFeed)
		want   emsv1.PushState
	}{
		"an accepted document without a validator":  {change: func(f *emsv1.MitigationFeed) { f.Status.ETag = "" }, want: emsv1.PushNotOffered},
		"an accepted document is watched at once":   {change: func(*emsv1.MitigationFeed) {}},
		"no document has been accepted yet":         {change: func(f *emsv1.MitigationFeed) { f.Status.Document = emsv1.AcceptedDocument{} }},
		"a ConfigMap tells nothing":                 {change: func(f *emsv1.MitigationFeed) { f.Spec.URL = "" }},
		"push is disabled":                          {change: func(f *emsv1.MitigationFeed) { f.Spec.Push = emsv1.Disabled }, want: emsv1.PushDisabled},
		"polling is disabled":                       {change: func(f *emsv1.MitigationFeed) { f.Spec.Polling = emsv1.Disabled }, want: emsv1.PushDisabled},
		"a spec that cannot be used is not watched": {change: func(f *emsv1.MitigationFeed) { f.Spec.CABundle, f.Status.ETag = "damaged", "" }},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reconciler{watcher: push.New(push.Options{})}
			ended := make(chan error)
			go func() { ended <- r.watcher.Start(t.Context()) }()
			feed := &emsv1.MitigationFeed{
				ObjectMeta: metav1.ObjectMeta{Name: "contoso", Generation: 3, UID: "u"},
				Spec:       emsv1.MitigationFeedSpec{URL: "http://127.0.0.1:1/"},
				Status:     emsv1.MitigationFeedStatus{ETag: `"v1"`, Document: emsv1.AcceptedDocument{Digest: "d"}},
			}
			tc.change(feed)
			got := r.follow(feed)
			for got != tc.want && tc.want == emsv1.PushNotOffered && t.Context().Err() == nil {
				got = r.follow(feed) // the watcher is about to start
			}
			if got != tc.want {
				t.Errorf("follow() = %q, want %q", got, tc.want)
			}
			r.watcher.Forget("contoso")
		})
	}
}

func TestNewsMakesAPollDue(t *testing.T) {
	start := time.Now()
	feed := &emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: "contoso"},
		Status:     emsv1.MitigationFeedStatus{LastReadTime: &metav1.Time{Time: start}, ObservedGeneration: new(int64)},
	}
	r := &Reconciler{}
	r.schedule(feed, start)
	if r.due(feed, start) {
		t.Fatal("a feed that was just polled is due")
	}
	r.expect(types.NamespacedName{Name: "contoso"})
	if !r.due(feed, start) {
		t.Error("news do not make the poll due")
	}
	if !r.takeExpected(feed) || r.takeExpected(feed) {
		t.Error("news is taken by the poll that begins, once")
	}
	r.expect(types.NamespacedName{Name: "contoso"})
	r.schedule(feed, start) // the poll that ran while the news came is over
	if !r.due(feed, start) {
		t.Error("news that came during a poll is lost")
	}
}

func TestLimitsOfTheSpec(t *testing.T) {
	for name, tc := range map[string]struct {
		spec emsv1.MitigationFeedSpec
		want fetch.Limits
	}{
		"what is left out has the defaults of the downloader": {},
		"every limit of the spec counts": {
			spec: emsv1.MitigationFeedSpec{TimeoutSeconds: 7, Limits: emsv1.FetchLimits{MaxBytes: 2048, ConnectTimeoutSeconds: 2, HeaderTimeoutSeconds: 3, MinimumBytesPerSecond: 4}},
			want: fetch.Limits{Dial: 2 * time.Second, TLS: 2 * time.Second, Headers: 3 * time.Second, Total: 7 * time.Second, Bytes: 2048, Rate: 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, limits(&tc.spec)); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestThePushMetricFollowsTheState(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMeasures(registry)
	for _, tc := range []struct {
		state emsv1.PushState
		want  map[string]float64
	}{
		{emsv1.PushConnected, map[string]float64{"ems_feed_push_connected feed=contoso": 1}},
		{emsv1.PushDisconnected, map[string]float64{"ems_feed_push_connected feed=contoso": 0}},
		{emsv1.PushNotOffered, map[string]float64{"ems_feed_push_connected feed=contoso": 0}},
		{emsv1.PushDisabled, map[string]float64{}},
		{emsv1.PushConnected, map[string]float64{"ems_feed_push_connected feed=contoso": 1}},
		{"", map[string]float64{}},
	} {
		m.setPush("contoso", tc.state)
		if diff := cmp.Diff(tc.want, series(t, registry)); diff != "" {
			t.Errorf("state %q (-want +got):\n%s", tc.state, diff)
		}
	}
}
