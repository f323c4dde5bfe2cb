package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// clusterMitigation has a rule for the whole site and one for a folder.
const clusterMitigation = `<Config id="M1" revision="2" severity="Critical" desc="Blocks two things">
  <ActionList>
    <Action type="UrlRewrite" scope="Site" target="Default Web Site" desc="Aborts requests">
      <Value><rewrite><rules><rule name="PowerShell - inbound" stopProcessing="true"><match url="powershell" />
        <action type="AbortRequest" /></rule></rules></rewrite></Value>
    </Action>
    <Action type="UrlRewrite" scope="Site" target="Default Web Site/owa" desc="Refuses requests">
      <Value><rewrite><rules><rule name="Secrets" stopProcessing="true"><match url="^secret" />
        <action type="CustomResponse" statusCode="403" statusReason="Forbidden" statusDescription="Forbidden" /></rule></rules></rewrite></Value>
    </Action>
  </ActionList>
</Config>`

const clusterService = `<Config id="ECP1" revision="1" severity="Low" desc="Stops a pool">
  <ActionList><Action type="AppPool" scope="Server" target="MSExchangeECPAppPool" desc="Stops it"><Value>Stopped</Value></Action></ActionList>
</Config>`

// cluster is what an API server has, in as much as the command asks for it.
type cluster struct {
	t    *testing.T
	now  time.Time
	keys *pki.PKI

	server     emsv1.PoolServer
	plan       *emsv1.MitigationPlan
	mitigation *emsv1.Mitigation
	bundle     emsv1.MitigationBundle
	feed       emsv1.MitigationFeed
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, now: time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)}
	var err error
	if c.keys, err = pki.NewFixed(c.now); err != nil {
		t.Fatal(err)
	}
	mitigations, err := publish.ReadDirectory(fstest.MapFS{
		"m1.xml": {Data: []byte(clusterMitigation)}, "ecp1.xml": {Data: []byte(clusterService)},
	})
	if err != nil {
		t.Fatal(err)
	}
	document, report, err := publish.Sign(publish.SignRequest{
		Mitigations: mitigations, Sequence: 1, Issued: c.now, Lifetime: time.Hour, Key: c.keys.ECDSA.Key, Certificates: c.keys.ECDSA.Chain(),
		Policy: publish.Policy{Policy: xmlsig.Policy{Roots: c.keys.Root.Chain()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const feed, bundle = "contoso", "contoso-1"
	c.feed = emsv1.MitigationFeed{Spec: emsv1.MitigationFeedSpec{Trust: emsv1.TrustPolicy{Roots: string(c.keys.Root.PEM())}}}
	c.bundle = emsv1.MitigationBundle{Spec: emsv1.MitigationBundleSpec{FeedName: feed, Document: document, Digest: report.Digest}}
	c.server = emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "frontends", Name: "fe01"},
		Spec:       emsv1.PoolServerSpec{PoolName: "mail"},
		Status: emsv1.PoolServerStatus{ObservedPlanGeneration: 4, Mitigations: []emsv1.ServerMitigation{
			{ID: "M1", State: emsv1.StateApplied, Reason: "Enabled", Effective: emsv1.EffectiveTrue, Revision: 2},
		}},
	}
	planned := func(id emsv1.MitigationID, revision int64) emsv1.PlannedMitigation {
		return emsv1.PlannedMitigation{
			ID: id, Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: revision, FeedName: feed, BundleName: bundle, DocumentDigest: report.Digest,
		}
	}
	c.plan = &emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Name: "mail", Generation: 4},
		Spec:       emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{planned("M1", 2), planned("ECP1", 1)}},
	}
	c.mitigation = &emsv1.Mitigation{Spec: emsv1.MitigationSpec{ID: "M1", Revision: 2, FeedName: feed, BundleName: bundle, DocumentDigest: report.Digest}}
	return c
}

// ServeHTTP answers as an API server does.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	objects := map[string]any{
		"namespaces/frontends/poolservers/fe01":     &c.server,
		"namespaces/frontends/mitigationplans/mail": c.plan,
		"mitigations/m1":              c.mitigation,
		"mitigationbundles/contoso-1": &c.bundle,
		"mitigationfeeds/contoso":     &c.feed,
	}
	w.Header().Set("Content-Type", "application/json")
	object, ok := objects[strings.TrimPrefix(r.URL.Path, "/apis/ems.mitigation.dev/v1alpha1/")]
	if !ok || reflect.ValueOf(object).IsNil() {
		w.WriteHeader(http.StatusNotFound)
		object = metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: "not found",
		}
	} else {
		kind := reflect.TypeOf(object).Elem().Name()
		reflect.ValueOf(object).Elem().FieldByName("TypeMeta").Set(reflect.ValueOf(metav1.TypeMeta{Kind: kind, APIVersion: emsv1.GroupVersion.String()}))
	}
	if err := json.NewEncoder(w).Encode(object); err != nil {
		c.t.Error(err)
	}
}

