package local

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/shadow"
)

func TestUnified(t *testing.T) {
	root := filepath.FromSlash("/drive")
	file := filepath.FromSlash("/drive/inetpub/web.config")
	for name, tc := range map[string]struct {
		change shadow.FileChange
		want   []string
	}{
		"line ends of Windows stay": {
			shadow.FileChange{Path: file, Before: []byte("a\r\nb\r\n"), After: []byte("a\r\nc\r\nb\r\n")},
			[]string{"--- a/inetpub/web.config", "+++ b/inetpub/web.config", "@@ -1,2 +1,3 @@", " a\r", "+c\r", " b\r", ""},
		},
		"a line end that comes or goes is a change": {
			shadow.FileChange{Path: file, Before: []byte("a\r\n"), After: []byte("a\n")},
			[]string{"--- a/inetpub/web.config", "+++ b/inetpub/web.config", "@@ -1 +1 @@", "-a\r", "+a", ""},
		},
		"a last line without an end is marked": {
			shadow.FileChange{Path: file, Before: []byte("a\nb"), After: []byte("a\nc\nb")},
			[]string{"--- a/inetpub/web.config", "+++ b/inetpub/web.config", "@@ -1,2 +1,3 @@", " a", "+c", " b", `\ No newline at end of file`, ""},
		},
		"a new file": {
			shadow.FileChange{Path: file, After: []byte("a\n")},
			[]string{"--- /dev/null", "+++ b/inetpub/web.config", "@@ -0,0 +1 @@", "+a", ""},
		},
		"a file that goes": {
			shadow.FileChange{Path: file, Before: []byte("a\n")},
			[]string{"--- a/inetpub/web.config", "+++ /dev/null", "@@ -1 +0,0 @@", "-a", ""},
		},
		"a file of another drive": {
			shadow.FileChange{Path: filepath.FromSlash("/other/web.config"), Before: []byte("a\n"), After: []byte("b\n")},
			[]string{"--- a/other/web.config", "+++ b/other/web.config", "@@ -1 +1 @@", "-a", "+b", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := unified(root, tc.change)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, strings.Split(got, "\n")); diff != "" {
				t.Errorf("diff (-want +got):\n%s", diff)
			}
		})
	}
}

// BenchmarkUnified is one rule in the configuration of a server with 2,000 sites, 10 MB.
func BenchmarkUnified(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "    <location path=\"Site %d\">\r\n%s    </location>\r\n", i, strings.Repeat("        <add name=\"some setting\" value=\"of some length\" />\r\n", 85))
	}
	before := text.String()
	half := strings.Index(before, "    <location path=\"Site 1000\">")
	change := shadow.FileChange{Path: "x", Before: []byte(before), After: []byte(before[:half] + "        <rule />\r\n" + before[half:])}
	b.SetBytes(int64(len(before)))
	for b.Loop() {
		if diff, err := unified("/", change); err != nil || strings.Count(diff, "\n+") != 2 {
			b.Fatalf("error %v, diff:\n%s", err, diff)
		}
	}
}

func TestWriteText(t *testing.T) {
	for name, tc := range map[string]struct {
		report    Report
		want      string
		wantNotes string
	}{
		"a change": {
			report: Report{
				Command: CommandApply, Result: Changed, Document: &Document{File: "m.xml", Feed: "contoso", Sequence: 7}, Server: &Server{Root: `C:\`, RewriteModule: "Present"},
				Mitigations: []Mitigation{
					{ID: "M1", State: "Applied", Reason: "Enabled", Revision: 2, Effective: "True", Changed: true, LookAlikes: []string{`"EEMS M1" in x, line 3`},
						Actions: []Action{{ID: "M1.1", Type: "UrlRewrite", Target: "Default Web Site"}, {ID: "M1.2", Type: "DoNothing"}}},
					{ID: "M2", State: "NotApplicable", Reason: "FixedByUpdate", Message: "build 15.2.1 has the fix"},
				},
				Files: []File{{Path: "x.config", Change: "Modified"}}, Switches: []Switch{{"Pool", "P", "Stopped"}, {"Service", "S", "Disabled"}, {"Service", "S", "Automatic"}},
				Warnings: []string{"the root ends soon"},
			},
			want: `Document  m.xml: signature verified; feed contoso, sequence 7
Server    C:\: product not known, which speaks for mitigations; URL Rewrite present

ID  STATE          REASON         REVISION  EFFECTIVE  CHANGED  ACTIONS
M1  Applied        Enabled        2         True       yes      UrlRewrite Default Web Site; DoNothing
M2  NotApplicable  FixedByUpdate  -         -          no       -

M1: somebody else's rule does the same and was left alone: "EEMS M1" in x, line 3
M2: build 15.2.1 has the fix

Changed:
  x.config modified
  application pool "P" stopped
  service "S" disabled
  service "S" start type Automatic

Done: 1 in place, 1 not needed here.
`,
			wantNotes: "Warning: the root ends soon\n",
		},
		"a look": {
			report: Report{Command: CommandRevert, DryRun: true, Result: Changed, Mitigations: []Mitigation{{ID: "M1", State: "Removed", Reason: "Reverted", Changed: true}}},
			want: `
ID  STATE    REASON    REVISION  EFFECTIVE  CHANGED  ACTIONS
M1  Removed  Reverted  -         -          would    -

Would be done: 1 removed.
`,
		},
		"a failure": {
			report: Report{Command: CommandStatus, Result: Failed, Mitigations: []Mitigation{{ID: "M1", State: "Missing", Reason: "OldRevision", Revision: 1}}},
			want: `
ID  STATE    REASON       REVISION  EFFECTIVE  LAST CHANGE  ACTIONS
M1  Missing  OldRevision  1         -          -            -

NOT AS IT SHOULD BE: 1 missing.
`,
		},
		"a refusal": {
			report:    Report{Command: CommandApply, Result: Refused, Problem: &Problem{Reason: "Untrusted", Message: "not signed"}},
			wantNotes: "Refused: Untrusted: not signed\n",
		},
		"a diff is nothing but a diff": {
			report: Report{Command: CommandDiff, Result: Failed, Mitigations: []Mitigation{
				{ID: "M1", State: "Failed", Reason: "SiteNotFound", Message: "no site"}, {ID: "M2", State: "Applied", Reason: "Enabled", Effective: "True"},
				{ID: "M3", State: "Applied", Reason: "Cleared", Message: "in web.config", Effective: "False"},
			},
				Files: []File{{Path: "x", Diff: "--- a/x\n"}}, Switches: []Switch{{"Pool", "P", "Stopped"}}},
			want:      "# application pool \"P\" stopped\n--- a/x\n",
			wantNotes: "M1: SiteNotFound: no site\nM3: Cleared: in web.config\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var text, notes strings.Builder
			if err := tc.report.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if err := tc.report.WriteNotes(&notes); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, text.String()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantNotes, notes.String()); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}
