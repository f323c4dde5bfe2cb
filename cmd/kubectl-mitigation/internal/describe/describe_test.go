package describe

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func TestPages(t *testing.T) {
	for name, test := range map[string]struct {
		fleet *insighttest.Fleet
		kind  string
		key   types.NamespacedName
		style terminal.Style
	}{
		"mitigation":          {fleet: insighttest.New().Halt(), kind: kindMitigation, key: named("x", "m1"), style: terminal.Plain(120)},
		"mitigation-blocked":  {fleet: insighttest.New(), kind: kindMitigation, key: named("x", "M2"), style: terminal.Plain(120)},
		"mitigation-terminal": {fleet: insighttest.New().Halt(), kind: kindMitigation, key: named("x", "M1"), style: terminal.Style{Width: 80, Color: true, Unicode: true}},
		"pool":                {fleet: insighttest.New().Halt(), kind: kindPool, key: named("frontends", "mail"), style: terminal.Plain(120)},
		"pool-well":           {fleet: insighttest.New(), kind: kindPool, key: named("pilots", "lab"), style: terminal.Plain(120)},
		"server":              {fleet: insighttest.New().Halt(), kind: kindServer, key: named("frontends", "mail04"), style: terminal.Plain(120)},
		"server-local":        {fleet: switchedOff(), kind: kindServer, key: named("frontends", "mail01"), style: terminal.Plain(120)},
		"server-without-pool": {fleet: orphan(), kind: kindServer, key: named("frontends", "mail01"), style: terminal.Plain(120)},
		"feed":                {fleet: insighttest.New(), kind: kindFeed, key: named("x", "contoso"), style: terminal.Plain(120)},
		"feed-refused":        {fleet: refused(), kind: kindFeed, key: named("x", "contoso"), style: terminal.Plain(60)},
	} {
		t.Run(name, func(t *testing.T) {
			events := insighttest.Events()
			if name == "mitigation-blocked" || name == "pool-well" {
				events = nil
			}
			p, err := describe(&test.fleet.Fleet, test.kind, test.key, events)
			if err != nil {
				t.Fatal(err)
			}
			insighttest.Golden(t, *update, name, p.Render(test.style))
		})
	}
}

func switchedOff() *insighttest.Fleet {
	f := insighttest.New()
	s := f.Server("frontends", "mail01")
	s.Status.Local = emsv1.ServerLocal{
		KillSwitch: emsv1.LocalUse{By: `CONTOSO\night`, Time: insighttest.At(3600e9), Reason: "OWA is down"},
		Blocked:    []emsv1.LocalBlock{{ID: "M1", Use: emsv1.LocalUse{By: `CONTOSO\night`, Time: insighttest.At(7200e9)}, ExpiryTime: insighttest.At(-7200e9)}},
	}
	s.Status.Mitigations[0] = emsv1.ServerMitigation{ID: "M1", State: emsv1.StateRemoved, Reason: "BlockedOnServer", LookAlikes: []string{"web.config: block powershell"}}
	s.Status.ClockSkewSeconds = new(int64(-42))
	s.Status.Credential.ExpiryTime = insighttest.At(-20 * 3600e9)
	s.Status.Conditions[0] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.KillSwitchReason, Message: "a person keeps every mitigation off", LastTransitionTime: *insighttest.At(3600e9)}
	return f
}

func orphan() *insighttest.Fleet {
	f := insighttest.New()
	f.Server("frontends", "mail01").Spec.PoolName = "gone"
	return f
}

func refused() *insighttest.Fleet {
	f := insighttest.New()
	s := &f.Feeds[0].Status
	s.Conditions[1] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.SignatureInvalidReason, Message: "the signature does not match: the document was changed on its way", LastTransitionTime: *insighttest.At(1800e9)}
	s.Conditions = append(s.Conditions, metav1.Condition{Type: "Stalled", Status: "True", Reason: emsv1.SignatureInvalidReason, LastTransitionTime: *insighttest.At(1800e9)})
	s.Failures, s.Document.SignedTime = new(int32(3)), nil
	s.Refused = []emsv1.RefusedConfig{{ID: "M9", Reason: "IDTaken", Message: "feed fabrikam provides M9"}}
	return f
}

