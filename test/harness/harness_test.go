package harness_test

import (
	"testing"
	"time"

	"mitigation.dev/ems/test/harness"
)

func TestScratch(t *testing.T) {
	root, err := harness.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	var programs harness.Programs
	if err := programs.FindControlPlane(root); err != nil {
		t.Fatal(err)
	}
	env, err := harness.New(harness.Options{Root: root, Dir: t.TempDir(), Programs: programs})
	if err != nil {
		t.Fatal(err)
	}
	defer env.Stop()
	begin := time.Now()
	if err := env.StartControlPlane(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log("control plane", time.Since(begin))
	if err := env.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log("installed", time.Since(begin))
	env.ControlPlane.APIServer.Kill()
	if err := env.ControlPlane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log("again", time.Since(begin))
	doc, err := env.Publisher.Publish(harness.PING1(), harness.M1(), harness.ECP1())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(doc))
	t.Log(env.Diagnose(t.Context()))
}
