package samples

import (
	"errors"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

const (
	ours     = `<rule name="EMS M1.1 block" stopProcessing="true"><match url="powershell" /><action type="AbortRequest" /></rule>`
	second   = `<rule name="EMS M1.1 second" stopProcessing="true"><match url="autodiscover" /><action type="AbortRequest" /></rule>`
	greedy   = `<rule name="EMS M1.1 block" stopProcessing="true"><match url=".*" /><action type="AbortRequest" /></rule>`
	bypass   = `<rule name="open" stopProcessing="true"><match url=".*" /><action type="None" /></rule>`
	deny     = `<rule name="deny" stopProcessing="true"><match url=".*" /><action type="CustomResponse" statusCode="403" subStatusCode="0" statusReason="a" statusDescription="b" /></rule>`
	failing  = `<rule name="broken" stopProcessing="true"><match url="(" /><action type="None" /></rule>`
	fileRule = `<rule name="EMS M1.1 block" stopProcessing="true"><match url="powershell" /><conditions><add input="{REQUEST_FILENAME}" matchType="IsFile" /></conditions><action type="AbortRequest" /></rule>`
)

func site(t *testing.T, rules string) *rewrite.Site {
	t.Helper()
	config, err := rewrite.Parse([]byte("<rewrite><rules>" + rules + "</rules></rewrite>"))
	if err != nil {
		t.Fatal(err)
	}
	return rewrite.NewSite(rewrite.Options{}, rewrite.Level{Name: "web.config", Path: "/", Config: config})
}

func TestSamples(t *testing.T) {
	block := Sample{Number: 1, Expect: Blocked, URL: "/powershell"}
	pass := Sample{Number: 2, Expect: Passed, Method: "POST", URL: "/owa/auth.owa"}
	pool := Sample{Number: 1, Expect: Passed, Pool: true, URL: "/health"}
	tests := map[string]struct {
		before, after string
		second        string // rules of another site
		rules         []string
		samples       []Sample
		switchesOff   bool
		err           error
		check         bool
		wantBlock     string // in NotBlocked
		wantPass      string // in NotPassed
		wantUndecided string
		wantUnsure    string
		wantProven    bool
	}{
		"both samples come out well":                        {after: ours, samples: []Sample{block, pass}, wantProven: true},
		"nothing blocks what must be blocked":               {after: second, samples: []Sample{block}, wantBlock: `sample 1 (GET "/powershell") on site "Default Web Site": expected Blocked, got Passed, which no rule changes`},
		"a rule in front lets it pass":                      {before: bypass, after: bypass + ours, samples: []Sample{block}, wantBlock: `got Passed by rule "open" of web.config`},
		"somebody else blocks it already":                   {before: deny, after: deny + ours, samples: []Sample{block}},
		"what must pass is blocked":                         {after: greedy, samples: []Sample{block, pass}, wantPass: `sample 2 (POST "/owa/auth.owa") on site "Default Web Site": expected Passed, got Aborted by rule "EMS M1.1 block" of web.config`, wantProven: true},
		"what the pool needs is blocked":                    {after: greedy, samples: []Sample{pool}, wantPass: `the pool's mustPass request 1 (GET "/health")`},
		"what must pass was blocked before":                 {before: deny, after: greedy + deny, samples: []Sample{pass}},
		"what must pass is blocked, in place":               {after: greedy, samples: []Sample{pass}, check: true, wantPass: "sample 2"},
		"what must pass is blocked by others, in place":     {after: ours + deny, samples: []Sample{pass}, check: true},
		"what must be blocked passes, in place":             {after: bypass + ours, samples: []Sample{block}, check: true, wantBlock: "sample 1"},
		"a rule fails that failed before":                   {before: failing, after: failing + ours, samples: []Sample{block, pass}, wantUndecided: "without the mitigation as well"},
		"the mitigation makes requests fail":                {after: failing, samples: []Sample{pass}, wantPass: "got Error 500.50"},
		"it depends on files of the site":                   {after: fileRule, samples: []Sample{block}, wantUndecided: "sample 1"},
		"the site cannot be evaluated":                      {err: errors.New("a share"), samples: []Sample{block, pass}, wantUndecided: "a share", wantUnsure: "a share"},
		"the mitigation stops a pool as well":               {after: second, samples: []Sample{block}, switchesOff: true},
		"whether it must pass depends on files of the site": {after: fileRule, samples: []Sample{{Number: 2, Expect: Passed, URL: "/powershell"}}, wantUnsure: "sample 2"},
		"one of its rules has no sample":                    {after: ours + second, rules: []string{"EMS M1.1 block", "EMS M1.1 second"}, samples: []Sample{block}},
		"one of two sites is enough":                        {after: second, second: ours, samples: []Sample{block}},
		"one of two sites is not enough for what must go":   {after: second, second: greedy, samples: []Sample{pass}, wantPass: `on site "Other"`},
		"no samples prove nothing":                          {after: ours},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rules := tc.rules
			if rules == nil {
				rules = []string{"ems m1.1 block"}
			}
			one := Site{Name: "Default Web Site", Err: tc.err}
			if tc.err == nil {
				one.After = site(t, tc.after)
			}
			judged := Check
			if !tc.check {
				judged = Gate
				one.Before = site(t, tc.before)
			}
			sites := []Site{one}
			if tc.second != "" {
				sites = append(sites, Site{Name: "Other", Before: site(t, ""), After: site(t, tc.second)})
			}
			got := judged(sites, Subject{Samples: tc.samples, Rules: rules, SwitchesOff: tc.switchesOff})
			for what, pair := range map[string]struct {
				got  []string
				want string
			}{"NotBlocked": {got.NotBlocked, tc.wantBlock}, "NotPassed": {got.NotPassed, tc.wantPass}, "Undecided": {got.Undecided, tc.wantUndecided}, "Unsure": {got.Unsure, tc.wantUnsure}} {
				if text := strings.Join(pair.got, "\n"); (text == "") != (pair.want == "") || !strings.Contains(text, pair.want) {
					t.Errorf("%s = %q, want %q", what, text, pair.want)
				}
			}
			if got.Proven != tc.wantProven {
				t.Errorf("Proven = %v, want %v", got.Proven, tc.wantProven)
			}
			if want := len(got.NotBlocked) + len(got.NotPassed); len(got.Failures()) != want {
				t.Errorf("Failures() = %q, want %d of them", got.Failures(), want)
			}
		})
	}
}

func TestHostAndHeadersGoWithTheRequest(t *testing.T) {
	rule := `<rule name="EMS M1.1 block" stopProcessing="true"><match url=".*" /><conditions><add input="{HTTP_HOST}" pattern="^mail\.contoso\.com$" />` +
		`<add input="{HTTP_X_PROBE}" pattern="yes" /></conditions><action type="AbortRequest" /></rule>`
	sample := Sample{Number: 1, Expect: Blocked, URL: "/", Host: "mail.contoso.com", Headers: []Header{{Name: "X-Probe", Value: "yes"}}}
	sites := []Site{{Name: "a", Before: site(t, ""), After: site(t, rule)}}
	if got := Gate(sites, Subject{Samples: []Sample{sample}}); len(got.NotBlocked) != 0 {
		t.Errorf("NotBlocked = %q", got.NotBlocked)
	}
	sample.Headers = nil
	if got := Gate(sites, Subject{Samples: []Sample{sample}}); len(got.NotBlocked) != 1 {
		t.Errorf("NotBlocked = %q, want one without the header", got.NotBlocked)
	}
}