// simulate runs the command against the cluster, whose kubeconfig has the namespace "frontends" and one context more, that of
// nobody.
func (c *cluster) simulate(arguments ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	server := httptest.NewServer(c)
	defer server.Close()
	kubeconfig := filepath.Join(c.t.TempDir(), "kubeconfig")
	content := `{"apiVersion":"v1","kind":"Config","current-context":"here","clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}],
"contexts":[{"name":"here","context":{"cluster":"c","namespace":"frontends"}},{"name":"elsewhere","context":{"cluster":"c","namespace":"backends"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Setenv("KUBECONFIG", kubeconfig)
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs, now: func() time.Time { return c.now }}
	code = p.run(c.t.Context(), append([]string{"simulate"}, arguments...))
	return code, out.String(), errs.String()
}

const noConfiguration = `note        the server's own configuration is not in the cluster, so only the rules of the mitigation are evaluated; for the rest run "ems-agent simulate --config ..." on the server
`

func TestSimulateOfAServerSaysWhereItIsFrom(t *testing.T) {
	c := newCluster(t)
	code, stdout, stderr := c.simulate("--mitigation", "m1", "--server", "fe01", "--request", "/x/powershell", "--request", "/owa/secret", "--request", "/owa/")
	want := `server      frontends/fe01 of pool mail
plan        frontends/mail, generation 4, mode Enforce, placement ApplicationHost: Apply (Enabled)
mitigation  M1, revision 2, of feed contoso
document    contoso-1, verified under spec.trust of MitigationFeed contoso, signed by ` + c.keys.ECDSA.Certificate.Subject.String() + `
reported    Applied (Enabled); revision 2 is in place; effective: True
` + noConfiguration + `
/x/powershell
=> Aborted by rule "PowerShell - inbound"
/owa/secret
=> Responded 403.0 by rule "Secrets"
/owa/
=> Passed
`
	if code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %s, output:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	text, err := os.ReadFile(filepath.Join(repository, simulateGuide))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "--request /owa/\n"+stdout+"```\n") {
		t.Errorf("%s shows something else than:\n%s", simulateGuide, stdout)
	}
}

