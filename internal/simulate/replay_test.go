package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

const logHead = "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time cs-method cs-uri-stem cs-uri-query s-port cs-host sc-status\n"

func compose(t testing.TB, rules string) *rewrite.Site {
	t.Helper()
	site, err := Rules{Fragment: file(rules)}.Compose(rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func TestReplayCounts(t *testing.T) {
	site := compose(t, inRules(rule("abort", "^a", abort)+rule("forbid", "^f", forbid)+rule("send", "^s(.*)", `<action type="Redirect" url="/t{R:1}"/>`)+
		rule("fails", "^e", `<serverVariables><set name="NOT_ALLOWED" value="1"/></serverVariables><action type="None"/>`)+
		`<rule name="open"><match url="^u"/><conditions><add input="{REMOTE_PORT}" pattern="^1"/></conditions>`+abort+`</rule>`+
		`<rule name="cookie"><match url="^c"/><conditions><add input="{HTTP_COOKIE}" pattern="evil"/></conditions>`+abort+`</rule>`))
	log := logHead +
		"2026-05-14 08:00:02 GET /a1 x=1 443 h 200\n" +
		"2026-05-14 08:00:01 GET /a2 - 443 h 404\n" +
		"2026-05-14 08:00:03 PUT /a3 - 443 h 302\n" +
		"2026-05-14 08:00:04 GET /f - 80 h 200\n" +
		"2026-05-14 08:00:05 GET /s1 - 80 h 200\n" +
		"2026-05-14 08:00:06 GET /e - 80 h 200\n" +
		"2026-05-14 08:00:07 GET /u - 80 h 200\n" +
		"nonsense\n" +
		"2026-05-14 08:00:08 GET /../x - 80 h 200\n" +
		"2026-05-14 08:00:09 GET /c - 80 h 200\n"
	var read int64
	got, err := Replay(t.Context(), site, strings.NewReader(log), ReplayOptions{Examples: 2, Headers: http.Header{"Cookie": {"evil"}}, Trace: true, Progress: func(n int64) { read = n }})
	if err != nil {
		t.Fatal(err)
	}
	if read != int64(len(log)) {
		t.Errorf("progress ended at %d of %d", read, len(log))
	}
	at := func(second int) *time.Time {
		when := time.Date(2026, 5, 14, 8, 0, second, 0, time.UTC)
		return &when
	}
	for i := range got.Rules {
		for k := range got.Rules[i].Examples {
			e := &got.Rules[i].Examples[k]
			if len(e.Rules) == 0 || !strings.Contains(e.Text, "rule ") {
				t.Errorf("example %+v does not tell how", e)
			}
			e.Rules, e.Text = nil, ""
		}
	}
	problems := got.Problems
	got.Problems = nil
	want := Summary{
		Requests: 9, From: at(1), To: at(9), Unknown: 1, NotEvaluated: 1, Unreadable: 1,
		Outcomes: map[rewrite.Outcome]int{rewrite.Aborted: 4, rewrite.Responded: 1, rewrite.Redirected: 1, rewrite.Error: 1, rewrite.Passed: 1},
		Rules: []RuleCount{
			{Rule: "abort", Level: "f", Outcome: rewrite.Aborted, Count: 3, Served: 2, Examples: []Example{
				{Line: 3, Time: at(2), Request: "GET /a1?x=1", LoggedStatus: 200}, {Line: 4, Time: at(1), Request: "GET /a2", LoggedStatus: 404},
			}},
			{Rule: "cookie", Level: "f", Outcome: rewrite.Aborted, Count: 1, Served: 1, Examples: []Example{{Line: 12, Time: at(9), Request: "GET /c", LoggedStatus: 200}}},
			{Rule: "fails", Level: "f", Outcome: rewrite.Error, Status: 500, SubStatus: 50, Count: 1, Served: 1, Examples: []Example{{Line: 8, Time: at(6), Request: "GET /e", LoggedStatus: 200}}},
			{Rule: "forbid", Level: "f", Outcome: rewrite.Responded, Status: 403, Count: 1, Served: 1, Examples: []Example{{Line: 6, Time: at(4), Request: "GET /f", LoggedStatus: 200}}},
			{Rule: "send", Level: "f", Outcome: rewrite.Redirected, Status: 301, Count: 1, Served: 1, Examples: []Example{{Line: 7, Time: at(5), Request: "GET /s1", LoggedStatus: 200, URL: "http://h/t1"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(problems) != 2 || problems[0].Line != 0 || !strings.Contains(problems[0].Problem, "line 10") || problems[1].Request != "GET /../x" || problems[1].Problem == "" {
		t.Errorf("problems %+v", problems)
	}
}

// TestReplayDoesNotDependOnProcessors: the counts and the examples are the same, however the work is dealt out.
func TestReplayDoesNotDependOnProcessors(t *testing.T) {
	site := compose(t, inRules(rule("abort", "^a", abort)+rule("forbid", "7$", forbid)))
	log := []byte(logHead)
	for i := range 5 * batchSize {
		log = fmt.Appendf(log, "2026-05-14 08:00:00 GET /%c%d - 443 h 200\n", "abc"[i%3], i)
	}
	replay := func(processors int) Summary {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		got, err := Replay(t.Context(), site, bytes.NewReader(log), ReplayOptions{Examples: 3})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	alone := replay(1)
	if alone.Requests != 5*batchSize || len(alone.Rules) != 2 || alone.Rules[0].Examples[2].Line != 9 {
		t.Errorf("summary %+v", alone)
	}
	for range 5 {
		if diff := cmp.Diff(alone, replay(7)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestReplayEnds(t *testing.T) {
	site := compose(t, inRules(""))
	broken := errors.New("the disk is broken")
	got, err := Replay(t.Context(), site, io.MultiReader(strings.NewReader("GET /a\nGET /b\n"), iotest.ErrReader(broken)), ReplayOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("error = %v, %+v", err, got)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Replay(cancelled, site, strings.NewReader("GET /a\n"), ReplayOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	got, err = Replay(t.Context(), site, strings.NewReader(""), ReplayOptions{})
	if diff := cmp.Diff(Summary{Outcomes: map[rewrite.Outcome]int{}, Rules: []RuleCount{}}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestReplayIsInterrupted: also while it waits for somebody to type a request.
func TestReplayIsInterrupted(t *testing.T) {
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		// The second one is taken when the first was read: then the reader waits for more.
		_, _ = io.WriteString(out, "GET /a\n")
		_, _ = io.WriteString(out, "GET /b\n")
		cancel()
	}()
	site := compose(t, inRules(rule("r", "^a", abort)))
	if summary, err := Replay(ctx, site, in, ReplayOptions{}); !errors.Is(err, context.Canceled) || summary.Requests != 0 {
		t.Errorf("%+v, %v", summary, err)
	}
}

// BenchmarkReplay is the time for a log of a million lines, of which one in 5,000 is an attack.
func BenchmarkReplay(b *testing.B) {
	site := compose(b, inRules(`<rule name="PowerShell - inbound" stopProcessing="true"><match url=".*"/><conditions>`+
		`<add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions><action type="AbortRequest"/></rule>`))
	targets := []string{
		"/owa/ -", "/owa/auth/logon.aspx url=https%3a%2f%2fmail.contoso.com%2fowa%2f&reason=0", "/Autodiscover/Autodiscover.xml -",
		"/EWS/Exchange.asmx -", "/mapi/emsmdb/ MailboxId=1234@contoso.com", "/Microsoft-Server-ActiveSync/default.eas User=a&DeviceType=iPhone&Cmd=Ping",
	}
	const lines = 1_000_000
	log := []byte("#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\n")
	for i := range lines {
		target := targets[i%len(targets)]
		if i%5000 == 7 {
			target = "/autodiscover/autodiscover.json @evil.example/%50owerShell/"
		}
		log = fmt.Appendf(log, "2026-05-14 %02d:%02d:%02d 10.0.0.1 POST %s 443 CONTOSO\\user%d 192.0.2.%d Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64)+AppleWebKit/537.36 - 200 0 0 15\n",
			i/50_000, i/1000%60, i%60, target, i%500, i%250)
	}
	b.ResetTimer()
	for b.Loop() {
		summary, err := Replay(b.Context(), site, bytes.NewReader(log), ReplayOptions{Examples: 3})
		if err != nil || summary.Requests != lines || summary.Outcomes[rewrite.Aborted] != lines/5000 || !slices.ContainsFunc(summary.Rules, func(r RuleCount) bool { return r.Count == lines/5000 }) {
			b.Fatal(summary, err)
		}
	}
	b.ReportMetric(float64(b.N)*lines/b.Elapsed().Seconds(), "lines/s")
}
