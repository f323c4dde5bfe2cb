package gate_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/test/iistree"
)

const owaPool = "MSExchangeOWAAppPool"

// A server in files with a site that answers, looked at as an agent does it, but for the waiting between looks.
func TestAServerUnderObservation(t *testing.T) {
	var status atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	t.Cleanup(site.Close)
	_, text, err := net.SplitHostPort(strings.TrimPrefix(site.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	err = iistree.Write(root, iistree.Options{Sites: []iistree.Site{{Name: "Default Web Site", Address: "127.0.0.1", Port: port, Pool: owaPool}}})
	if err != nil {
		t.Fatal(err)
	}
	pools, services := standin.NewPools(root, nil), standin.NewServices(root, nil)
	service := func(state control.ServiceState) {
		t.Helper()
		if err := services.Set([]standin.ServiceEntry{{Name: "Transport", StartType: control.StartAutomatic, State: state}}); err != nil {
			t.Fatal(err)
		}
	}
	checker := health.New(health.Options{Lister: pools, Services: services})
	checks := health.Checks{
		HTTP:     []health.HTTPCheck{{Name: "owa", Scheme: "http", Port: port, Host: "server1.contoso.example", Path: "/owa/healthcheck.htm"}},
		TCPPorts: []int{port}, Services: []string{"Transport"},
	}
	for name, tc := range map[string]struct {
		off    health.SwitchedOff
		change func() error // what the mitigation does
		want   gate.Verdict
		wantIn string
	}{
		"a mitigation that does no harm": {change: func() error { return nil }, want: gate.Passed},
		"one after which a site answers with errors": {change: func() error { status.Store(http.StatusServiceUnavailable); return nil },
			want: gate.Failed, wantIn: `http "owa": before: answered 200, now: answered 503, expected 200`},
		"one after which a pool is down": {change: func() error { return pools.Stop(t.Context(), owaPool) },
			want: gate.Failed, wantIn: `application pool "MSExchangeOWAAppPool": before: Started, now: Stopped`},
		"one that switches the pool off": {off: health.SwitchedOff{Pools: []string{owaPool}}, change: func() error { return pools.Stop(t.Context(), owaPool) }, want: gate.Passed},
		"one after which a site is down": {change: func() error { return pools.SetSite("Default Web Site", control.SiteStopped) },
			want: gate.Failed, wantIn: `site "Default Web Site": before: Started, now: Stopped`},
		"one after which a service is down": {change: func() error { service(control.ServiceStopped); return nil },
			want: gate.Failed, wantIn: `service "Transport": before: Running, now: Stopped`},
	} {
		t.Run(name, func(t *testing.T) {
			status.Store(http.StatusOK)
			service(control.ServiceRunning)
			if err := pools.SetSite("Default Web Site", control.SiteStarted); err != nil {
				t.Fatal(err)
			}
			if state, err := pools.State(t.Context(), owaPool); err != nil || state != control.PoolStarted && pools.Start(t.Context(), owaPool) != nil {
				t.Fatal(state, err)
			}
			baseline, err := checker.Baseline(t.Context(), checks, tc.off)
			if err != nil {
				t.Fatal(err)
			}
			now, terms := time.Now(), gate.Terms{Bake: 15 * time.Second}
			begun := now
			record := gate.Begin("r1-a1-0123abcd", now, baseline)
			if err := tc.change(); err != nil {
				t.Fatal(err)
			}
			for next, due := record.Next(terms, now); due; next, due = record.Next(terms, now) {
				now = next
				results, err := checker.Look(t.Context(), checks, tc.off)
				if err != nil {
					t.Fatal(err)
				}
				record = gate.Look(record, gate.Observation{Results: results, Effective: gate.EffectiveTrue}, terms, now)
			}
			if record.Verdict != tc.want || !strings.Contains(record.Message, tc.wantIn) || len(record.Notes) > 0 {
				t.Errorf("%s: %q, notes %q", record.Verdict, record.Message, record.Notes)
			}
			if took := now.Sub(begun); tc.want == gate.Failed && took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}
