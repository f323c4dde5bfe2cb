package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/telemetry"
)

var organization = uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8")

func pool(namespace, name string, change func(*emsv1.PoolMitigationConfig)) emsv1.PoolMitigationConfig {
	p := emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"site": "vienna"}}}
	if change != nil {
		change(&p)
	}
	return p
}

func plan(namespace, name string, mitigations ...emsv1.PlannedMitigation) emsv1.MitigationPlan {
	return emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: emsv1.MitigationPlanSpec{Mitigations: mitigations}}
}

func server(name string, mitigations ...emsv1.ServerMitigation) emsv1.PoolServer {
	return emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "frontends", Name: name, UID: types.UID("uid-of-" + name)},
		Spec:       emsv1.PoolServerSpec{PoolName: "mail", HostName: name + ".contoso.com"},
		Status: emsv1.PoolServerStatus{
			Facts: emsv1.ServerFacts{Product: emsv1.ExchangeServer, Build: "15.2.2562.43", Role: "Mailbox"}, Mitigations: mitigations,
		},
	}
}

func applied(id emsv1.MitigationID) emsv1.ServerMitigation {
	return emsv1.ServerMitigation{ID: id, State: emsv1.StateApplied, Reason: "Enabled", Message: "on web01.contoso.com"}
}

// contoso is a fleet of one server with two mitigations of which one is blocked.
func contoso() telemetry.Fleet {
	return telemetry.Fleet{
		OrganizationID: organization,
		Pools:          []emsv1.PoolMitigationConfig{pool("frontends", "mail", nil)},
		Plans: []emsv1.MitigationPlan{plan("frontends", "mail",
			emsv1.PlannedMitigation{ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled"},
			emsv1.PlannedMitigation{ID: "PING1", Desired: emsv1.DesiredApply, Reason: "Enabled"},
			emsv1.PlannedMitigation{ID: "M3", Desired: emsv1.DesiredRemove, Reason: "BlockedByPool", Message: "ask alice"},
		)},
		Servers: []emsv1.PoolServer{server("web01", applied("PING1"), applied("M1"),
			emsv1.ServerMitigation{ID: "M3", State: emsv1.StateRemoved, Reason: "BlockedByPool"})},
	}
}

func record(name string) telemetry.Record {
	return telemetry.Record{
		ProductBuild: &telemetry.ProductBuild{Product: emsv1.ExchangeServer, Build: "15.2.2562.43"},
		Mitigations:  telemetry.State{Organization: emsv1.Enabled, Pool: emsv1.Enabled},
		DeviceID:     uuid.NewSHA1(organization, []byte("uid-of-"+name)).String(), OrganizationID: organization.String(),
		Applied: []string{"M1", "PING1"}, Blocked: []string{"M3"},
	}
}

func TestRecords(t *testing.T) {
	tests := map[string]struct {
		change    func(*telemetry.Fleet)
		want      func(*telemetry.Record)
		wantNone  bool
		wantError string
	}{
		"the six fields": {},
		"a pool that opted out": {
			change: func(f *telemetry.Fleet) { f.Pools[0].Spec.Telemetry = emsv1.Disabled }, wantNone: true,
		},
		"a pool that says Enabled": {change: func(f *telemetry.Fleet) { f.Pools[0].Spec.Telemetry = emsv1.Enabled }},
		"a server whose pool is not there": {
			change: func(f *telemetry.Fleet) { f.Pools = nil }, wantNone: true,
		},
		"a server of a pool of the same name elsewhere": {
			change: func(f *telemetry.Fleet) { f.Servers[0].Namespace = "branches" }, wantNone: true,
		},
		"a server that has not reported": {
			change: func(f *telemetry.Fleet) { f.Servers[0].Status = emsv1.PoolServerStatus{} },
			want:   func(r *telemetry.Record) { r.ProductBuild, r.Applied = nil, []string{} },
		},
		"mitigations disabled for the organisation": {
			change: func(f *telemetry.Fleet) {
				f.Configurations = []emsv1.MitigationConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "global"}, Spec: emsv1.MitigationConfigurationSpec{Mitigations: emsv1.Disabled}}}
			},
			want: func(r *telemetry.Record) { r.Mitigations.Organization = emsv1.Disabled },
		},
		"mitigations disabled for a site that the pool is of": {
			change: func(f *telemetry.Fleet) { f.Configurations = []emsv1.MitigationConfiguration{site("vienna")} },
			want:   func(r *telemetry.Record) { r.Mitigations.Organization = emsv1.Disabled },
		},
		"mitigations disabled for another site": {
			change: func(f *telemetry.Fleet) { f.Configurations = []emsv1.MitigationConfiguration{site("graz")} },
		},
		"a site whose selector nobody understands": {
			change: func(f *telemetry.Fleet) {
				c := site("vienna")
				c.Spec.PoolSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Near"}}
				f.Configurations = []emsv1.MitigationConfiguration{c}
			},
			wantError: "spec.poolSelector",
		},
		"mitigations disabled in the pool": {
			change: func(f *telemetry.Fleet) { f.Pools[0].Spec.Mitigations = emsv1.Disabled },
			want:   func(r *telemetry.Record) { r.Mitigations.Pool = emsv1.Disabled },
		},
		"what is audited, failed or pending is not applied": {
			change: func(f *telemetry.Fleet) {
				for i, state := range []emsv1.MitigationState{emsv1.StateAudited, emsv1.StateFailed} {
					f.Servers[0].Status.Mitigations[i].State = state
				}
			},
			want: func(r *telemetry.Record) { r.Applied = []string{} },
		},
		"a part of a mitigation that is blocked": {
			change: func(f *telemetry.Fleet) {
				f.Plans[0].Spec.Mitigations[0].BlockedActions = []emsv1.MitigationID{"M1.2"}
			},
			want: func(r *telemetry.Record) { r.Blocked = []string{"M1.2", "M3"} },
		},
		"a block on the server itself": {
			change: func(f *telemetry.Fleet) {
				f.Servers[0].Status.Mitigations[1] = emsv1.ServerMitigation{ID: "M1", State: emsv1.StateRemoved, Reason: "BlockedOnServer"}
			},
			want: func(r *telemetry.Record) { r.Applied, r.Blocked = []string{"PING1"}, []string{"M1", "M3"} },
		},
		"ids that the plan does not know, and others as the plan spells them": {
			change: func(f *telemetry.Fleet) {
				f.Servers[0].Status.Mitigations = []emsv1.ServerMitigation{
					applied("ping1"), applied("m1"), applied("Password123"), {ID: "web01contoso", State: emsv1.StateRemoved, Reason: "BlockedOnServer"}, applied("M1"),
				}
			},
		},
		"a build that is none": {
			change: func(f *telemetry.Fleet) { f.Servers[0].Status.Facts.Build = "15.2.2562.43 of web01.contoso.com" },
			want:   func(r *telemetry.Record) { r.ProductBuild = nil },
		},
		"a product that is none": {
			change: func(f *telemetry.Fleet) { f.Servers[0].Status.Facts.Product = "web01.contoso.com" },
			want:   func(r *telemetry.Record) { r.ProductBuild = nil },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := contoso()
			if test.change != nil {
				test.change(&f)
			}
			got, err := telemetry.Records(f)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error %v, want one with %q", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []telemetry.Record{record("web01")}
			if test.want != nil {
				test.want(&want[0])
			}
			if test.wantNone {
				want = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func site(name string) emsv1.MitigationConfiguration {
	return emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: emsv1.MitigationConfigurationSpec{
		PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"site": name}}, Mitigations: emsv1.Disabled,
	}}
}