func TestWhatThereIsNot(t *testing.T) {
	f := insighttest.New()
	for kind, want := range map[string]string{
		kindMitigation: "mitigation nothing: there is none", kindFeed: "feed nothing: there is none",
		kindPool: "pool a/nothing: there is none", kindServer: "server a/nothing: there is none",
	} {
		if _, err := describe(&f.Fleet, kind, named("a", "nothing"), nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, test := range map[string]struct {
		operands        []string
		kind, name, err string
	}{
		"a name":                    {operands: []string{"M1"}, name: "M1"},
		"a pool with its namespace": {operands: []string{"frontends/mail"}, name: "frontends/mail"},
		"a type and a name":         {operands: []string{"pool", "frontends/mail"}, kind: kindPool, name: "frontends/mail"},
		"a type in the plural":      {operands: []string{"Servers", "mail01"}, kind: kindServer, name: "mail01"},
		"a type before a stroke":    {operands: []string{"server/mail01"}, kind: kindServer, name: "mail01"},
		"both":                      {operands: []string{"server/frontends/mail01"}, kind: kindServer, name: "frontends/mail01"},
		"a type that there is not":  {operands: []string{"plan", "mail"}, err: `"plan": want mitigation, pool, server or feed`},
		"too many":                  {operands: []string{"a", "b", "c"}, err: "not 3 arguments"},
	} {
		kind, found, err := parse(test.operands)
		if kind != test.kind || found != test.name || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %q, %v", name, kind, found, err)
		}
	}
}

func TestGuesses(t *testing.T) {
	for name, test := range map[string]struct {
		key        types.NamespacedName
		namespaced bool
		change     func(f *insighttest.Fleet)
		want, err  string
	}{
		"a mitigation":                  {key: named("frontends", "M1"), want: kindMitigation},
		"a pool":                        {key: named("frontends", "mail"), want: kindPool},
		"a server":                      {key: named("frontends", "mail01"), want: kindServer},
		"a feed":                        {key: named("frontends", "contoso"), want: kindFeed},
		"nothing":                       {key: named("frontends", "x"), err: "neither a mitigation nor a feed, and neither a pool nor a server of namespace frontends"},
		"a namespace cannot have feeds": {key: named("frontends", "contoso"), namespaced: true, err: "neither"},
		"two things":                    {key: named("frontends", "mail"), change: func(f *insighttest.Fleet) { f.Feeds[0].Name = "mail" }, err: "mail: is a pool and a feed: say which before the name"},
	} {
		f := insighttest.New()
		if test.change != nil {
			test.change(f)
		}
		got, err := guess(t.Context(), f.Reader(), test.key, test.namespaced)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestWithoutRights: whoever sees one namespace only sees the page of its pool, and what is missing.
func TestWithoutRights(t *testing.T) {
	r := insighttest.New().Reader()
	for _, resource := range []string{insight.Feeds, insight.Pools, insight.Plans} {
		r.Forbidden[resource] = true
	}
	f, err := insight.Read(t.Context(), r, "frontends", insighttest.Evening)
	if err != nil {
		t.Fatal(err)
	}
	p, err := describe(f, kindPool, named("frontends", "mail"), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(p.Render(terminal.Plain(200)), "\n")
	for _, want := range []string{"Pool frontends/mail", "whether other pools hold a rollout is not known", "the products of the feeds are not known"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Forbidden[insight.Configurations] = true
	if _, err := insight.Read(t.Context(), r, "frontends", insighttest.Evening); err == nil || !strings.Contains(err.Error(), "bind the role ems-viewer") {
		t.Errorf("%v", err)
	}
}

func TestHostileTextIsText(t *testing.T) {
	f := insighttest.New()
	const bad = "a\x1b[2Jb\nc\u202e"
	f.Mitigations[0].Spec.Description, f.Mitigations[0].Spec.SideEffects = bad, []string{bad}
	f.Mitigations[0].Spec.Actions[0].Target, f.Configurations[0].Spec.Blocked[0].ID, f.Configurations[0].Spec.Blocked[0].Reason = bad, "M1", bad
	p := Mitigation(&f.Fleet, "M1", nil)
	for _, line := range p.Render(terminal.Plain(80)) {
		if strings.ContainsAny(line, "\x1b\n\u202e") {
			t.Errorf("%q", line)
		}
	}
	if content, err := json.Marshal(p); err != nil || strings.Contains(string(content), "\x1b") {
		t.Errorf("%v, %.200s", err, content)
	}
}
