package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"mitigation.dev/ems/agent/iis/control"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

const (
	// feedName is that of the samples.
	feedName = "exchange"
	// limit of everything that is waited for. What is promised to be faster is checked separately.
	limit = 90 * time.Second
	// promise is how soon a block has to have removed a rule from every server.
	promise = 5 * time.Second
)

// pool is that of config/samples/poolmitigationconfig.yaml.
var pool = harness.Pool{Name: "frontends", Namespace: "pool-frontends", FQDN: "frontends.contoso.com"}

var serverNames = []string{"fe01", "fe02", "fe03"}

// story holds what its chapters share.
type story struct {
	*teller

	env     *harness.Environment
	trust   emsv1.TrustPolicy
	servers []*harness.Server
	// where is the pool with its health checks.
	where harness.Pool
	// start is what was on the servers' disks before anything happened.
	start map[string]harness.Snapshot
}

// tell tells the story. The error is what kept it from going on.
func tell(ctx context.Context, o options, env *harness.Environment, t *teller) error {
	s := &story{teller: t, env: env, trust: env.Publisher.Trust(), where: pool, start: map[string]harness.Snapshot{}}
	chapters := []func(context.Context) error{s.controlPlane, s.pool, s.documentArrives, s.tamper, s.block, s.unblock, s.badMitigation, s.correction, s.withdraw}
	if o.document != "" {
		given, err := readGiven(o, env.Root)
		if err != nil {
			return err
		}
		s.trust = given.trust
		chapters = []func(context.Context) error{s.controlPlane, s.pool, func(ctx context.Context) error { return s.serveGiven(ctx, given) }}
	} else if !o.once {
		chapters = append(chapters, s.again)
	}
	for _, chapter := range chapters {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) controlPlane(ctx context.Context) error {
	s.chapter("Control plane: etcd, kube-apiserver, our CRDs and roles, the manager")
	if err := s.env.Start(ctx); err != nil {
		return err
	}
	version, err := s.env.Kubectl.Run(ctx, "version")
	if err != nil {
		return err
	}
	s.check(true, "the API server is ready (%s)", lastLine(version))
	kinds, err := s.env.Kubectl.Run(ctx, "api-resources", "--api-group=ems.mitigation.dev", "-o", "name")
	if err != nil {
		return err
	}
	s.check(len(strings.Fields(kinds)) == 7, "kubectl apply -k config/crd, config/rbac: %d kinds of ems.mitigation.dev", len(strings.Fields(kinds)))
	s.check(true, "the manager is ready, with the rights of its service account only")
	return nil
}

func (s *story) pool(ctx context.Context) error {
	s.chapter("Pool %s in namespace %s with the servers %s", pool.Name, pool.Namespace, strings.Join(serverNames, ", "))
	if err := s.checkHealth(); err != nil {
		return err
	}
	if err := s.env.Apply(ctx, waits()); err != nil {
		return err
	}
	s.say("MitigationConfiguration %q: first one server, %d s of looking, then all (the profiles wait for 15 s up to 4 h)", emsv1.GlobalConfigurationName, firstBake)
	if err := s.env.AddPool(ctx, s.where); err != nil {
		return err
	}
	for _, name := range serverNames {
		server, err := s.env.AddServer(ctx, s.where, name, harness.ServerOptions{Believes: map[string]emsv1.TrustPolicy{feedName: s.trust}})
		if err != nil {
			return err
		}
		s.servers = append(s.servers, server)
		if s.start[name], err = server.Snapshot(); err != nil {
			return err
		}
		if err := server.Agent.Start(); err != nil {
			return err
		}
		s.say("%s: IIS configuration in %s, Exchange Server build %s, agent started", name, shorten(s.env, server.Root), harness.VulnerableBuild)
	}
	s.checkRequest(ctx, harness.ExploitRequest, rewrite.Passed, "the exploit request of CVE-2022-41040 would pass")
	s.checkRequest(ctx, harness.HarmlessRequest, rewrite.Passed, "an ordinary request passes")
	if err := s.waitReady(ctx, "poolservers", pool.Namespace); err != nil {
		return err
	}
	s.check(true, "every agent reports: kubectl wait --for=condition=Ready poolservers")
	return nil
}

func (s *story) documentArrives(ctx context.Context) error {
	s.chapter("The publisher signs a document: PING1, M1 (the rule of CVE-2022-41040), ECP1 (stops an application pool)")
	document, err := s.env.Publisher.Publish(harness.PING1(), harness.M1(), harness.ECP1())
	if err != nil {
		return err
	}
	s.env.Endpoint.Serve(document)
	s.say("%s serves %d bytes", s.env.Endpoint.URL, len(document))
	begin := time.Now()
	if err := s.env.Apply(ctx, s.env.Feed(feedName, s.trust)); err != nil {
		return err
	}
	if err := s.waitReady(ctx, "mitigationfeed/"+feedName, ""); err != nil {
		return err
	}
	s.check(true, "kubectl apply of MitigationFeed %q: read, signature verified, Ready after %s", feedName, since(begin))
	if err := s.show(ctx, "get", "mitigationfeeds", "-o", "wide"); err != nil {
		return err
	}
	for _, id := range []string{"PING1", "M1", "ECP1"} {
		if err := s.env.WaitForState(ctx, limit, s.servers, id, emsv1.StateApplied); err != nil {
			return err
		}
	}
	s.check(true, "applied on %d of %d servers %s after the feed was created; every agent verified the signature itself", len(s.servers), len(s.servers), since(begin))
	if err := s.waitReady(ctx, "mitigations", ""); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "mitigations"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "poolservers", "-A", "-o", "wide"); err != nil {
		return err
	}
	s.checkRequest(ctx, harness.ExploitRequest, rewrite.Aborted, "the exploit request is aborted")
	s.checkRequest(ctx, harness.HarmlessRequest, rewrite.Passed, "an ordinary request still passes")
	s.checkPool(ctx, control.PoolStopped)
	return nil
}

