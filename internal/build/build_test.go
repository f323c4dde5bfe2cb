package build_test

import (
	"encoding/json"
	"errors"
	"testing"

	"mitigation.dev/ems/internal/build"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		text      string
		want      string
		wantError bool
	}{
		"plain number":                         {text: "15.2.2562.43", want: "15.2.2562.43"},
		"leading zeros are dropped":            {text: "15.02.0986.036", want: "15.2.986.36"},
		"parts of ten digits do not overflow":  {text: "9999999999.9999999999.9999999999.9999999999", want: "9999999999.9999999999.9999999999.9999999999"},
		"zero is a number":                     {text: "0.0.0.0", want: "0.0.0.0"},
		"empty text is refused":                {text: "", wantError: true},
		"three parts are refused":              {text: "15.2.2562", wantError: true},
		"five parts are refused":               {text: "15.2.2562.43.1", wantError: true},
		"an empty part is refused":             {text: "15..2562.43", wantError: true},
		"a part of eleven digits is refused":   {text: "15.2.2562.00000000043", wantError: true},
		"a sign is refused":                    {text: "15.2.2562.+43", wantError: true},
		"white space is refused":               {text: " 15.2.2562.43", wantError: true},
		"letters are refused":                  {text: "15.2.2562.x", wantError: true},
		"digits of other scripts are refused":  {text: "15.2.2562.٤٣", wantError: true},
		"a very long text is refused and kept": {text: "1111111111.1111111111.1111111111.1111111111.1111111111", wantError: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := build.Parse(tc.text)
			if tc.wantError {
				if !errors.Is(err, build.ErrInvalid) {
					t.Fatalf("Parse(%q) = %v, %v; want an error that wraps ErrInvalid", tc.text, got, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Parse(%q): %v", tc.text, err)
			}
			if got.String() != tc.want {
				t.Errorf("Parse(%q) = %s, want %s", tc.text, got, tc.want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	cases := map[string]struct {
		a, b string
		want int
	}{
		"equal builds, one with leading zeros":     {a: "15.02.0986.036", b: "15.2.986.36", want: 0},
		"parts compare as numbers, not as text":    {a: "15.2.986.36", b: "15.2.1118.20", want: -1},
		"an early part outweighs a later one":      {a: "15.2.0.0", b: "15.1.9999999999.9999999999", want: 1},
		"the last part decides in the same branch": {a: "15.2.2562.45", b: "15.2.2562.43", want: 1},
		"parts above 32 bits compare correctly":    {a: "1.1.1.4294967296", b: "1.1.1.1", want: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, b := mustParse(t, tc.a), mustParse(t, tc.b)
			if got := a.Compare(b); got != tc.want {
				t.Errorf("%s compared with %s = %d, want %d", a, b, got, tc.want)
			}
			if got := b.Compare(a); got != -tc.want {
				t.Errorf("%s compared with %s = %d, want %d", b, a, got, -tc.want)
			}
		})
	}
}

func TestBranchIsTheFirstThreeParts(t *testing.T) {
	if got, want := mustParse(t, "15.02.0986.036").Branch(), "15.2.986"; got != want {
		t.Errorf("Branch() = %q, want %q", got, want)
	}
}

func TestTextRoundTrip(t *testing.T) {
	type facts struct {
		Build, Fixed build.Number
	}
	in := facts{Build: mustParse(t, "15.2.2562.43")}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(text), `{"Build":"15.2.2562.43","Fixed":""}`; got != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
	var out facts
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if out != in {
		t.Errorf("read back %v, want %v", out, in)
	}
	if err := out.Build.UnmarshalText([]byte("15.2")); !errors.Is(err, build.ErrInvalid) {
		t.Errorf("UnmarshalText of a short number: error %v, want one that wraps ErrInvalid", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"15.2.2562.43", "15.02.0986.036", "0.0.0.0", "1.2.3", "", "9999999999.1.1.1", "1.1.1.-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := build.Parse(text)
		if err != nil {
			return
		}
		again, err := build.Parse(n.String())
		if err != nil || again != n || n.Compare(again) != 0 {
			t.Fatalf("Parse(%q) = %v, read back %v, %v", text, n, again, err)
		}
	})
}

func mustParse(t *testing.T, text string) build.Number {
	t.Helper()
	n, err := build.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
