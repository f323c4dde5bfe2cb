package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/rollout"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *Memory {
	t.Helper()
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func check[T any](t *testing.T, want T, got T, err error) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("differs, error %v (-want +got):\n%s", err, diff)
	}
}

func TestMemoryOutlivesTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	number, err := build.Parse("15.2.2562.43")
	if err != nil {
		t.Fatal(err)
	}
	plan := &enforce.Plan{
		Generation: 3, AuditOnly: true, FixedBuilds: []policy.FixedBuild{{ID: "M1", Build: number}},
		Entries: []enforce.Entry{{
			ID: "M1", Decision: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled, Message: "why", BlockedActions: []string{"M1.2"}}, Revision: 2,
			Document: enforce.DocumentRef{FeedName: "contoso", BundleName: "contoso-1", Digest: "ab"},
			Release:  rollout.Release{ServerNames: []string{"fe01"}, Below: rollout.Everything},
			Rollout: enforce.Rollout{
				ID: "r2-a1-abababab", Waiting: policy.AwaitingRing, Complete: true, Revert: true, Terms: gate.Terms{Bake: time.Minute, MinRequests: 5},
				Fallback: enforce.Fallback{Rollout: "r1-a1-cdcdcdcd", Revision: 1, Document: enforce.DocumentRef{FeedName: "contoso", BundleName: "contoso-0", Digest: "cd"}},
			},
		}},
		Revocation:   []enforce.RevocationRef{{FeedName: "contoso", BundleName: "contoso-1", Digest: "cd"}},
		HealthChecks: health.Checks{HTTP: []health.HTTPCheck{{Name: "owa", Path: "/owa"}}, TCPPorts: []int{25}, Services: []string{"W3SVC"}}, RepairRequest: "now",
	}
	feed := Feed{Seen: replay.Seen{Sequence: 42, Digest: "ab", SignedAt: now}, Accepted: []Accepted{{Digest: "ab", Product: "IIS", At: now}}}
	lists := Lists{Handled: "digest", DER: [][]byte{{1, 2}, {3}}, Refused: []string{"why"}}
	changes := map[string]time.Time{"m1": now}

	m := open(t, dir)
	for _, err := range []error{m.SavePlan(plan), m.SaveFeed("contoso", feed), m.SaveLists("contoso", lists), m.SaveChanges(changes)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m = open(t, dir)
	gotPlan, err := m.Plan()
	check(t, plan, gotPlan, err)
	gotFeed, err := m.Feed("contoso")
	check(t, feed, gotFeed, err)
	gotFeeds, err := m.Feeds()
	check(t, map[string]Feed{"contoso": feed}, gotFeeds, err)
	gotLists, err := m.Lists("contoso")
	check(t, lists, gotLists, err)
	gotChanges, err := m.Changes()
	check(t, changes, gotChanges, err)

	if err := m.SavePlan(nil); err != nil {
		t.Fatal(err)
	}
	gotPlan, err = open(t, dir).Plan()
	check(t, nil, gotPlan, err)
}

func TestHistoriesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	content := iis.Mitigation{ID: "M1", Revision: 1, Digest: "ab", Actions: []iis.Action{{ID: "M1.1", Type: "UrlRewrite", Rewrite: []byte("<rewrite/>")}}}
	history := enforce.History{
		Record:  gate.Begin("r2-a1-abababab", now, []health.Result{{Name: "TCP port 25", OK: true}}),
		Content: "cd", Failed: []enforce.FailedRollout{{ID: "r1-a1-cdcdcdcd", Content: "ef", Message: "why", At: now}}, Good: []iis.Mitigation{content},
	}
	m := open(t, dir)
	if err := errors.Join(m.SaveHistory("M1", history), m.SaveHistory("M2", history), m.SaveHistory("m2", enforce.History{}), m.SaveRepaired("now")); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir)
	histories, err := m.Histories()
	check(t, map[string]enforce.History{"m1": history}, histories, err)
	repaired, err := m.Repaired()
	check(t, "now", repaired, err)
	if err := os.WriteFile(filepath.Join(dir, "history-m1.json"), []byte(`{"version":1`), 0o600); err != nil {
		t.Fatal(err)
	}
	histories, err = m.Histories()
	check(t, map[string]enforce.History{}, histories, err)
	damaged, err := m.Damaged()
	check(t, []string{"history m1"}, damaged, err)
}

func TestNewMemoryIsEmpty(t *testing.T) {
	m := open(t, t.TempDir())
	plan, err := m.Plan()
	check(t, nil, plan, err)
	feed, err := m.Feed("contoso")
	check(t, Feed{}, feed, err)
	lists, err := m.Lists("contoso")
	check(t, Lists{}, lists, err)
	changes, err := m.Changes()
	check(t, map[string]time.Time{}, changes, err)
}

func TestDamagedRecordCountsAsNoneAndIsNamed(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	if err := m.SaveFeed("contoso", Feed{Seen: replay.Seen{Sequence: 42}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "feed-contoso.json"), []byte(`{"version":1`), 0o600); err != nil {
		t.Fatal(err)
	}
	feed, err := m.Feed("contoso")
	check(t, Feed{}, feed, err)
	damaged, err := m.Damaged()
	check(t, []string{"feed contoso"}, damaged, err)
}

func TestFeedRemembersTheNewestAcceptedDocuments(t *testing.T) {
	var f Feed
	for i := range MaxAccepted + 1 {
		f = f.With(replay.Seen{Sequence: int64(i)}, Accepted{Digest: fmt.Sprint(i)})
	}
	if len(f.Accepted) != MaxAccepted || f.Seen.Sequence != MaxAccepted {
		t.Errorf("%d documents, sequence %d, want %d of both", len(f.Accepted), f.Seen.Sequence, MaxAccepted)
	}
	if _, ok := f.Find("0"); ok {
		t.Error("the oldest document is still there")
	}
	if _, ok := f.Find(fmt.Sprint(MaxAccepted)); !ok {
		t.Error("the newest document is not there")
	}
}