// Whatever an object holds beside the six fields stays here: the whole fleet is filled with one word, which is in no body.
func TestABodyHoldsNoNameAndNoAddress(t *testing.T) {
	const secret = "contososecret"
	f := contoso()
	p, s := &f.Pools[0], &f.Servers[0]
	p.Namespace, p.Name, p.Spec.PoolFQDN, p.Labels[secret] = secret, secret, secret+".com", secret
	f.Plans[0].Namespace, f.Plans[0].Name = secret, secret
	s.Namespace, s.Name, s.Spec.PoolName, s.Spec.HostName, s.UID = secret, secret, secret, secret, secret
	s.Status.Facts = emsv1.ServerFacts{Product: emsv1.ExchangeServer, Build: "15.2.2562.43", Role: secret, AgentVersion: secret, OperatingSystem: secret}
	s.Status.Local.KillSwitch = emsv1.LocalUse{By: secret, Reason: secret}
	s.Status.Conditions = []metav1.Condition{{Type: secret, Message: secret, Reason: secret}}
	for i := range s.Status.Mitigations {
		m := &s.Status.Mitigations[i]
		m.Message, m.LookAlikes, m.Gate.Message = secret, []string{secret}, secret
	}
	s.Status.Mitigations = append(s.Status.Mitigations, applied(secret))
	bodies := bodiesOf(t, f)
	if len(bodies) != 1 || !strings.Contains(string(bodies[0]), `"15.2.2562.43"`) {
		t.Fatalf("bodies %q, want one with the server", bodies)
	}
	if strings.Contains(strings.ToLower(string(bodies[0])), secret) {
		t.Errorf("body holds %q:\n%s", secret, bodies[0])
	}
}

