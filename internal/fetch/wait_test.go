package fetch_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/fetch"
)

func TestGetAsksTheHostToWait(t *testing.T) {
	for name, tc := range map[string]struct {
		etag       string
		wait       time.Duration
		applied    []string
		wantPrefer string
		wantWaits  bool
	}{
		"a host that waits says so":                       {etag: `"v1"`, wait: 50 * time.Second, applied: []string{"wait=50"}, wantPrefer: "wait=50", wantWaits: true},
		"a host may wait for less":                        {etag: `"v1"`, wait: 50 * time.Second, applied: []string{"wait=5"}, wantPrefer: "wait=50", wantWaits: true},
		"a plain host says nothing":                       {etag: `"v1"`, wait: 50 * time.Second, wantPrefer: "wait=50"},
		"another preference is none":                      {etag: `"v1"`, wait: 50 * time.Second, applied: []string{"respond-async", "await=50", "return=minimal"}, wantPrefer: "wait=50"},
		"one among several, quoted and in capitals":       {etag: `"v1"`, wait: 50 * time.Second, applied: []string{`respond-async, WAIT = "50"`}, wantPrefer: "wait=50", wantWaits: true},
		"one in the second field":                         {etag: `"v1"`, wait: 50 * time.Second, applied: []string{"respond-async", "wait=50"}, wantPrefer: "wait=50", wantWaits: true},
		"no number is no wait":                            {etag: `"v1"`, wait: 50 * time.Second, applied: []string{"wait", "wait=", "wait=soon", "wait=-1", "wait=+1"}, wantPrefer: "wait=50"},
		"one beyond what is looked at":                    {etag: `"v1"`, wait: 50 * time.Second, applied: []string{strings.Repeat("x,", 16) + "wait=50"}, wantPrefer: "wait=50"},
		"without an entity tag there is nothing to await": {wait: 50 * time.Second, applied: []string{"wait=50"}},
		"nobody asked":                                    {etag: `"v1"`, applied: []string{"wait=50"}},
		"parts of seconds are left out":                   {etag: `"v1"`, wait: 1900 * time.Millisecond, wantPrefer: "wait=1"},
		"less than a second is no wait":                   {etag: `"v1"`, wait: 900 * time.Millisecond},
		"more than ten minutes are ten minutes":           {etag: `"v1"`, wait: time.Hour, wantPrefer: "wait=600"},
	} {
		t.Run(name, func(t *testing.T) {
			var prefer string
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				prefer = r.Header.Get("Prefer")
				for _, value := range tc.applied {
					w.Header().Add("Preference-Applied", value)
				}
				w.Header().Set("ETag", `"v2"`)
				_, _ = w.Write([]byte("<EOCS/>"))
			})
			response, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL, ETag: tc.etag, Wait: tc.wait})
			if err != nil {
				t.Fatal(err)
			}
			if prefer != tc.wantPrefer || response.Waits != tc.wantWaits {
				t.Errorf("Prefer %q and Waits %t, want %q and %t", prefer, response.Waits, tc.wantPrefer, tc.wantWaits)
			}
		})
	}
}

func TestAWaitExtendsTheLimitsAndNoMore(t *testing.T) {
	release := make(chan struct{})
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Preference-Applied", "wait=1")
		w.WriteHeader(http.StatusNotModified)
	})
	limits := fetch.Limits{Headers: brief, Total: 2 * brief}
	request := fetch.Request{URL: server.URL, ETag: `"v1"`, Wait: time.Second, Limits: limits}

	start := time.Now()
	_, err := fetch.Get(t.Context(), request)
	wantClass(t, err, fetch.TimedOut)
	if took := time.Since(start); took < time.Second {
		t.Errorf("given up after %s, want the wait and the limit for headers together", took)
	}

	time.AfterFunc(4*brief, func() { close(release) })
	response, err := fetch.Get(t.Context(), request)
	if err != nil || !response.NotModified || !response.Waits {
		t.Errorf("response %+v, %v, want not modified after a wait beyond the limits without one", response, err)
	}
}

func TestAWaitEndsWithTheCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := fetch.Get(ctx, fetch.Request{URL: server.URL, ETag: `"v1"`, Wait: fetch.MaxWait})
	wantClass(t, err, fetch.Canceled)
}

func TestGetCutsABodyThatDrips(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(brief / 4):
			}
		}
	})
	start := time.Now()
	_, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL, Limits: fetch.Limits{Rate: 10_000, RateGrace: 2 * brief}})
	wantClass(t, err, fetch.TimedOut)
	if !strings.Contains(err.Error(), "fewer than 10000 bytes a second") || time.Since(start) > 30*time.Second {
		t.Errorf("error %q after %s, want the rate as the cause, long before the limit of the whole", err, time.Since(start))
	}
}
