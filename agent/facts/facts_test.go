package facts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
)

func number(t *testing.T, text string) build.Number {
	t.Helper()
	n, err := build.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "facts.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: "+APIVersion+"\nproduct: ExchangeServer\nrole: Mailbox\nbuild: 15.2.2562.43\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setup := func() (Facts, error) { return fromSetup([4]uint64{15, 2, 2562, 17}), nil }
	for name, tc := range map[string]struct {
		sources     Sources
		want        policy.Facts
		wantProblem string
	}{
		"without sources nothing is known": {},
		"what was said is taken": {
			sources: Sources{Said: Facts{Product: "IIS", Role: "Web", Build: "10.0.20348.1"}},
			want:    policy.Facts{Product: "IIS", Role: "Web", Build: number(t, "10.0.20348.1")},
		},
		"the registry fills what nobody said": {
			sources: Sources{Said: Facts{Role: "Edge"}, Registry: setup},
			want:    policy.Facts{Product: "ExchangeServer", Role: "Edge", Build: number(t, "15.2.2562.17")},
		},
		"the file goes before the registry": {
			sources: Sources{File: file, Registry: setup},
			want:    policy.Facts{Product: "ExchangeServer", Role: "Mailbox", Build: number(t, "15.2.2562.43")},
		},
		"the build of another product is not taken": {
			sources: Sources{Said: Facts{Product: "IIS"}, Registry: setup},
			want:    policy.Facts{Product: "IIS"},
		},
		"a wrong build is left out and named": {
			sources: Sources{Said: Facts{Product: "IIS", Build: "15.2"}},
			want:    policy.Facts{Product: "IIS"}, wantProblem: `"15.2"`,
		},
		"an unknown product is left out and named": {
			sources: Sources{Said: Facts{Product: "Exchange"}}, wantProblem: "want one of ExchangeServer",
		},
		"a missing file does not hide what was said": {
			sources: Sources{Said: Facts{Product: "IIS"}, File: file + ".none"},
			want:    policy.Facts{Product: "IIS"}, wantProblem: "facts.yaml.none",
		},
		"a registry that cannot be read does not hide what was said": {
			sources: Sources{Said: Facts{Product: "IIS"}, Registry: func() (Facts, error) { return Facts{}, errors.New("access denied") }},
			want:    policy.Facts{Product: "IIS"}, wantProblem: "access denied",
		},
		"a role beyond the limit is left out and named": {
			sources: Sources{Said: Facts{Role: strings.Repeat("x", 65)}}, wantProblem: "65 characters",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(tc.sources)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("facts differ (-want +got):\n%s", diff)
			}
			if (err == nil) != (tc.wantProblem == "") || err != nil && !strings.Contains(err.Error(), tc.wantProblem) {
				t.Errorf("error = %v, want it to contain %q", err, tc.wantProblem)
			}
		})
	}
}

func TestParseFileRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"a file without a version":     {file: "product: IIS\n", want: "apiVersion"},
		"a file of another version":    {file: "apiVersion: ems.mitigation.dev/facts/v9\n", want: `want "ems.mitigation.dev/facts/v1"`},
		"a field that nobody knows":    {file: "apiVersion: " + APIVersion + "\nprodukt: IIS\n", want: "produkt"},
		"something that is not a map":  {file: "- a\n", want: "YAML"},
		"a field that is given twice":  {file: "apiVersion: " + APIVersion + "\nrole: a\nrole: b\n", want: "role"},
		"a number instead of a string": {file: "apiVersion: " + APIVersion + "\nbuild: 15.2\n", want: "build"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseFile([]byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseFile() = %v, want an error that contains %q", err, tc.want)
			}
		})
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("apiVersion: " + APIVersion + "\nproduct: ExchangeServer\nbuild: 15.2.2562.43\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("apiVersion: " + APIVersion + "\nrole: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		said, err := ParseFile(data)
		if err != nil {
			return
		}
		got, err := Parse(said)
		if err == nil && !got.Build.IsZero() && said.Build == "" {
			t.Errorf("a build %v out of nothing", got.Build)
		}
	})
}