func bodiesOf(t *testing.T, f telemetry.Fleet) [][]byte {
	t.Helper()
	records, err := telemetry.Records(f)
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := telemetry.Bodies(records)
	if err != nil {
		t.Fatal(err)
	}
	return bodies
}

func TestDeviceIDs(t *testing.T) {
	f := contoso()
	s := &f.Servers[0]
	id := telemetry.DeviceID(organization, s)
	if version := uuid.MustParse(id).Version(); version != 5 {
		t.Errorf("version %d, want 5", version)
	}
	s.Name, s.Status = "web99", emsv1.PoolServerStatus{}
	if again := telemetry.DeviceID(organization, s); again != id {
		t.Errorf("%s after a change of everything but the UID, want %s", again, id)
	}
	if other := telemetry.DeviceID(uuid.Nil, s); other == id {
		t.Error("another organisation has the same device")
	}
	s.UID = "another"
	if other := telemetry.DeviceID(organization, s); other == id {
		t.Error("another server has the same id")
	}
}

func TestBodies(t *testing.T) {
	fleet := func(servers int) telemetry.Fleet {
		f := contoso()
		f.Servers = nil
		for i := range servers {
			f.Servers = append(f.Servers, server(fmt.Sprintf("web%05d", i), applied("M1")))
		}
		return f
	}
	for name, test := range map[string]struct {
		servers int
		want    []int
	}{
		"no server, no request":        {0, nil},
		"one":                          {1, []int{1}},
		"as many as go into a request": {1000, []int{1000}},
		"one more":                     {1001, []int{1000, 1}},
		"a large fleet in requests of a thousand": {2500, []int{1000, 1000, 500}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet(test.servers)
			bodies := bodiesOf(t, f)
			var got []int
			for _, body := range bodies {
				checkSchema(t, body)
				got = append(got, bytes.Count(body, []byte("deviceID")))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("servers of the requests (-want +got):\n%s", diff)
			}
			slices.Reverse(f.Servers)
			if diff := cmp.Diff(bodies, bodiesOf(t, f)); diff != "" {
				t.Errorf("the order of objects changes the bodies:\n%s", diff)
			}
		})
	}
}

func TestABodyIsBoundedInBytes(t *testing.T) {
	f := contoso()
	f.Plans[0].Spec.Mitigations, f.Servers = nil, nil
	var all []emsv1.ServerMitigation
	for i := range 2048 {
		id := emsv1.MitigationID(fmt.Sprintf("M%062d", i))
		f.Plans[0].Spec.Mitigations = append(f.Plans[0].Spec.Mitigations, emsv1.PlannedMitigation{ID: id, Reason: "BlockedByPool"})
		all = append(all, applied(id))
	}
	for i := range 40 {
		f.Servers = append(f.Servers, server(fmt.Sprintf("web%d", i), all...))
	}
	bodies := bodiesOf(t, f)
	if len(bodies) < 2 {
		t.Errorf("%d requests, want several", len(bodies))
	}
	for _, body := range bodies {
		if len(body) > 5<<20 {
			t.Errorf("a body of %d bytes", len(body))
		}
	}
}

