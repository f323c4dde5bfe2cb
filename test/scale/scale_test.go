package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

func TestDistribution(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*time.Second)
	}
	for name, test := range map[string]struct {
		durations []time.Duration
		want      Distribution
	}{
		"of nothing":              {nil, Distribution{}},
		"of one is that one":      {[]time.Duration{2 * time.Second}, Distribution{1, 2, 2, 2, 2}},
		"is by nearest rank":      {hundred, Distribution{100, 50, 90, 99, 100}},
		"of few has the greatest": {hundred[:10], Distribution{10, 95, 99, 100, 100}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, distribution(test.durations)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const metrics = `# HELP apiserver_request_total ...
apiserver_request_total{code="200",component="apiserver",dry_run="",group="ems.mitigation.dev",resource="poolservers",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 3
apiserver_request_total{code="201",component="apiserver",dry_run="",group="ems.mitigation.dev",resource="poolservers",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PATCH",version="v1"} 1.5e+03
apiserver_request_total{code="429",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PATCH",version="v1"} 100
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1"} 7
apiserver_response_sizes_sum{component="apiserver",group="",verb="GET"} 100
apiserver_watch_events_sizes_sum{group="ems.mitigation.dev",version="v1alpha1"} 20
apiserver_terminated_watchers_total{resource="poolservers"} 2
process_cpu_seconds_total 5
`

func TestCountersAreThoseOfAgentsAndManager(t *testing.T) {
	got, err := readCounters(strings.NewReader(metrics))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"APPLY poolservers/status": 4, "PATCH leases": 1600}
	if diff := cmp.Diff(want, got.requests); diff != "" || got.bytes != 120 || got.terminated["poolservers"] != 2 {
		t.Errorf("%v %v\n%s", got.bytes, got.terminated, diff)
	}
	// What an API server counted that has ended is not lost.
	if sum := got.plus(got); sum.requests["PATCH leases"] != 3200 || sum.refused["429 PATCH leases"] != 200 || sum.terminated["poolservers"] != 4 || sum.bytes != 240 {
		t.Errorf("%+v", sum)
	}
}

func TestWritesAndListsAreToldApart(t *testing.T) {
	r := Result{Requests: map[string]float64{"PATCH leases": 3, "APPLY poolservers/status": 2, "LIST poolservers": 1, "WATCH poolservers": 8, "GET mitigationbundles": 9}}
	if r.writes() != 5 || r.lists() != 1 {
		t.Errorf("%v writes, %v lists", r.writes(), r.lists())
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	used, err := usageOf(os.Getpid())
	if err != nil || used.rss < 1<<20 || used.peak < used.rss {
		t.Errorf("%+v, %v", used, err)
	}
}

func TestTokenBearsTheSignatureOfItsKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	token, err := (&tokens{"https://issuer", key}).sign("sim", object{"web1", "u1"}, object{"web1-agent", "u2"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("%d bytes, %v", len(signature), err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(&key.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature does not verify")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Sub string
		Exp int64
	}
	if err := json.Unmarshal(claims, &got); err != nil || got.Sub != "system:serviceaccount:sim:web1" || got.Exp != now.Unix()+3600 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNotes(t *testing.T) {
	n := newNotes(newMessages())
	begin := time.Now()
	n.Info(0, "Mitigation", "id", "M1", "state", "Applied", "revision", 1, "detail", "a")
	first := n.stands("M1")
	n.Info(0, "Mitigation", "id", "M1", "state", "Applied", "revision", 1, "detail", "b")
	if n.stands("M1") != first {
		t.Error("another message for the same state counts as another state")
	}
	n.Info(1, "Watch delivered", "object", planType, "version", "10")
	n.Info(1, "Watch delivered", "object", serverType, "version", "12")
	if _, ok := n.arrived(10); !ok {
		t.Error("the version has arrived")
	}
	if _, ok := n.arrived(11); ok {
		t.Error("a later version of another object counts as that of the plan")
	}
	n.Info(1, "Watch is open", "object", planType)
	if _, ok := n.watchesSince(begin); ok {
		t.Error("one watch is open, and both count as such")
	}
	n.Info(1, "Watch is open", "object", serverType)
	if at, ok := n.watchesSince(begin); !ok || at.Before(begin) {
		t.Error("both watches are open")
	}
	n.Error(errors.New("full"), "Disk")
	if said := n.messages.take(); len(said) != 1 || !strings.Contains(said["Disk"], "full") {
		t.Errorf("%v", said)
	}
}

func TestScenariosHaveNamesAndMeasureTheirGoals(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		if slices.Contains(names, s.name) || s.title == "" || s.run == nil {
			t.Errorf("%+v", s)
		}
		names = append(names, s.name)
	}
	for text, want := range map[string]int{"": len(names), "seen,publish": 3, "connect": 1} {
		if got, err := choose(text); err != nil || len(got) != want {
			t.Errorf("%q: %d scenarios, want %d: %v", text, len(got), want, err)
		}
	}
	if _, err := choose("seen,nothing"); err == nil {
		t.Error("a scenario that does not exist is chosen")
	}
	if _, err := choose("seen,kill"); err == nil || !strings.Contains(err.Error(), `"kill": needs "publish"`) {
		t.Errorf("kill without anything to take back: %v", err)
	}
}

func TestGoalsFollowTheNumberOfServers(t *testing.T) {
	goals := []goal{{"p99", .3, 3}}
	for servers, missed := range map[int]bool{100: true, 1000: true, 1001: false, 10000: false} {
		r := &Result{}
		r.figure("p99", "s", 1)
		r.figure("max", "s", 100)
		r.judge(goals, servers)
		if r.Figures[0].Missed() != missed || r.Figures[1].Missed() {
			t.Errorf("%d servers: %+v", servers, r.Figures)
		}
	}
}

func TestWhatFailsARun(t *testing.T) {
	missed := &Result{}
	missed.figure("p99", "s", 1)
	missed.judge([]goal{{"p99", .3, .3}}, 10)
	for name, test := range map[string]struct {
		result *Result
		want   bool
	}{
		"a missed goal does not":  {missed, false},
		"a wrong state does":      {&Result{WrongStates: []string{"web1"}}, true},
		"a lost update does":      {&Result{LostUpdates: []string{"web1"}}, true},
		"a closed watch does not": {&Result{TerminatedWatchers: map[string]float64{"poolservers": 1}}, false},
		"an error does":           {&Result{Error: "x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if test.result.Failed() != test.want {
				t.Error("no")
			}
		})
	}
}

func run(servers int, memory int64) *Run {
	r := &Result{
		Scenario: "seen", Title: "plan <released>", Requests: map[string]float64{"GET x": float64(servers)}, Bytes: 1e6,
		CPU: map[string]float64{"etcd": 2, simulator: 9}, PeakRSS: map[string]int64{"etcd": memory, simulator: 1},
	}
	r.figure("p99", "s", .6)
	r.judge([]goal{{"p99", .3, 3}}, servers)
	return &Run{Servers: servers, Pools: 1, Processors: 2, Results: []*Result{r}}
}

func TestResultsAreWritten(t *testing.T) {
	dir := t.TempDir()
	if err := write(run(1000, mib), dir); err != nil {
		t.Fatal(err)
	}
	again, err := readRuns([]string{filepath.Join(dir, "scale-1000.json")})
	if err != nil || !again[0].Results[0].Figures[0].Missed() {
		t.Errorf("%+v, %v", again, err)
	}
	drawing, err := os.ReadFile(filepath.Join(dir, "scale-1000.svg"))
	if err != nil || !bytes.Contains(drawing, []byte("plan &lt;released&gt;: p99")) {
		t.Errorf("%s, %v", drawing, err)
	}
	for decoder := xml.NewDecoder(bytes.NewReader(drawing)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	printSummary(&text, again[0])
	if !strings.Contains(text.String(), "MISSED: at most 0.30") {
		t.Error(text.String())
	}
}

func TestExtrapolation(t *testing.T) {
	memory := func(r *Result) float64 { return float64(r.PeakRSS["etcd"]) }
	one, two := run(1000, 100), run(3000, 200)
	for name, test := range map[string]struct {
		runs []*Run
		want float64
	}{
		"of one run is in proportion":          {[]*Run{one}, 1000},
		"of two runs is on their line":         {[]*Run{one, two}, 550},
		"of two runs of one size is a mean":    {[]*Run{one, run(1000, 300)}, 2000},
		"of a scenario that nobody has is nil": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := extrapolate(test.runs, "seen", cell, memory); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	dir := t.TempDir()
	if err := write(one, dir); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if code := paper([]string{filepath.Join(dir, "scale-1000.json")}, &text); code != 0 || !strings.Contains(text.String(), "It assumes") || strings.Contains(text.String(), simulator) {
		t.Errorf("%d\n%s", code, text.String())
	}
	if code := paper(nil, io.Discard); code == 0 {
		t.Error("something is made of nothing")
	}
}

func TestFleetNoticesFilesThatAreNotAsTheyShould(t *testing.T) {
	pools := []harness.Pool{{Name: "a", Namespace: "sim-a", FQDN: "a.contoso.com"}, {Name: "b", Namespace: "sim-b", FQDN: "b.contoso.com"}}
	publisher, err := harness.NewPublisher()
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(t.TempDir(), pools, 3, publisher.Trust())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	if wrong := f.wrong(expectation{untouched: true}); len(wrong) != 0 {
		t.Error(wrong)
	}
	if wrong := f.wrong(expectation{}); len(wrong) != 3 {
		t.Errorf("M1 is on none of the servers: %v", wrong)
	}
	last := f.servers[2]
	content, err := os.ReadFile(last.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := last.WriteConfig(append(content, '\n')); err != nil {
		t.Fatal(err)
	}
	if wrong := f.wrong(expectation{untouched: true}); len(wrong) != 1 || !strings.Contains(wrong[0], last.Name) {
		t.Error(wrong)
	}
	if f.servers[0].Pool.Name != "a" || last.Pool.Name != "b" {
		t.Error("servers are not spread over the pools")
	}
	if last.stands("M1").state == string(emsv1.StateApplied) {
		t.Error("nobody has said so")
	}
}