func (s *story) tamper(ctx context.Context) error {
	s.chapter("Somebody changes one letter of the served document")
	good, err := s.env.Publisher.Publish(harness.PING1(), harness.M1(), harness.ECP1())
	if err != nil {
		return err
	}
	bad, err := harness.Tamper(good)
	if err != nil {
		return err
	}
	before, err := s.snapshots()
	if err != nil {
		return err
	}
	s.env.Endpoint.Serve(bad)
	feed, err := s.env.Poll(ctx, feedName, limit)
	if err != nil {
		return err
	}
	s.check(conditionReason(feed) == emsv1.SignatureInvalidReason, "the feed says %s", harness.ReadyText(feed.Status.Conditions))
	s.checkFiles(before, "nothing changed on any server")
	s.env.Endpoint.Serve(good)
	if feed, err = s.env.Poll(ctx, feedName, limit); err != nil {
		return err
	}
	s.check(conditionReason(feed) == emsv1.DocumentAcceptedReason, "restored: %s", harness.ReadyText(feed.Status.Conditions))
	return nil
}

func (s *story) block(ctx context.Context) error {
	s.chapter("An operator blocks M1: kubectl apply -f config/samples/poolmitigationconfig.yaml")
	manifest, err := os.ReadFile(filepath.Join(s.env.Root, "config", "samples", "poolmitigationconfig.yaml"))
	if err != nil {
		return err
	}
	if current := unexpired(manifest, time.Now()); !bytes.Equal(current, manifest) {
		s.say("the sample's block has expired meanwhile; it gets another month")
		manifest = current
	}
	begin := time.Now()
	if _, err := s.env.Kubectl.ApplyText(ctx, manifest); err != nil {
		return err
	}
	err = harness.Wait(ctx, limit, "the exploit request to pass again everywhere", func(context.Context) (bool, string) {
		return s.outcomes(harness.ExploitRequest, rewrite.Passed)
	})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	s.check(took < promise, "the rule is gone from %d of %d servers after %.1f s (promised: %s)", len(s.servers), len(s.servers), took.Seconds(), promise)
	if err := s.env.WaitForState(ctx, limit, s.servers, "M1", emsv1.StateRemoved); err != nil {
		return err
	}
	s.check(true, "every server reports M1 as removed")
	s.checkPool(ctx, control.PoolStopped)
	if err := s.waitReady(ctx, "poolmitigationconfig/"+pool.Name, pool.Namespace); err != nil {
		return err
	}
	return s.show(ctx, "get", "poolmitigationconfigs", "-A")
}

