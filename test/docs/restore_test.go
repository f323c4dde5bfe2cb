//go:build !windows

package docs_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/enforce"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// TestRestoreOfAnOldBackup does what docs/operations/disaster-recovery.md describes: etcd goes back to a copy from before the last
// document, and at that moment somebody serves a genuine document that is older than the last one and was never served. The restored
// manager, who knows nothing newer, believes it; no server does, and none loses what it has.
func TestRestoreOfAnOldBackup(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a control plane, which -short leaves out")
	}
	f := newFixture(t)
	f.enter(t, scenarioFleet)
	f.reset(t)
	f.waitForRevision(t, 1, emsv1.StateApplied)

	// The backup. (With the tools of etcd it needs no stop; a copy of the folder does.)
	f.env.Manager.Stop()
	f.stopControlPlane()
	backup, data := filepath.Join(t.TempDir(), "etcd"), filepath.Join(f.env.Dir, "etcd")
	must(t, os.CopyFS(backup, os.DirFS(data)))
	must(t, f.env.ControlPlane.Start(t.Context()))
	must(t, f.env.StartManager(t.Context()))

	// What happens after it: M1 is corrected twice, and nobody gets to see the first correction.
	withheld, err := f.env.Publisher.Publish(harness.PING1(), m1(2), m3(), harness.ECP1())
	must(t, err)
	newest := f.publish(t, harness.PING1(), m1(3), m3(), harness.ECP1())
	f.waitForRevision(t, 3, emsv1.StateApplied)

	// The cluster is lost, and the backup restored. A copy of the folder brings the revisions of the past with it, and who watches
	// waits for one of the future: agents are started anew. (etcdutl snapshot restore --bump-revision --mark-compacted spares that.)
	for _, s := range f.servers {
		s.Agent.Stop()
	}
	f.env.Manager.Stop()
	f.stopControlPlane()
	must(t, os.RemoveAll(data))
	must(t, os.CopyFS(data, os.DirFS(backup)))
	f.env.Endpoint.Serve(withheld)
	must(t, f.env.ControlPlane.Start(t.Context()))
	must(t, f.env.StartManager(t.Context()))
	feed, err := f.env.Poll(t.Context(), harness.PlaygroundFeed, fixtureLimit)
	must(t, err)
	if !meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.ReadyCondition) {
		t.Errorf("the restored manager knows nothing newer, so it should believe the withheld document: %s", harness.ReadyText(feed.Status.Conditions))
	}
	f.waitForPlan(t, 2)
	for _, s := range f.servers {
		must(t, s.Agent.Start())
	}
	// No server does, and none loses what it has.
	f.waitForRevision(t, 3, emsv1.StateFailed)
	for _, s := range f.servers {
		reported, err := f.env.Reported(t.Context(), s)
		must(t, err)
		if m := harness.StateOf(reported, "M1"); m.Reason != enforce.ReasonSequenceRolledBack {
			t.Errorf("%s says %s: %s", s.Name, m.Reason, m.Message)
		}
		outcome, err := s.Request(http.MethodGet, harness.ExploitRequest)
		if err != nil || outcome.Outcome != rewrite.Aborted {
			t.Errorf("%s: the attack: %s, %v", s.Name, outcome.Outcome, err)
		}
	}

	// The real endpoint is back.
	f.env.Endpoint.Serve(newest)
	_, err = f.env.Poll(t.Context(), harness.PlaygroundFeed, fixtureLimit)
	must(t, err)
	f.waitForRevision(t, 3, emsv1.StateApplied)
}

// m1 is M1 in a later revision.
func m1(revision int64) ocs.Config {
	c := harness.M1()
	c.Revision, c.Description = revision, fmt.Sprintf("correction %d", revision)
	return c
}

// waitForPlan waits until the plan names a revision of M1.
func (f *fixture) waitForPlan(t *testing.T, revision int64) {
	t.Helper()
	pool := harness.PlaygroundPool()
	must(t, harness.Wait(t.Context(), fixtureLimit, fmt.Sprintf("the plan to name revision %d", revision), func(ctx context.Context) (bool, string) {
		var plan emsv1.MitigationPlan
		if err := f.env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: pool.Name}, &plan); err != nil {
			return false, err.Error()
		}
		for _, m := range plan.Spec.Mitigations {
			if m.ID == "M1" {
				return m.Revision == revision, fmt.Sprintf("revision %d", m.Revision)
			}
		}
		return false, "no M1"
	}))
}

// publish serves a new document and waits until the manager has judged it.
func (f *fixture) publish(t *testing.T, configs ...ocs.Config) []byte {
	t.Helper()
	document, err := f.env.Publisher.Publish(configs...)
	must(t, err)
	f.env.Endpoint.Serve(document)
	_, err = f.env.Poll(t.Context(), harness.PlaygroundFeed, fixtureLimit)
	must(t, err)
	return document
}

func (f *fixture) stopControlPlane() {
	f.env.ControlPlane.APIServer.Stop()
	f.env.ControlPlane.Etcd.Stop()
}

// waitForRevision waits until every server reports M1 in a state, with a revision of it in place.
func (f *fixture) waitForRevision(t *testing.T, revision int64, state emsv1.MitigationState) {
	t.Helper()
	err := harness.Wait(t.Context(), fixtureLimit, fmt.Sprintf("M1 revision %d to be %s everywhere", revision, state), func(ctx context.Context) (bool, string) {
		for _, s := range f.servers {
			reported, err := f.env.Reported(ctx, s)
			if err != nil {
				return false, err.Error()
			}
			if m := harness.StateOf(reported, "M1"); m.State != state || m.Revision != revision {
				return false, fmt.Sprintf("%s: %s (%s) revision %d: %s", s.Name, m.State, m.Reason, m.Revision, m.Message)
			}
		}
		return true, ""
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.env.Diagnose(context.WithoutCancel(t.Context())))
	}
}