func TestCompress(t *testing.T) {
	body := bodiesOf(t, contoso())[0]
	r, err := gzip.NewReader(bytes.NewReader(telemetry.Compress(body)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%q, %v", got, err)
	}
	if !r.ModTime.IsZero() || r.Name != "" {
		t.Errorf("header %+v", r.Header)
	}
}

// property is as much of JSON Schema as the page for receivers uses.
type property struct {
	Type                 any                 `json:"type"`
	Properties           map[string]property `json:"properties"`
	Required             []string            `json:"required"`
	AdditionalProperties *bool               `json:"additionalProperties"`
	Items                *property           `json:"items"`
	MaxItems             int                 `json:"maxItems"`
	MinItems             int                 `json:"minItems"`
	Pattern              string              `json:"pattern"`
	Enum                 []any               `json:"enum"`
	Const                any                 `json:"const"`
	OneOf                []property          `json:"oneOf"`
}

func checkSchema(t *testing.T, body []byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "telemetry-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema property
	var value any
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.check("", value); err != nil {
		t.Errorf("body does not meet the schema: %v", err)
	}
}

func (p *property) check(path string, value any) error {
	switch {
	case len(p.OneOf) > 0:
		if !slices.ContainsFunc(p.OneOf, func(o property) bool { return o.check(path, value) == nil }) {
			return fmt.Errorf("%s: %v: none of the forms", path, value)
		}
	case p.Const != nil && p.Const != value, len(p.Enum) > 0 && !slices.Contains(p.Enum, value):
		return fmt.Errorf("%s: %v: not the constant, or none of those named", path, value)
	}
	switch value := value.(type) {
	case map[string]any:
		if len(p.OneOf) == 0 && (p.Type != "object" || p.AdditionalProperties == nil || *p.AdditionalProperties || len(p.Required) != len(p.Properties)) {
			return fmt.Errorf("%s: the schema says too little", path)
		}
		for name, inner := range value {
			known, is := p.Properties[name]
			if !is && len(p.OneOf) == 0 {
				return fmt.Errorf("%s.%s: not in the schema", path, name)
			}
			if err := known.check(path+"."+name, inner); is && err != nil {
				return err
			}
		}
		for _, name := range p.Required {
			if _, is := value[name]; !is {
				return fmt.Errorf("%s.%s: missing", path, name)
			}
		}
	case []any:
		if p.Type != "array" || p.MaxItems > 0 && len(value) > p.MaxItems || len(value) < p.MinItems {
			return fmt.Errorf("%s: %d items", path, len(value))
		}
		for i := range value {
			if err := p.Items.check(fmt.Sprintf("%s[%d]", path, i), value[i]); err != nil {
				return err
			}
		}
	case string:
		if p.Type != "string" || p.Pattern != "" && !regexp.MustCompile(p.Pattern).MatchString(value) {
			return fmt.Errorf("%s: %q: not as the schema has it", path, value)
		}
	case nil:
		if p.Type != "null" && len(p.OneOf) == 0 {
			return fmt.Errorf("%s: null", path)
		}
	default:
		return fmt.Errorf("%s: %T", path, value)
	}
	return nil
}

func TestTheSchemaRefusesWhatIsNotSent(t *testing.T) {
	good := string(bodiesOf(t, contoso())[0])
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "telemetry-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema property
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		`"deviceID"`: `"hostName":"web01","deviceID"`, telemetry.Schema: "ems.mitigation.dev/telemetry/v2", `"Enabled"`: `"On"`,
		"15.2.2562.43": "15.2", `["M3"]`: `["not an id"]`, organization.String(): "contoso", `"mitigationsBlocked":["M3"]`: `"mitigationsBlocked":null`,
	} {
		var value any
		if err := json.Unmarshal([]byte(strings.Replace(good, from, to, 1)), &value); err != nil {
			t.Fatal(err)
		}
		if schema.check("", value) == nil {
			t.Errorf("%s instead of %s is taken", to, from)
		}
	}
}