var expiryTime = regexp.MustCompile(`expiryTime: "([^"]+)"`)

// unexpired moves the ends of exceptions that are past: the sample has a fixed date, and one day it is over.
func unexpired(manifest []byte, now time.Time) []byte {
	return expiryTime.ReplaceAllFunc(manifest, func(found []byte) []byte {
		expiry, err := time.Parse(time.RFC3339, string(expiryTime.FindSubmatch(found)[1]))
		if err != nil || expiry.After(now.Add(time.Hour)) {
			return found
		}
		return fmt.Appendf(nil, "expiryTime: %q", now.AddDate(0, 1, 0).UTC().Format(time.RFC3339))
	})
}

func (s *story) unblock(ctx context.Context) error {
	s.chapter("The operator takes the block back")
	begin := time.Now()
	if err := s.env.Apply(ctx, s.where.Config()); err != nil {
		return err
	}
	if err := s.env.WaitForState(ctx, limit, s.servers, "M1", emsv1.StateApplied); err != nil {
		return err
	}
	s.say("M1 is applied again after %s", since(begin))
	s.checkRequest(ctx, harness.ExploitRequest, rewrite.Aborted, "the exploit request is aborted again")
	return nil
}

func (s *story) withdraw(ctx context.Context) error {
	s.chapter("The servers are patched, the publisher withdraws M1 and ECP1")
	document, err := s.env.Publisher.Publish(harness.PING1())
	if err != nil {
		return err
	}
	s.env.Endpoint.Serve(document)
	if _, err := s.env.Poll(ctx, feedName, limit); err != nil {
		return err
	}
	for _, id := range []string{"M1", "ECP1"} {
		if err := s.env.WaitForState(ctx, limit, s.servers, id, emsv1.StateRemoved); err != nil {
			return err
		}
	}
	if err := s.waitReady(ctx, "mitigations", ""); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "mitigations"); err != nil {
		return err
	}
	s.checkPool(ctx, control.PoolStarted)
	s.checkFiles(s.start, "every file of every server is byte for byte what it was in the beginning")
	return nil
}

// again brings the mitigations back, so that there is something to try out.
func (s *story) again(ctx context.Context) error {
	s.chapter("The mitigations come back, for you to try")
	document, err := s.env.Publisher.Publish(harness.PING1(), harness.M1(), harness.ECP1())
	if err != nil {
		return err
	}
	s.env.Endpoint.Serve(document)
	if _, err := s.env.Poll(ctx, feedName, limit); err != nil {
		return err
	}
	if err := s.env.WaitForState(ctx, limit, s.servers, "M1", emsv1.StateApplied); err != nil {
		return err
	}
	s.checkRequest(ctx, harness.ExploitRequest, rewrite.Aborted, "the exploit request is aborted")
	return nil
}

// outcomes tells whether a request has an outcome on all servers, and what the outcomes are.
func (s *story) outcomes(target string, want rewrite.Outcome) (all bool, text string) {
	all = true
	var list []string
	for _, server := range s.servers {
		outcome, err := server.Request(http.MethodGet, target)
		what := string(outcome.Outcome)
		if outcome.Rule != "" {
			what += " by rule " + fmt.Sprintf("%q", outcome.Rule)
		}
		if err != nil {
			what = err.Error()
		}
		all = all && err == nil && outcome.Outcome == want
		list = append(list, server.Name+": "+what)
	}
	return all, strings.Join(list, ", ")
}

