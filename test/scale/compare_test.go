package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/test/harness"
)

func TestRecapOfAnsible(t *testing.T) {
	const heading = "PLAY RECAP *********************************************************************\n"
	for name, test := range map[string]struct {
		output string
		want   recap
		fails  bool
	}{
		"counts servers and not tasks": {
			output: heading + "web00000                   : ok=2    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   \n" +
				"web00001                   : ok=3    changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   \n" +
				"web00002                   : ok=1    changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0   \n",
			want: recap{servers: 3, changed: 2},
		},
		"a server that was not reached has failed": {
			output: heading + "web00000 : ok=0 changed=0 unreachable=1 failed=0 skipped=0 rescued=0 ignored=0\n" +
				"web00001 : ok=1 changed=0 unreachable=0 failed=12 skipped=0 rescued=0 ignored=0\n",
			want: recap{servers: 2, failed: 2},
		},
		"of tasks alone says nothing": {output: "TASK [Add the section] ***\nchanged: [web00001]\n" + heading, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readRecap(test.output)
			if (err != nil) != test.fails {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(recap{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettingsOfAnsible(t *testing.T) {
	for want, how := range map[string]settings{
		"5 forks, facts; ANSIBLE_GATHERING=implicit ANSIBLE_FORKS=5 ANSIBLE_PIPELINING=false":       installed,
		"50 forks, pipelining; ANSIBLE_GATHERING=explicit ANSIBLE_FORKS=50 ANSIBLE_PIPELINING=true": tuned,
	} {
		if got := how.String() + "; " + strings.Join(how.environment(), " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestComparisonRunsByItselfAndIsPrinted(t *testing.T) {
	if got, err := choose("ansible"); err != nil || len(got) != 1 || got[0].name != "ansible" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := choose("ansible,seen"); err == nil {
		t.Error("it runs beside other scenarios, which leave files that are not as they were before")
	}
	r := &Result{}
	r.way("by hand", effort{wall: 90 * time.Second, cpu: 2500 * time.Millisecond}, "2 of 2")
	r.way("by nobody", effort{wall: time.Hour}, "never")
	var text strings.Builder
	printComparison(&text, r.Comparison)
	want := `  way        to the last server  processor time  
  by hand    90 s                2.5 s           2 of 2
  by nobody  3600 s              unknown         never
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}

// ansibleOf makes Ansible ready for copies of the files of two servers.
func ansibleOf(t *testing.T, program string) *ansible {
	t.Helper()
	publisher, err := harness.NewPublisher()
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(t.TempDir(), []harness.Pool{{Name: "a", Namespace: "sim-a", FQDN: "a.contoso.com"}}, 2, publisher.Trust())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	a, err := newAnsible(program, t.TempDir(), f.servers)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCopiesAreCheckedLikeServers(t *testing.T) {
	a := ansibleOf(t, "none")
	if identical, err := a.free(); err != nil || identical != 2 {
		t.Errorf("%d of 2 are as before, %v", identical, err)
	}
	if err := a.protected(); err == nil || strings.Count(err.Error(), "rules []") != 2 {
		t.Errorf("no copy has a rule: %v", err)
	}
	_, text, err := section(a.originals[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.servers {
		content, err := os.ReadFile(s.ConfigFile())
		if err != nil {
			t.Fatal(err)
		}
		const head = "    <location path=\"Default Web Site\">\r\n        <system.webServer>"
		if err := s.WriteConfig(bytes.Replace(content, []byte("\n"+head), []byte("\n"+head+text), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.protected(); err != nil {
		t.Error(err)
	}
	if identical, err := a.free(); err == nil || identical != 0 {
		t.Errorf("copies with a rule are free of it, and %d are as before", identical)
	}
	if err := a.renew(); err != nil {
		t.Error(err)
	}
	if _, _, err := a.play(t.Context(), applyXML, tuned); err == nil {
		t.Error("a program that does not exist has done its work")
	}
}

func TestPlaybooksDoTheirWorkOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("Ansible takes seconds for each playbook")
	}
	program, err := findAnsible()
	if err != nil {
		t.Skipf("SKIPPED: the playbooks are not run: %v", err)
	}
	for name, books := range map[string]struct {
		apply, revert string
		wantIdentical int
	}{
		"a module for XML writes the file anew":  {applyXML, revertXML, 0},
		"a module for text changes nothing else": {applyText, revertText, 2},
	} {
		t.Run(name, func(t *testing.T) {
			a := ansibleOf(t, program)
			for _, want := range []recap{{servers: 2, changed: 2}, {servers: 2}} {
				got, took, err := a.play(t.Context(), books.apply, tuned)
				if err != nil {
					t.Fatal(err)
				}
				if got != want || took.cpu <= 0 || took.wall <= 0 {
					t.Errorf("%+v, %+v, want %+v", got, took, want)
				}
				if err := a.protected(); err != nil {
					t.Error(err)
				}
				a.comparedWithAgent(t, books.wantIdentical > 0)
			}
			if got, _, err := a.play(t.Context(), books.revert, tuned); err != nil || got.changed != 2 {
				t.Errorf("%+v, %v", got, err)
			}
			if identical, err := a.free(); err != nil || identical != books.wantIdentical {
				t.Errorf("%d of 2 are as before, want %d; %v", identical, books.wantIdentical, err)
			}
		})
	}
}

// comparedWithAgent fails unless the copies hold the rule where the agent would have put it, if wanted with the very same bytes.
func (a *ansible) comparedWithAgent(t *testing.T, bytewise bool) {
	t.Helper()
	for i, s := range a.servers {
		_, text, err := section(a.originals[i])
		if err != nil {
			t.Fatal(err)
		}
		before, beforeErr := os.ReadFile(a.originals[i].ConfigFile())
		after, afterErr := os.ReadFile(s.ConfigFile())
		if err := errors.Join(beforeErr, afterErr); err != nil {
			t.Fatal(err)
		}
		const head = "\n    <location path=\"Default Web Site\">\r\n        <system.webServer>"
		want := bytes.Replace(before, []byte(head), []byte(head+text), 1)
		if !bytewise {
			want, after = plainXML(t, want), plainXML(t, after)
		}
		if diff := cmp.Diff(string(want), string(after)); diff != "" {
			t.Errorf("%s: not as the agent would have written it:\n%s", s.Name, diff)
		}
	}
}

// plainXML is the elements of a file with their attributes, and nothing between them.
func plainXML(t *testing.T, content []byte) []byte {
	t.Helper()
	var plain bytes.Buffer
	for decoder := xml.NewDecoder(bytes.NewReader(content)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return plain.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			fmt.Fprintf(&plain, "<%s %q>\n", token.Name.Local, token.Attr)
		case xml.EndElement:
			fmt.Fprintf(&plain, "</%s>\n", token.Name.Local)
		}
	}
}

func TestTextOfThePlaybookIsThatOfTheAgent(t *testing.T) {
	a := ansibleOf(t, "none")
	rule, text, err := section(a.originals[0])
	if err != nil || rule != "EMS M1.1 PowerShell - inbound" || !strings.HasPrefix(text, "\r\n            <rewrite>\r\n") {
		t.Errorf("%q, %q, %v", rule, text, err)
	}
	inventory, err := os.ReadFile(filepath.Join(a.dir, "inventory.ini"))
	if err != nil || strings.Count(string(inventory), " config="+a.dir) != 2 {
		t.Errorf("%s, %v", inventory, err)
	}
}
