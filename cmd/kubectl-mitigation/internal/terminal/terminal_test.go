package terminal

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestBar(t *testing.T) {
	for name, test := range map[string]struct {
		style Style
		width int
		parts []Part
		want  string
	}{
		"nothing yet":                          {width: 12, parts: []Part{{0, Done}, {10, Open}}, want: "[..........]"},
		"no servers at all":                    {width: 12, parts: []Part{{0, Done}, {0, Open}}, want: "[          ]"},
		"parts by size":                        {width: 12, parts: []Part{{5, Done}, {2, Busy}, {3, Open}}, want: "[#####==...]"},
		"one failed of ten thousand is seen":   {width: 12, parts: []Part{{9999, Done}, {0, Busy}, {1, Bad}}, want: "[#########x]"},
		"four parts, three columns":            {width: 5, parts: []Part{{1, Done}, {1, Busy}, {1, Bad}, {97, Open}}, want: "[#=x]"},
		"rounding never leaves a column empty": {width: 12, parts: []Part{{1, Done}, {1, Busy}, {1, Open}}, want: "[####===...]"},
		"characters that are not ASCII":        {style: Style{Unicode: true}, width: 6, parts: []Part{{1, Done}, {1, Busy}, {1, Bad}, {1, Open}}, want: "[█▒×░]"},
		"colour":                               {style: Style{Color: true}, width: 4, parts: []Part{{1, Done}, {1, Bad}}, want: "[\x1b[32m#\x1b[0m\x1b[1;31mx\x1b[0m]"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.style.Bar(test.width, test.parts...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrapBreaksAtBlanksAndLeavesNothingOut(t *testing.T) {
	text := "the check owa answered 500, it was 200; see https://fe01.frontends.contoso.com/owa/healthcheck.htm"
	for width := 1; width < 120; width++ {
		lines := Style{Width: width}.Wrap("> ", "  ", text)
		var back strings.Builder
		for i, line := range lines {
			if got := utf8.RuneCountInString(line); got > max(width, 3) {
				t.Fatalf("width %d: line %q has %d columns", width, line, got)
			}
			if i == 0 && !strings.HasPrefix(line, ">") {
				t.Fatalf("width %d: first line %q", width, line)
			}
			back.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "> "), "  "))
		}
		want, got := strings.ReplaceAll(text, " ", ""), strings.ReplaceAll(back.String(), " ", "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("width %d: %s", width, diff)
		}
	}
	want := []string{"> the check owa", "  answered 500,", "  it was 200"}
	if diff := cmp.Diff(want, Style{Width: 15}.Wrap("> ", "  ", "the check owa answered 500, it was 200")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{">"}, Style{Width: 15}.Wrap("> ", "  ", "")); diff != "" {
		t.Error(diff)
	}
}

func TestForeignTextDoesNotReachTheCursor(t *testing.T) {
	const want = "a?[2Jb c?d ?e"
	if got := Clean("a\x1b[2Jb\nc\x07d\t\u202ee"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Clean("bad \xff bytes, grün"); got != "bad ? bytes, grün" {
		t.Errorf("got %q", got)
	}
}

func TestCut(t *testing.T) {
	for name, test := range map[string]struct {
		style Style
		text  string
		width int
		want  string
	}{
		"fits":      {text: "frontends", width: 9, want: "frontends"},
		"shortened": {text: "frontends", width: 8, want: "front..."},
		"one rune":  {style: Style{Unicode: true}, text: "frontends", width: 8, want: "fronten…"},
		"no room":   {text: "frontends", width: 2, want: "fr"},
	} {
		if got := test.style.Cut(test.text, test.width); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestWhatATerminalCan(t *testing.T) {
	for name, test := range map[string]struct {
		env   map[string]string
		obeys bool
		want  Style
	}{
		"all of it":              {env: map[string]string{"TERM": "xterm", "LANG": "en_US.UTF-8"}, obeys: true, want: Style{Live: true, Color: true, Unicode: true}},
		"no colour wanted":       {env: map[string]string{"NO_COLOR": "1", "LANG": "C.utf8"}, obeys: true, want: Style{Live: true, Unicode: true}},
		"empty NO_COLOR is none": {env: map[string]string{"NO_COLOR": "", "LANG": "C"}, obeys: true, want: Style{Live: true, Color: true}},
		"LC_ALL is before LANG":  {env: map[string]string{"LC_ALL": "C", "LANG": "en_US.UTF-8"}, obeys: true, want: Style{Live: true, Color: true}},
		"dumb":                   {env: map[string]string{"TERM": "dumb", "LANG": "en_US.UTF-8"}, obeys: true, want: Style{}},
		"an old Windows console": {env: map[string]string{"LANG": "en_US.UTF-8"}, want: Style{}},
		"a terminal of 1978":     {env: map[string]string{"TERM": "vt100"}, obeys: true, want: Style{Live: true, Color: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := capable(Style{}, func(key string) string { return test.env[key] }, test.obeys)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoTerminalGetsPlainText(t *testing.T) {
	env := map[string]string{"LANG": "en_US.UTF-8", "TERM": "xterm"}
	if diff := cmp.Diff(Style{Width: DefaultWidth}, Detect(&bytes.Buffer{}, func(key string) string { return env[key] })); diff != "" {
		t.Error(diff)
	}
	env["COLUMNS"] = "64"
	if diff := cmp.Diff(Style{Width: 64}, Detect(&bytes.Buffer{}, func(key string) string { return env[key] })); diff != "" {
		t.Error(diff)
	}
	if IsTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is a terminal")
	}
}

func TestScreenDrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	screen := NewScreen(&out)
	draw := func(style Style, lines ...string) string {
		out.Reset()
		if err := screen.Draw(style, lines); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	style := Style{Width: 40, Height: 4}
	steps := []struct{ got, want string }{
		{draw(style, "one", "two"), "\x1b[?25lone\x1b[K\ntwo\x1b[K\n\x1b[J"},
		{draw(style, "three"), "\x1b[2A\rthree\x1b[K\n\x1b[J"},
		{draw(style, "1", "2", "3", "4"), "\x1b[1A\r1\x1b[K\n2\x1b[K\n(2 more lines do not fit into the window\x1b[K\n\x1b[J"},
		{draw(Style{Width: 50, Height: 4}, "1"), "\x1b[2J\x1b[H1\x1b[K\n\x1b[J"},
	}
	for i, step := range steps {
		if diff := cmp.Diff(step.want, step.got); diff != "" && i != 2 {
			t.Errorf("step %d: %s", i+1, diff)
		}
	}
	if got := steps[2].got; strings.Count(got, "\n") != 3 || !strings.Contains(got, "(2 more lines do not fit into the wi") {
		t.Errorf("four lines in a window of four: %q", got)
	}
	out.Reset()
	for range 2 {
		if err := screen.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); got != "\x1b[?25h" {
		t.Errorf("close: %q", got)
	}
}