func TestChoose(t *testing.T) {
	installed := telemetry.Endpoint{URL: "https://installed.contoso.com/"}
	said := func(s emsv1.TelemetrySpec) *emsv1.MitigationConfiguration {
		return &emsv1.MitigationConfiguration{Spec: emsv1.MitigationConfigurationSpec{Telemetry: &s}}
	}
	for name, test := range map[string]struct {
		global    *emsv1.MitigationConfiguration
		installed telemetry.Endpoint
		want      telemetry.Endpoint
		wantWhy   string
	}{
		"nobody said anything":                       {nil, telemetry.Endpoint{}, telemetry.Endpoint{}, "nobody has switched it on"},
		"a configuration that says nothing of it":    {&emsv1.MitigationConfiguration{}, telemetry.Endpoint{}, telemetry.Endpoint{}, "nobody has switched it on"},
		"an empty word":                              {said(emsv1.TelemetrySpec{}), telemetry.Endpoint{}, telemetry.Endpoint{}, "nobody has switched it on"},
		"the installation":                           {nil, installed, installed, ""},
		"the installation beside an empty word":      {said(emsv1.TelemetrySpec{}), installed, installed, ""},
		"switched off against the installation":      {said(emsv1.TelemetrySpec{Mode: emsv1.Disabled}), installed, telemetry.Endpoint{}, "spec.telemetry.mode is Disabled"},
		"a url alone is no consent":                  {said(emsv1.TelemetrySpec{URL: "https://a/"}), installed, telemetry.Endpoint{}, "spec.telemetry has no mode"},
		"consent without a url sends nowhere":        {said(emsv1.TelemetrySpec{Mode: emsv1.Enabled}), installed, telemetry.Endpoint{}, "spec.telemetry has no url"},
		"switched off keeps the url for another day": {said(emsv1.TelemetrySpec{Mode: emsv1.Disabled, URL: "https://a/"}), installed, telemetry.Endpoint{}, "spec.telemetry.mode is Disabled"},
		"the configuration wins over the installation": {
			said(emsv1.TelemetrySpec{Mode: emsv1.Enabled, URL: "https://a/", CABundle: "ca", ProxyURL: "http://p:1"}), installed,
			telemetry.Endpoint{URL: "https://a/", CABundle: "ca", ProxyURL: "http://p:1"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, on, why := telemetry.Choose(test.global, test.installed)
			if got != test.want || why != test.wantWhy || on != (test.wantWhy == "") {
				t.Errorf("%+v, %t, %q", got, on, why)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	start := time.Date(2026, 5, 15, 8, 0, 0, 0, time.UTC)
	for minute := range 120 {
		now := start.Add(time.Duration(minute) * time.Minute)
		first := telemetry.First(organization, now)
		if wait := first.Sub(now); wait <= telemetry.FirstWait || wait > telemetry.FirstWait+telemetry.Interval {
			t.Errorf("switched on at %s: first at %s", now, first)
		}
		if next := telemetry.Next(organization, first, 0); next.Sub(first) != telemetry.Interval {
			t.Errorf("after %s: next at %s", first, next)
		}
		for failures, want := range map[int]time.Duration{1: time.Minute, 2: 5 * time.Minute, 3: 15 * time.Minute, 4: time.Hour, 1000: time.Hour} {
			if next := telemetry.Next(organization, first, failures); next.Sub(first) != want {
				t.Errorf("%d failures at %s: next at %s", failures, first, next)
			}
		}
		if retry := telemetry.Next(organization, now, 3); retry.After(telemetry.Next(organization, now, 0)) {
			t.Errorf("a retry at %s is later than the next hour's", retry)
		}
	}
	// A thousand organisations meet each quarter of the hour in about equal numbers.
	var quarters [4]int
	for i := range 1000 {
		id := uuid.NewSHA1(organization, fmt.Append(nil, i))
		quarters[telemetry.Next(id, start, 0).Sub(start)/(15*time.Minute)%4]++
	}
	for i, n := range quarters {
		if n < 190 || n > 310 {
			t.Errorf("quarter %d of the hour: %d of 1000", i, n)
		}
	}
}

func TestParseOrganization(t *testing.T) {
	for text, want := range map[string]bool{
		organization.String(): true, "": false, uuid.Nil.String(): false, "contoso": false,
		"urn:uuid:" + organization.String(): false, strings.ToUpper(organization.String()): false, organization.String() + "\n": false,
	} {
		if _, err := telemetry.ParseOrganization(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func BenchmarkTenThousandServers(b *testing.B) {
	f := contoso()
	f.Servers = nil
	for i := range 10_000 {
		f.Servers = append(f.Servers, server(fmt.Sprintf("web%05d", i), applied("M1"), applied("PING1")))
	}
	for b.Loop() {
		records, err := telemetry.Records(f)
		if err != nil {
			b.Fatal(err)
		}
		if bodies, err := telemetry.Bodies(records); err != nil || len(bodies) != 10 {
			b.Fatal(len(bodies), err)
		}
	}
}
