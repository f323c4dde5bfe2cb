package inventory

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/inventory/inventorytest"
)

const guide = "../../../../docs/guides/inventory.md"

var update = flag.Bool("update", false, "write testdata/*.golden and the output in "+guide)

// call runs a command line on a fleet, without the way to a cluster.
func call(t *testing.T, f *inventorytest.Fleet, line string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	w := cli.World{Stdout: &out, Stderr: &errs, Now: func() time.Time { return inventorytest.Morning }, Getenv: func(string) string { return "" }}
	flags := pflag.NewFlagSet("get", pflag.ContinueOnError)
	r := bind(w, flags)
	flags.StringVarP(&r.output, "output", "o", formTable, "")
	flags.BoolVar(&r.noHeaders, "no-headers", false, "")
	if err := flags.Parse(strings.Fields(line)); err != nil {
		t.Fatal(err)
	}
	if err := r.read(flags.Args()); err != nil {
		return "", "", err
	}
	if err := r.place("frontends"); err != nil {
		return "", "", err
	}
	o, err := r.look(t.Context(), f)
	if err != nil {
		return "", errs.String(), err
	}
	missing, _, err := r.print(&out, o)
	return out.String(), errs.String(), errors.Join(err, missing)
}

func TestGolden(t *testing.T) {
	for name, line := range map[string]string{
		"pools-of-the-namespace": "",
		"all-namespaces":         "-A",
		"wide":                   "-A -o wide",
		"per-server":             "--per-server",
		"per-server-wide":        "--per-server -A -o wide",
		"one-server":             "--server web03",
		"servers":                "servers",
		"servers-wide":           "servers -A -o wide",
		"pools":                  "pools -A",
		"pools-wide":             "pools -A -o wide",
		"feeds":                  "feeds",
		"feeds-wide":             "feeds -o wide",
		"mitigations-json":       "mitigations M1 M3 -o json",
		"mitigations-yaml":       "mitigations m3 -o yaml",
		"names":                  "-A -o name",
		"servers-names":          "servers -o name",
		"mitigations-xml":        "-o xml",
		"mitigations-csv":        "-o csv",
		"per-server-xml":         "--server web03 -o xml",
		"per-server-csv":         "--per-server -o csv",
		"servers-csv":            "servers -o csv",
		"pools-xml":              "pools -o xml",
		"feeds-csv":              "feeds -o csv",
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := call(t, inventorytest.New(), line)
			if err != nil || stderr != "" {
				t.Fatalf("%v, %q", err, stderr)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), stdout); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	for line, want := range map[string]string{
		"--per-server --status failed --no-headers -o csv": "frontends,mail,web03,M2,UrlRewrite,Failed",
		"--status Blocked,Failed -o name":                  "mitigation.ems.mitigation.dev/m2\nmitigation.ems.mitigation.dev/m3\n",
		"-A -l tier=branches -o name":                      "mitigation.ems.mitigation.dev/m1\n",
		"-A -l tier!=branches pools":                       "mail ",
		"--pool branches/shop -o csv":                      "branches,shop,M1,UrlRewrite,Audited",
		"--per-server --pool branches/shop -o csv":         "branches,shop,shop01,M1,UrlRewrite,Audited",
		"--per-server -A -l tier=branches -o csv":          "branches,shop,shop01,M1",
		"pools mail.contoso.com -o name":                   "poolmitigationconfig.ems.mitigation.dev/mail\n",
		"servers frontends/WEB02 -o name":                  "poolserver.ems.mitigation.dev/web02\n",
		"--server branches/shop01 -o csv":                  "branches,shop,shop01,M1",
	} {
		t.Run(line, func(t *testing.T) {
			stdout, _, err := call(t, inventorytest.New(), line)
			if err != nil || !strings.Contains(stdout, want) {
				t.Errorf("%v, lacks %q:\n%s", err, want, stdout)
			}
			if rows := strings.Count(stdout, "\n"); rows > 3 {
				t.Errorf("%d lines:\n%s", rows, stdout)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	for line, want := range map[string]string{
		"everything":                  `"everything": want one of mitigations, servers, pools, feeds`,
		"-A --pool x":                 "--all-namespaces, --pool, --server: want one of them",
		"-A -n x":                     "--all-namespaces, --namespace: want one of them",
		"--pool x --server y":         "--pool, --server: want one of them",
		"--server y -l a=b":           "--selector, --server: want one of them",
		"--pool a/b/c":                `--pool: "a/b/c"`,
		"--server a/b/c":              `--server: "a/b/c"`,
		"servers --per-server":        "are for mitigations, not for servers",
		"pools --status Failed":       "are for mitigations, not for pools",
		"feeds -A":                    "feeds are of no namespace",
		"--status Good":               `--status: "Good": want words of Aborted, Applied, Audited`,
		"-l a=b=c":                    "--selector: ",
		"mitigations M1 M9":           `mitigation "M9": there is none`,
		"servers web09":               `server "web09": there is none`,
		"--pool no":                   "pool frontends/no: there is none",
		"--server no":                 `--server: frontends/no: poolservers.ems.mitigation.dev "no" not found`,
		"--per-server --pool no/mail": "pool no/mail: there is none",
	} {
		t.Run(line, func(t *testing.T) {
			_, _, err := call(t, inventorytest.New(), line)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, lacks %q", err, want)
			}
			_, misuse := errors.AsType[cli.UsageError](err)
			if wantMisuse := !strings.Contains(want, "there is none") && !strings.Contains(want, "not found"); misuse != wantMisuse {
				t.Errorf("misuse = %v of %v", misuse, err)
			}
		})
	}
}

// TestListsHaveTheNamesThatPeopleType: the singular, and what kubectl calls the resource.
func TestListsHaveTheNamesThatPeopleType(t *testing.T) {
	for other, line := range map[string]string{
		"mitigation M1": "mitigations M1", "server web01": "servers web01", "poolservers": "servers", "PoolServer web01": "servers web01",
		"pool": "pools", "poolmitigationconfig": "pools", "feed contoso": "feeds contoso", "mitigationfeeds": "feeds", "psrv": "servers", "mitigation.ems.mitigation.dev M1": "mitigations M1",
	} {
		want, _, err := call(t, inventorytest.New(), line)
		if err != nil || want == "" {
			t.Fatalf("%s: %v", line, err)
		}
		if got, _, err := call(t, inventorytest.New(), other); err != nil || got != want {
			t.Errorf("%s: %v, %q, want what %s lists", other, err, got, line)
		}
	}
}

func TestAnEmptyListSaysSo(t *testing.T) {
	stdout, stderr, err := call(t, &inventorytest.Fleet{}, "")
	if err != nil || stdout != "" || stderr != "no mitigations found in namespace \"frontends\"; -A looks at all namespaces\n" {
		t.Errorf("%v, %q, %q", err, stdout, stderr)
	}
	stdout, stderr, err = call(t, &inventorytest.Fleet{}, "-o json")
	if err != nil || strings.TrimSpace(stdout) != "[]" || stderr != "" {
		t.Errorf("%v, %q, %q", err, stdout, stderr)
	}
}

// TestHostileWords: descriptions come from publishers, messages from servers, and both may be hostile.
func TestHostileWords(t *testing.T) {
	f := inventorytest.New()
	f.Mitigations[1].Spec.Description = "=HYPERLINK(\"http://x\")\x1b[2J</Description><x>"
	stdout, _, err := call(t, f, "mitigations M1 -o csv")
	if err != nil || !strings.Contains(stdout, `"'=HYPERLINK(""http://x"")`) || strings.Contains(stdout, "\x1b") {
		t.Errorf("%v: %q", err, stdout)
	}
	stdout, _, err = call(t, f, "mitigations M1 -o xml")
	var document struct {
		Time        string                             `xml:"time,attr"`
		Mitigations []struct{ ID, Description string } `xml:"Mitigation"`
	}
	if err := errors.Join(err, xml.Unmarshal([]byte(stdout), &document)); err != nil {
		t.Fatal(err)
	}
	if len(document.Mitigations) != 1 || document.Mitigations[0].Description != "=HYPERLINK(\"http://x\")\uFFFD[2J</Description><x>" || document.Time != "2026-05-15T08:00:00Z" {
		t.Errorf("%+v", document)
	}
	if stdout, _, err = call(t, f, "mitigations M1"); err != nil || strings.Contains(stdout, "\x1b") {
		t.Errorf("%v: %q", err, stdout)
	}
}

func TestStatusOnServers(t *testing.T) {
	for name, tc := range map[string]struct {
		planned *emsv1.PlannedMitigation
		said    emsv1.ServerMitigation
		want    string
	}{
		"in place":                        {said: emsv1.ServerMitigation{State: emsv1.StateApplied}, want: Applied},
		"in place, and IIS ignores it":    {said: emsv1.ServerMitigation{State: emsv1.StateApplied, Effective: emsv1.EffectiveFalse}, want: Ineffective},
		"the revision before is in place": {wish(emsv1.DesiredApply, ""), emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2}, Pending},
		"failed":                          {said: emsv1.ServerMitigation{State: emsv1.StateFailed}, want: Failed},
		"blocked by the pool":             {wish(emsv1.DesiredRemove, "BlockedByPool"), emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "BlockedByPool"}, Blocked},
		"blocked at the server":           {wish(emsv1.DesiredApply, ""), emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "BlockedOnServer"}, Blocked},
		"the switch at the server":        {wish(emsv1.DesiredApply, ""), emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "KillSwitch"}, Suspended},
		"suspended":                       {said: emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "Suspended"}, want: Suspended},
		"switched off, and left there":    {said: emsv1.ServerMitigation{State: emsv1.StateHeld, Reason: "MitigationsDisabled"}, want: Disabled},
		"withdrawn":                       {said: emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "Withdrawn"}, want: Withdrawn},
		"superseded":                      {said: emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "Superseded"}, want: Superseded},
		"removed":                         {said: emsv1.ServerMitigation{State: emsv1.StateRemoved}, want: Removed},
		"not there yet":                   {wish(emsv1.DesiredApply, ""), emsv1.ServerMitigation{State: emsv1.StateRemoved}, Pending},
		"the rollout has not reached it":  {wish(emsv1.DesiredApply, ""), emsv1.ServerMitigation{State: emsv1.StateHeld, Reason: "AwaitingStage"}, Pending},
		"held":                            {wish(emsv1.DesiredHold, ""), emsv1.ServerMitigation{State: emsv1.StateHeld}, Held},
		"only looked at":                  {said: emsv1.ServerMitigation{State: emsv1.StateAudited}, want: Audited},
		"not needed":                      {said: emsv1.ServerMitigation{State: emsv1.StateNotApplicable}, want: NotApplicable},
		"waiting":                         {said: emsv1.ServerMitigation{State: emsv1.StatePending}, want: Pending},
		"nothing said, and wished":        {planned: wish(emsv1.DesiredApply, ""), want: Pending},
		"nothing said, and blocked":       {planned: wish(emsv1.DesiredRemove, "BlockedByPool"), want: Blocked},
	} {
		t.Run(name, func(t *testing.T) {
			if got := onServer(tc.planned, tc.said); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func wish(desired emsv1.DesiredState, reason string) *emsv1.PlannedMitigation {
	return &emsv1.PlannedMitigation{Desired: desired, Reason: reason, Revision: 3}
}

func TestStatusInPools(t *testing.T) {
	count := func(applied, pending, failed, ineffective, notApplicable int32) emsv1.ServerCounts {
		return emsv1.ServerCounts{
			Total: new(applied + pending + failed + ineffective + notApplicable), Applied: &applied, Pending: &pending, Failed: &failed,
			Ineffective: &ineffective, NotApplicable: &notApplicable,
		}
	}
	rolling := func(state emsv1.RolloutState) emsv1.PlannedMitigation {
		p := *wish(emsv1.DesiredApply, "")
		p.Rollout.State = state
		return p
	}
	for name, tc := range map[string]struct {
		planned emsv1.PlannedMitigation
		mode    emsv1.Mode
		counts  emsv1.ServerCounts
		want    string
	}{
		"everywhere":                 {planned: rolling(emsv1.RolloutComplete), counts: count(3, 0, 0, 0, 1), want: Applied},
		"one failed":                 {planned: rolling(emsv1.RolloutHalted), counts: count(1, 1, 1, 0, 0), want: Failed},
		"one failed to remove it":    {planned: *wish(emsv1.DesiredRemove, "BlockedByPool"), counts: count(0, 0, 1, 0, 0), want: Failed},
		"blocked":                    {planned: *wish(emsv1.DesiredRemove, "BlockedByOrganization"), counts: count(0, 0, 0, 0, 0), want: Blocked},
		"switched off":               {planned: *wish(emsv1.DesiredHold, "MitigationsDisabled"), counts: count(1, 0, 0, 0, 0), want: Disabled},
		"held":                       {planned: *wish(emsv1.DesiredHold, "Expired"), counts: count(1, 0, 0, 0, 0), want: Held},
		"only looked at":             {planned: rolling(emsv1.RolloutComplete), mode: emsv1.ModeAudit, counts: count(0, 1, 0, 0, 0), want: Audited},
		"IIS ignores it somewhere":   {planned: rolling(emsv1.RolloutComplete), counts: count(2, 0, 0, 1, 0), want: Ineffective},
		"halted before it failed":    {planned: rolling(emsv1.RolloutHalted), counts: count(1, 1, 0, 0, 0), want: Halted},
		"paused":                     {planned: rolling(emsv1.RolloutPaused), counts: count(1, 1, 0, 0, 0), want: Paused},
		"taken back":                 {planned: rolling(emsv1.RolloutAborted), counts: count(1, 1, 0, 0, 0), want: Aborted},
		"on its way":                 {planned: rolling(emsv1.RolloutProgressing), counts: count(1, 1, 0, 0, 0), want: Pending},
		"nobody needs it":            {planned: rolling(emsv1.RolloutComplete), counts: count(0, 0, 0, 0, 2), want: NotApplicable},
		"blocked at the only server": {planned: rolling(emsv1.RolloutComplete), counts: emsv1.ServerCounts{Total: new(int32(1)), Blocked: new(int32(1))}, want: Blocked},
		"no servers":                 {planned: rolling(emsv1.RolloutComplete), want: NoServers},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inPool(tc.planned, tc.mode, tc.counts); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNaturalOrder(t *testing.T) {
	names := []string{"web10", "web9", "M10", "M2", "M1.10", "M1.2", "M1", "web", "web09", ""}
	slices.SortFunc(names, natural)
	if diff := cmp.Diff([]string{"", "M1", "M1.2", "M1.10", "M2", "M10", "web", "web09", "web9", "web10"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestThePageHasEveryWordAndColumn keeps docs/guides/inventory.md and the words, columns and elements together.
func TestThePageHasEveryWordAndColumn(t *testing.T) {
	content, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	for _, w := range words {
		if !strings.Contains(page, "| `"+w.word+"` |") {
			t.Errorf("no word on %s", w.word)
		}
	}
	check := func(names []string) {
		for _, name := range names {
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("no word on column %q", name)
			}
		}
	}
	check(namesOf(poolMitigationList(true)))
	check(namesOf(serverMitigationList(true)))
	check(namesOf(poolList(true)))
	check(namesOf(serverList(true)))
	check(namesOf(feedList(time.Time{})))
	written := regexp.MustCompile("(?s)```console\n(.*?)```").ReplaceAllStringFunc(page, func(block string) string {
		command, _, _ := strings.Cut(strings.TrimPrefix(block, "```console\n$ kubectl mitigation get"), "\n")
		got, _, err := call(t, inventorytest.New(), command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		return "```console\n$ kubectl mitigation get" + command + "\n" + got + "```"
	})
	if *update {
		if err := os.WriteFile(guide, []byte(written), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(page, written); diff != "" {
		t.Errorf("%s is out of date: run the test with -update: -page +output:\n%s", guide, diff)
	}
}

func namesOf[T any](l list[T]) []string {
	var names []string
	for _, c := range l.columns {
		if c.name != "" {
			names = append(names, c.name)
		}
		if c.head != "" {
			names = append(names, c.head)
		}
	}
	return names
}

// BenchmarkPerServer makes the rows of a fleet of 10,000 servers.
func BenchmarkPerServer(b *testing.B) {
	o := &objects{plans: nil}
	one := inventorytest.New().Servers[0]
	for i := range 10_000 {
		server := *one.DeepCopy()
		server.Name = fmt.Sprintf("web%05d", 9_999-i)
		o.servers = append(o.servers, server)
	}
	o.mitigations = inventorytest.New().Mitigations
	for b.Loop() {
		rows := o.serverMitigations()
		if len(rows) != 40_000 || rows[0].Server != "web00000" {
			b.Fatal(len(rows), rows[0])
		}
	}
}