func TestSimulateOfAServer(t *testing.T) {
	const server = "--mitigation M1 --server fe01 --request /owa/secret "
	for name, tc := range map[string]struct {
		change    func(*cluster)
		arguments string
		wantExit  int
		want      []string
	}{
		"the namespace stands before the name": {
			arguments: "--context elsewhere --mitigation M1 --server frontends/fe01 --request /owa/secret", want: []string{"server      frontends/fe01 of pool mail", "Responded"},
		},
		"the namespace has its own flag":  {arguments: server + "--context elsewhere -n frontends", want: []string{"Responded"}},
		"the context has the namespace":   {arguments: server + "--context elsewhere", wantExit: 1, want: []string{"get poolservers backends/fe01: ", "not found"}},
		"every step can be shown":         {arguments: server + "--trace", want: []string{`rule "Secrets" (rules of M1.2, line 1)`, "of pool mail"}},
		"blocked actions are left out":    {change: block("M1.2"), arguments: server, want: []string{"left out    M1.2: blocked by policy", "=> Passed"}},
		"every action is blocked":         {change: block("m1"), arguments: server, wantExit: 1, want: []string{`mitigation "M1": the plan blocks each of its actions`}},
		"no rules to evaluate":            {arguments: "--mitigation ECP1 --server fe01 --request /", wantExit: 1, want: []string{"reported    nothing about the mitigation", `"ECP1" has none for site`, "AppPool"}},
		"the plan takes it away":          {change: desire(emsv1.DesiredRemove), arguments: server, want: []string{"placement ApplicationHost: Remove (Enabled)", "note        the plan says Remove: what is evaluated is revision 2, as if it were installed", "Responded"}},
		"the plan leaves the server":      {change: desire(emsv1.DesiredHold), arguments: server, want: []string{"the plan says Hold", "Responded"}},
		"the pool is in mode Audit":       {change: func(c *cluster) { c.plan.Spec.Mode = emsv1.ModeAudit }, arguments: server, want: []string{"mode Audit", "what the server would install", "Responded"}},
		"the plan does not mention it":    {change: func(c *cluster) { c.plan.Spec.Mitigations = nil }, arguments: server, want: []string{"does not mention the mitigation\n", "newest revision, as if it were installed", "Responded"}},
		"the pool has no plan":            {change: func(c *cluster) { c.plan = nil }, arguments: server, want: []string{"plan        none", "pool mail has no plan", "Responded"}},
		"nobody knows the mitigation":     {arguments: "--mitigation M7 --server fe01 --request /", wantExit: 1, want: []string{`no plan mentions mitigation "M7": get mitigations m7: `}},
		"the server is behind":            {change: func(c *cluster) { c.server.Status.ObservedPlanGeneration = 3 }, arguments: server, want: []string{"has not reported on generation 4 of the plan, only on 3"}},
		"the server has another revision": {change: func(c *cluster) { c.server.Status.Mitigations[0].Revision = 1 }, arguments: server, want: []string{"revision 2 is evaluated, not revision 1, which the server reports"}},
		"a document that was changed": {
			change: func(c *cluster) {
				c.bundle.Spec.Document = bytes.Replace(c.bundle.Spec.Document, []byte("powershell"), []byte("p0wershell"), 1)
			},
			arguments: server, wantExit: 1, want: []string{"MitigationBundle contoso-1: under spec.trust of MitigationFeed contoso: "},
		},
		"a document of somebody else": {
			change:    func(c *cluster) { c.feed.Spec.Trust.Roots = string(c.keys.TSARoot.PEM()) },
			arguments: server, wantExit: 1, want: []string{"under spec.trust of MitigationFeed contoso: "},
		},
		"a signer that a list beside the document revokes": {change: revoke(true), arguments: server, wantExit: 1, want: []string{"revoked"}},
		"a list beside the document that revokes nobody":   {change: revoke(false), arguments: server, want: []string{"Responded"}},
		"lists are required and none is there":             {change: requireLists, arguments: server, wantExit: 1, want: []string{"under spec.trust of MitigationFeed contoso: "}},
		"a policy that cannot be read":                     {change: func(c *cluster) { c.feed.Spec.Trust.Roots = "x" }, arguments: server, wantExit: 1, want: []string{"under spec.trust of MitigationFeed contoso: "}},
		"a plan that was changed": {
			change:    func(c *cluster) { c.plan.Spec.Mitigations[0].DocumentDigest = strings.Repeat("0", 64) },
			arguments: server, wantExit: 1, want: []string{"look for who changed the plan"},
		},
		"a plan that wants another revision": {change: func(c *cluster) { c.plan.Spec.Mitigations[0].Revision = 3 }, arguments: server, wantExit: 1, want: []string{"the document holds revision 2, want 3"}},
		"a plan that names another feed":     {change: func(c *cluster) { c.plan.Spec.Mitigations[0].FeedName = "other" }, arguments: server, wantExit: 1, want: []string{`is of feed "contoso", not of "other"`}},
		"what only is logged": {
			change: func(c *cluster) {
				c.feed.Spec.Trust.Subject.CommonName, c.feed.Spec.Trust.Levels.Subject = "Somebody else", "Log"
			}, arguments: server, want: []string{"note        spec.trust only logs this: subject: "},
		},
		"two sources":                {arguments: server + "--document x", wantExit: 2, want: []string{"--document, --server: want one of them"}},
		"no mitigation":              {arguments: "--server fe01 --request /", wantExit: 2, want: []string{"--server: needs --mitigation"}},
		"no server":                  {arguments: "--mitigation M1 --request /", wantExit: 2, want: []string{"--mitigation: needs --document or --server"}},
		"a cluster for nothing":      {arguments: "--rules x --request / --context here", wantExit: 2, want: []string{"--context: needs --server"}},
		"a name of three parts":      {arguments: "--mitigation M1 --request / --server a/b/c", wantExit: 2, want: []string{`--server: "a/b/c": want the form`}},
		"a name without a namespace": {arguments: "--mitigation M1 --request / --server /fe01", wantExit: 2, want: []string{`--server: "/fe01": want the form`}},
		"two namespaces":             {arguments: "--mitigation M1 --request / --server a/fe01 -n b", wantExit: 2, want: []string{"want one namespace"}},
		"a kubeconfig that is not there": {
			arguments: server + "--kubeconfig no-such-file", wantExit: 2, want: []string{"kubeconfig: ", "no-such-file"},
		},
		"a context that is not there": {arguments: server + "--context nowhere", wantExit: 2, want: []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			if tc.change != nil {
				tc.change(c)
			}
			code, stdout, stderr := c.simulate(strings.Fields(tc.arguments)...)
			if code != tc.wantExit {
				t.Errorf("exit code %d, want %d", code, tc.wantExit)
			}
			for _, want := range tc.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("no %q in:\n%s%s", want, stdout, stderr)
				}
			}
		})
	}
}

