package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

const (
	// firstBake and restBake are how many seconds the stages of the demonstration wait; nobody would look on for longer.
	firstBake, restBake = 2, 1
	// haltPromise and revertPromise are how soon a rollout has to have halted after a mitigation that does harm was published,
	// the wait of the stage and the reading of the feed apart, and how soon the server has to be as it was.
	haltPromise, revertPromise = 5 * time.Second, 15 * time.Second
)

// waits is the policy of the organisation: stages like those of the profiles, with the waits of the demonstration.
func waits() *emsv1.MitigationConfiguration {
	return &emsv1.MitigationConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName},
		Spec: emsv1.MitigationConfigurationSpec{Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{
			{Name: "first", Servers: new(intstr.FromInt32(1)), BakeSeconds: new(int32(firstBake))},
			{Name: "all", Servers: new(intstr.FromString("100%")), BakeSeconds: new(int32(restBake))},
		}}},
	}
}

// checkHealth makes the pool's servers look whether Outlook on the web answers.
func (s *story) checkHealth() error {
	port, err := s.env.SitePort()
	if err != nil || port == 0 {
		return err
	}
	s.where.HealthChecks = emsv1.HealthChecks{HTTP: []emsv1.HTTPCheck{{
		Name: "owa", Scheme: "http", Port: int32(port), Path: harness.OWAHealth, //nolint:gosec // a port
	}}}
	return nil
}

func (s *story) badMitigation(ctx context.Context) error {
	if len(s.where.HealthChecks.HTTP) == 0 {
		s.chapter("Left out here: a mitigation that does harm (the servers' sites need loopback addresses of their own)")
		return nil
	}
	s.chapter("A mitigation does harm: the rule of OWA1 catches all of Outlook on the web, and its samples do not show it")
	begin := time.Now()
	if err := s.publishOWA1(ctx, 1); err != nil {
		return err
	}
	var halted emsv1.PoolMitigationStatus
	err := s.waitRollout(ctx, emsv1.RolloutHalted, &halted)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	s.check(took < haltPromise+firstBake*time.Second, "the rollout halted %.1f s after the document was published", took.Seconds())
	s.text(halted.Rollout.Message)
	if err := harness.Wait(ctx, limit, "Outlook on the web to be served everywhere", func(context.Context) (bool, string) {
		return s.outcomes(harness.OWAHealth, rewrite.Passed)
	}); err != nil {
		return err
	}
	took = time.Since(begin)
	s.check(took < revertPromise, "the server took it back by itself; %s is served on every server after %.1f s", harness.OWAHealth, took.Seconds())
	touched, err := s.touched(ctx)
	if err != nil {
		return err
	}
	s.check(len(touched) == 1, "touched: %s; the others never had it", strings.Join(touched, ", "))
	if len(touched) == 0 {
		return nil // which has failed already
	}
	s.checkRequest(ctx, harness.ExploitRequest, rewrite.Aborted, "M1 is in place as before")
	s.plugin(ctx, []string{"HALTED", touched[0]}, "rollout", "status", "OWA1", "-n", pool.Namespace)
	s.plugin(ctx, []string{"OWA1", touched[0], "RolloutHalted"}, "explain", touched[0], "OWA1", "-n", pool.Namespace)
	return s.show(ctx, "get", "poolmitigationconfigs", "-A", "-o", "wide")
}

func (s *story) correction(ctx context.Context) error {
	if len(s.where.HealthChecks.HTTP) == 0 {
		return nil
	}
	s.chapter("The publisher corrects OWA1: revision 2 goes through all stages")
	begin := time.Now()
	if err := s.publishOWA1(ctx, 2); err != nil {
		return err
	}
	var complete emsv1.PoolMitigationStatus
	if err := s.waitRollout(ctx, emsv1.RolloutComplete, &complete); err != nil {
		return err
	}
	s.check(complete.Revision == 2, "revision %d is on every server after %s, two stages and %d s of waits", complete.Revision, since(begin), firstBake+restBake)
	s.checkRequest(ctx, harness.OWAExploit, rewrite.Aborted, "what OWA1 is made for is aborted")
	s.checkRequest(ctx, harness.OWAHealth, rewrite.Passed, "Outlook on the web is served")
	s.plugin(ctx, []string{"Halted", "Completed"}, "rollout", "history", "OWA1", "-n", pool.Namespace)
	return nil
}

func (s *story) publishOWA1(ctx context.Context, revision int64) error {
	document, err := s.env.Publisher.Publish(harness.PING1(), harness.M1(), harness.ECP1(), harness.OWA1(revision))
	if err != nil {
		return err
	}
	s.env.Endpoint.Serve(document)
	_, err = s.env.Poll(ctx, feedName, limit)
	return err
}

// waitRollout waits until the rollout of OWA1 is in a state, and says what the pool says of it.
func (s *story) waitRollout(ctx context.Context, state emsv1.RolloutState, found *emsv1.PoolMitigationStatus) error {
	return harness.Wait(ctx, limit, fmt.Sprintf("the rollout of OWA1 to be %s", state), func(ctx context.Context) (bool, string) {
		var config emsv1.PoolMitigationConfig
		if err := s.env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: pool.Name}, &config); err != nil {
			return false, err.Error()
		}
		for _, m := range config.Status.Mitigations {
			if m.ID == "OWA1" {
				*found = m
				return m.Rollout.State == state, fmt.Sprintf("%s, stage %s: %s", m.Rollout.State, m.Rollout.Stage, m.Rollout.Message)
			}
		}
		return false, "not planned yet"
	})
}

// touched names the servers that OWA1 was ever put on.
func (s *story) touched(ctx context.Context) ([]string, error) {
	var names []string
	for _, server := range s.servers {
		reported, err := s.env.Reported(ctx, server)
		if err != nil {
			return nil, err
		}
		if m := harness.StateOf(reported, "OWA1"); m.Gate.Verdict != "" {
			names = append(names, server.Name)
		}
	}
	return names, nil
}

// plugin shows what a command of the plugin prints, and checks that it says certain words. How it ends says how things stand, and
// is no failure of the story.
func (s *story) plugin(ctx context.Context, words []string, arguments ...string) {
	s.say("kubectl mitigation %s", strings.Join(arguments, " "))
	output, err := s.env.Kubectl.Plugin(ctx, s.env.Programs.Plugin, arguments...)
	s.text(output)
	missing := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.Contains(output, w) })
	s.check(len(missing) == 0, "it names %s", strings.Join(words, ", "))
	if len(missing) > 0 {
		s.say("missing: %q; how it ended: %v", missing, err)
	}
}
