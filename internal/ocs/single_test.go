package ocs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/ocs"
)

const alone = `<?xml version="1.0" encoding="utf-8"?>
<!-- Who reviewed it. -->
<Config id="M1" revision="2" desc="d">
  <SideEffects>
    <SideEffect>Printing stops.</SideEffect>
  </SideEffects>
  <ActionList>
    <Action type="UrlRewrite" scope="Site" desc="a">
      <Value>
        <rewrite><!-- as it is --><rules><rule name="r"><match url="x"/><action type="AbortRequest"/></rule></rules></rewrite>
      </Value>
    </Action>
    <Action type="DoNothing" scope="Server" desc="b"><Value>DoNothing</Value></Action>
  </ActionList>
</Config>
`

// TestConfigAloneIsReadAsInADocument compares with what Parse makes of the same element.
func TestConfigAloneIsReadAsInADocument(t *testing.T) {
	got, err := ocs.ParseConfig([]byte(alone))
	if err != nil {
		t.Fatal(err)
	}
	_, element, _ := strings.Cut(alone, "-->\n")
	document, err := ocs.Parse([]byte(`<EOCS version="1.1">` + element + `</EOCS>`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document.Configs, []ocs.Config{got}); diff != "" {
		t.Error(diff)
	}
	if want := `<rewrite><!-- as it is --><rules><rule name="r"><match url="x"/><action type="AbortRequest"/></rule></rules></rewrite>`; string(got.Actions[0].Rewrite) != want {
		t.Errorf("rewrite = %q, want %q", got.Actions[0].Rewrite, want)
	}
}

func TestErrorsOfAConfigAloneNameTheLine(t *testing.T) {
	change := func(old, replacement string) string { return strings.Replace(alone, old, replacement, 1) }
	for name, tc := range map[string]struct {
		content  string
		wantLine int
		want     string
		wantKind error
	}{
		"not closed":                 {change("</Config>", ""), 16, "is not closed", ocs.ErrMalformed},
		"a document type":            {change("<Config", "<!DOCTYPE x>\n<Config"), 3, "a document type declaration is not allowed", ocs.ErrMalformed},
		"nested too deep":            {strings.Repeat("<Config>", 30), 1, "nested deeper", ocs.ErrLimitExceeded},
		"a whole document":           {`<EOCS version="1.1"/>`, 1, `root element "EOCS"`, ocs.ErrInvalid},
		"no id":                      {change(` id="M1"`, ""), 3, "has no id", ocs.ErrInvalid},
		"an unknown attribute":       {change(`revision`, "version"), 3, `unknown attribute "version"`, ocs.ErrInvalid},
		"an empty side effect":       {change("Printing stops.", ""), 5, "SideEffect 1: no text", ocs.ErrInvalid},
		"an action of no known type": {change(`type="DoNothing"`, `type="DoSomething"`), 13, "Action 2: type", ocs.ErrInvalid},
		"an action with no value":    {change("<Value>DoNothing</Value>", ""), 13, "no Value", ocs.ErrInvalid},
		"another value":              {change(">DoNothing</Value>", ">Stopped</Value>"), 13, `"Stopped"`, ocs.ErrInvalid},
		"a rule that IIS refuses":    {change(`name="r"`, `nome="r"`), 10, `unknown attribute "nome"`, ocs.ErrInvalid},
		"no rules at all":            {change(`<rewrite><!-- as it is --><rules><rule name="r"><match url="x"/><action type="AbortRequest"/></rule></rules></rewrite>`, ""), 9, "no <rewrite> element", ocs.ErrInvalid},
		"an action id twice": {
			change(`<Action type="UrlRewrite"`, `<Action id="M1.2" type="UrlRewrite"`), 3, `the id "M1.2"`, ocs.ErrInvalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ocs.ParseConfig([]byte(tc.content))
			got, ok := errors.AsType[*ocs.ConfigError](err)
			if !ok {
				t.Fatalf("error = %v, want a ConfigError", err)
			}
			if got.Line != tc.wantLine || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, tc.wantKind) {
				t.Errorf("line %d: %v (%v), want line %d, %q and %v", got.Line, err, errors.Unwrap(err), tc.wantLine, tc.want, tc.wantKind)
			}
		})
	}
}