// checkRequest asks the rules, and then sends the request to the sites.
func (s *story) checkRequest(ctx context.Context, target string, want rewrite.Outcome, what string) {
	all, text := s.outcomes(target, want)
	s.check(all, "%s: GET %s", what, target)
	s.text(text)
	status := http.StatusOK
	if want == rewrite.Aborted {
		status = harness.Dropped
	}
	s.checkStatus(ctx, target, status)
}

// checkStatus sends a request to the sites over HTTP.
func (s *story) checkStatus(ctx context.Context, target string, want int) {
	var list []string
	all := true
	for _, server := range s.servers {
		status, err := server.Get(ctx, target)
		what := fmt.Sprint(status)
		switch {
		case err != nil:
			what = err.Error()
		case status == harness.Dropped:
			what = "connection dropped"
		}
		all = all && err == nil && status == want
		list = append(list, server.Name+": "+what)
	}
	s.check(all, "over HTTP: GET %s (%s)", target, strings.Join(list, ", "))
}

func (s *story) checkPool(ctx context.Context, want control.PoolState) {
	var list []string
	all := true
	for _, server := range s.servers {
		state, err := server.PoolState(ctx, harness.ECPPool)
		all = all && err == nil && state == want
		list = append(list, fmt.Sprintf("%s: %s", server.Name, state))
	}
	s.check(all, "application pool %s is %s (%s)", harness.ECPPool, want, strings.Join(list, ", "))
	status := http.StatusOK
	if want == control.PoolStopped {
		status = http.StatusServiceUnavailable
	}
	s.checkStatus(ctx, harness.ECPPath+"/", status)
}

func (s *story) snapshots() (map[string]harness.Snapshot, error) {
	all := map[string]harness.Snapshot{}
	for _, server := range s.servers {
		snapshot, err := server.Snapshot()
		if err != nil {
			return nil, err
		}
		all[server.Name] = snapshot
	}
	return all, nil
}

func (s *story) checkFiles(want map[string]harness.Snapshot, what string) {
	now, err := s.snapshots()
	if err != nil {
		s.checkError(err, "%s", what)
		return
	}
	var different []string
	files := 0
	for _, name := range serverNames {
		files += len(now[name])
		for _, d := range now[name].Differences(want[name]) {
			different = append(different, name+": "+d)
		}
	}
	s.check(len(different) == 0, "%s (%d files compared)", what, files)
	s.text(strings.Join(different, "\n"))
}

// waitReady waits as an operator would. what is a kind or a kind/name.
func (s *story) waitReady(ctx context.Context, what, namespace string) error {
	arguments := []string{"wait", "--for=condition=Ready", "--timeout=" + limit.String(), what}
	if !strings.Contains(what, "/") {
		arguments = append(arguments, "--all")
	}
	if namespace != "" {
		arguments = append(arguments, "-n", namespace)
	}
	_, err := s.env.Kubectl.Run(ctx, arguments...)
	return err
}

// show prints what kubectl prints.
func (s *story) show(ctx context.Context, arguments ...string) error {
	output, err := s.env.Kubectl.Run(ctx, arguments...)
	if err != nil {
		return err
	}
	s.say("$ kubectl %s", strings.Join(arguments, " "))
	s.text(output)
	return nil
}

func conditionReason(feed *emsv1.MitigationFeed) string {
	for _, c := range feed.Status.Conditions {
		if c.Type == emsv1.ReadyCondition {
			return c.Reason
		}
	}
	return ""
}

func since(begin time.Time) string { return fmt.Sprintf("%.1f s", time.Since(begin).Seconds()) }

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// shorten makes a path relative to the repository where it is inside.
func shorten(env *harness.Environment, path string) string {
	if relative, err := filepath.Rel(env.Root, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}
