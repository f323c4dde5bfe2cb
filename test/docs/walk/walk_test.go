package walk

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fence = "```"

func TestParse(t *testing.T) {
	text := strings.Join([]string{
		"<!-- docs:scenario fleet -->", "<!-- docs:tested-by a_test.go sh -->", "# Title", "",
		"<!-- docs:before", "echo hidden", "-->", "<!-- docs:exit 3 -->",
		fence + "console", "$ one \\", "    --more", "printed", "", "more", "$ two", fence, "",
		fence + "yaml", "$ not: a command", fence,
		"<!-- docs:background Ready -->", fence + "sh", "cat <<'EOF'", "$ x", "EOF", fence, "",
	}, "\n")
	got, err := Parse("page.md", text)
	if err != nil {
		t.Fatal(err)
	}
	want := &Page{
		Path: "page.md", Scenario: "fleet", TestedBy: map[string][]string{"sh": {"a_test.go"}},
		Blocks: []Block{
			{Line: 5, Language: Hidden, Commands: []Command{{Line: 5, Text: "echo hidden"}}},
			{Line: 9, Language: "console", Exit: 3, Commands: []Command{
				{Line: 10, Text: "one \\\n    --more", Output: "printed\n\nmore\n"}, {Line: 15, Text: "two"},
			}},
			{Line: 22, Language: "sh", Until: "Ready", Commands: []Command{{Line: 23, Text: "cat <<'EOF'\n$ x\nEOF"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page differs (-want +got):\n%s", diff)
	}
}

func TestPagesThatCannotBeRead(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a block without an end":      {"\n" + fence + "sh\nx", "page.md:2: the block has no end"},
		"a comment without an end":    {"<!-- docs:before\nx", "page.md:1: the comment has no end"},
		"a directive nobody knows":    {"<!-- docs:sometimes -->", `page.md:1: directive "sometimes": not known`},
		"an exit code that is a word": {"<!-- docs:exit three -->", `page.md:1: exit "three": not a number`},
		"a comment about nothing":     {"<!-- docs:columns -->\n", "page.md: the last comment speaks of a block, and none follows"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("page.md", tc.text)
			if err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestNormalise(t *testing.T) {
	for name, tc := range map[string]struct {
		one, other string
		same       bool
	}{
		"ages":                  {"m1   Ready   3s", "m1   Ready   2m14s", true},
		"times":                 {"until 2026-05-17 16:00:00Z", "until 2027-01-01 00:00:01Z", true},
		"hashes":                {"contoso-3f1c0de52b7a", "contoso-aaaaaaaaaaaa", true},
		"ports":                 {"https://127.0.0.1:20001/x", "https://127.0.0.1:31999/x", true},
		"widths of columns":     {"NAME   A", "NAME      A  ", true},
		"names stay":            {"fe01", "fe02", false},
		"counts stay":           {"3/3", "2/3", false},
		"revisions stay":        {"revision 3", "revision 4", false},
		"builds stay":           {"15.2.1118.9", "15.2.1118.10", false},
		"words that look alike": {"decade", "facade", false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := Normalise(tc.one) == Normalise(tc.other); same != tc.same {
				t.Errorf("%q and %q are the same: %t, want %t", tc.one, tc.other, same, tc.same)
			}
		})
	}
}

func TestShell(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), os.Environ())
	if err != nil {
		t.Skipf("bash cannot be started: %v", err)
	}
	for _, step := range []struct {
		command, want string
		exit          int
	}{
		{"export WORD=kept", "", 0},
		{"printf \"$WORD\"", "kept", 0},
		{"echo out; echo err >&2; false", "out\nerr\n", 1},
		{"cat", "", 0},
		{"cat <<'EOF'\nhere\nEOF", "here\n", 0},
	} {
		output, exit, err := s.Run(t.Context(), step.command, time.Minute)
		if err != nil || output != step.want || exit != step.exit {
			t.Errorf("%s: %q, exit %d, %v; want %q, exit %d", step.command, output, exit, err, step.want, step.exit)
		}
	}
	// As make does: a child of a child, which lives on when its parents alone are killed.
	grandchild := filepath.Join(t.TempDir(), "pid")
	command := "bash -c 'bash -c \"echo \\$\\$ > " + grandchild + "; echo Ready; while true; do sleep 0.1; done\"; true'"
	if output, err := s.Background(t.Context(), command, "Ready", time.Minute); err != nil || output != "Ready\n" {
		t.Errorf("background: %q, %v", output, err)
	}
	if _, err := s.Background(t.Context(), "echo gone", "Ready", time.Minute); err == nil {
		t.Error("a program that ended without a word counts as ready")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	pid, err := os.ReadFile(grandchild)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && !gone(strings.TrimSpace(string(pid))) {
		t.Errorf("process %s is left behind", pid)
	}
}

// gone waits a little until a process has ended. One that nobody has asked for its exit code yet has.
func gone(pid string) bool {
	for range 50 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}
