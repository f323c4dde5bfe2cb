package reconnect

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var refused error = &url.Error{Op: "Get", URL: "https://api.contoso.com/", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}

func TestOnlyAnAPIServerThatGivesNoAnswerIsWaitedFor(t *testing.T) {
	expired := apierrors.NewResourceExpired("too old")
	for name, tc := range map[string]struct {
		answers   []error
		wantTries int
		want      error
	}{
		"an answer":                  {answers: []error{nil}, wantTries: 1},
		"a refused connection":       {answers: []error{refused, refused, nil}, wantTries: 3},
		"an answer that is a no":     {answers: []error{expired, nil}, wantTries: 1, want: expired},
		"a no after a while":         {answers: []error{refused, expired}, wantTries: 2, want: expired},
		"the end while it is waited": {answers: []error{refused, refused, refused, refused, refused}, wantTries: 5, want: refused},
	} {
		t.Run(name, func(t *testing.T) {
			for method, ask := range map[string]func(*patient, context.Context) error{
				"watch": func(p *patient, ctx context.Context) error {
					_, err := p.WatchWithContext(ctx, metav1.ListOptions{})
					return err
				},
				"list": func(p *patient, ctx context.Context) error {
					_, err := p.ListWithContext(ctx, metav1.ListOptions{})
					return err
				},
			} {
				t.Run(method, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, stop := context.WithCancel(t.Context())
						defer stop()
						tries := 0
						answer := func() error {
							tries++
							if tries == len(tc.answers) {
								stop()
							}
							return tc.answers[tries-1]
						}
						p := &patient{from: toolscache.ToListerWatcherWithContext(&toolscache.ListWatch{
							ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { return nil, answer() },
							WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return nil, answer() },
						})}
						if err := ask(p, ctx); !errors.Is(err, tc.want) || tries != tc.wantTries {
							t.Errorf("%v after %d tries, want %v after %d", err, tries, tc.want, tc.wantTries)
						}
					})
				})
			}
		})
	}
}

func TestPausesOfAQueueStayShort(t *testing.T) {
	limiter := RateLimiter()
	var request reconcile.Request
	for range 100 {
		if pause := limiter.When(request); pause > lastRetry {
			t.Fatalf("a pause of %s", pause)
		}
	}
}