func block(id emsv1.MitigationID) func(*cluster) {
	return func(c *cluster) { c.plan.Spec.Mitigations[0].BlockedActions = []emsv1.MitigationID{id} }
}

func desire(state emsv1.DesiredState) func(*cluster) {
	return func(c *cluster) { c.plan.Spec.Mitigations[0].Desired = state }
}

func requireLists(c *cluster) {
	c.feed.Spec.Trust.Revocation.Mode = "Require"
	// That of the root is in the policy, since nobody fetches it.
	list, err := c.keys.Root.RevocationList(c.now, c.now.Add(time.Hour))
	if err != nil {
		c.t.Fatal(err)
	}
	c.feed.Spec.Trust.Revocation.CRLs = string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw}))
}

// revoke puts the list of the signer's authority beside the document.
func revoke(signer bool) func(*cluster) {
	return func(c *cluster) {
		requireLists(c)
		var revoked []*pki.Identity
		if signer {
			revoked = append(revoked, c.keys.ECDSA)
		}
		list, err := c.keys.Issuing.RevocationList(c.now, c.now.Add(time.Hour), revoked...)
		if err != nil {
			c.t.Fatal(err)
		}
		c.bundle.Spec.RevocationLists = [][]byte{list.Raw}
	}
}

func TestSimulateOfAServerInJSON(t *testing.T) {
	c := newCluster(t)
	block("M1.2")(c)
	log := filepath.Join(t.TempDir(), "requests.txt")
	if err := os.WriteFile(log, []byte("/powershell\n/owa/secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, what := range [][]string{{"--request", "/powershell"}, {"--requests", log}} {
		code, stdout, stderr := c.simulate(append([]string{"--mitigation", "M1", "--server", "fe01", "-o", "json"}, what...)...)
		var got struct {
			Server  fleet.View
			Answers []struct{ Outcome string }
			Summary struct{ Outcomes map[string]int }
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
			t.Fatalf("exit code %d, %v, %s:\n%s", code, err, stderr, stdout)
		}
		if v := got.Server; v.Namespace != "frontends" || v.Name != "fe01" || v.Plan.Generation != 4 || v.Plan.Desired != "Apply" || v.Revision != 2 ||
			v.Digest != c.bundle.Spec.Digest || v.BlockedActions[0] != "M1.2" || v.Reported.State != "Applied" || v.Reported.Effective != "True" || len(v.Notes) != 1 {
			t.Errorf("server = %+v", v)
		}
		switch {
		case what[0] == "--request" && (len(got.Answers) != 1 || got.Answers[0].Outcome != "Aborted"):
			t.Errorf("answers = %+v", got.Answers)
		case what[0] == "--requests" && (got.Summary.Outcomes["Aborted"] != 1 || got.Summary.Outcomes["Passed"] != 1):
			t.Errorf("summary = %+v", got.Summary)
		}
	}
}

func TestSimulateOfAServerWithItsConfiguration(t *testing.T) {
	c := newCluster(t)
	c.plan.Spec.Placement = emsv1.PlacementWebConfig
	rules := filepath.Join(t.TempDir(), "rules.xml")
	if err := os.WriteFile(rules, []byte(`<rules><rule name="Old name"><match url="^mail$"/><action type="Redirect" url="/owa/"/></rule></rules>`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := c.simulate("--mitigation", "M1", "--server", "fe01", "--rules", rules, "--request", "/mail", "--request", "/owa/secret")
	for _, want := range []string{"the one evaluated is that of the given files", "although the plan places them into web.config", "Redirected", "Responded"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, %s, no %q in:\n%s", code, stderr, want, stdout)
		}
	}
}
