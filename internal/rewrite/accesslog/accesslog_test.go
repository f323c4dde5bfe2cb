package accesslog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/accesslog"
)

const w3cLog = `#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Date: 2026-03-01 00:00:03
#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) cs(Cookie) cs-host sc-status sc-substatus sc-win32-status time-taken
2026-03-01 00:00:03 10.0.0.1 GET /owa/ - 443 - 192.0.2.7 Mozilla/5.0+(Windows+NT+10.0) - a=b;+c=d mail.example.com 200 0 0 15
2026-03-01 00:00:04 10.0.0.1 POST /autodiscover/autodiscover.json @evil/%50owershell 80 EXAMPLE\ann 192.0.2.8 - https://example.com/ - mail.example.com 404 7 0 1
`

// read returns the requests of a log, with errors in their places.
func read(t *testing.T, log string) (entries []accesslog.Entry, problems []string) {
	t.Helper()
	r := accesslog.NewReader(strings.NewReader(log))
	for {
		entry, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			if r.Offset() != int64(len(log)) {
				t.Errorf("offset %d at the end of %d bytes", r.Offset(), len(log))
			}
			return entries, problems
		case errors.Is(err, accesslog.ErrMalformed):
			problems = append(problems, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			entries = append(entries, entry)
		}
	}
}

func TestW3C(t *testing.T) {
	entries, problems := read(t, w3cLog)
	if len(problems) > 0 || len(entries) != 2 {
		t.Fatalf("%d entries, problems %q", len(entries), problems)
	}
	want := []rewrite.Request{
		{Method: "GET", Host: "mail.example.com", Path: "/owa/", TLS: true, Port: 443, RemoteAddr: "192.0.2.7",
			Headers: http.Header{"User-Agent": {"Mozilla/5.0 (Windows NT 10.0)"}, "Cookie": {"a=b; c=d"}}},
		{Method: "POST", Host: "mail.example.com", Path: "/autodiscover/autodiscover.json", RawQuery: "@evil/%50owershell", Port: 80,
			RemoteAddr: "192.0.2.8", Headers: http.Header{"Referer": {"https://example.com/"}}},
	}
	for i := range entries {
		if diff := cmp.Diff(want[i], entries[i].Request()); diff != "" {
			t.Errorf("request %d: %s", i, diff)
		}
	}
	e := entries[1]
	if e.Line != 6 || e.Status != 404 || e.SubStatus != 7 || !e.When.Equal(time.Date(2026, 3, 1, 0, 0, 4, 0, time.UTC)) {
		t.Errorf("entry %+v", e)
	}
}

// What is no text must not look like a log without requests.
func TestLogsThatAreNoText(t *testing.T) {
	for name, tc := range map[string]struct{ log, want string }{
		"compressed":                     {"\x1f\x8b\x08\x00", "gzip"},
		"an archive":                     {"PK\x03\x04x", "ZIP"},
		"UTF-16":                         {"\xff\xfe#\x00F\x00", "UTF-16"},
		"UTF-16, most significant first": {"\xfe\xff\x00#\x00F", "UTF-16"},
		"UTF-16 without a mark":          {"#\x00F\x00i\x00", "UTF-16"},
		"and the other way round":        {"\x00#\x00F\x00i", "UTF-16"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := accesslog.NewReader(strings.NewReader(tc.log)).Next()
			if !errors.Is(err, accesslog.ErrEncoding) || errors.Is(err, accesslog.ErrMalformed) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	show := func(r rewrite.Request) string {
		return fmt.Sprintf("%s %s|%s|%s", r.Method, r.Host, r.Path, r.RawQuery)
	}
	cases := map[string]struct {
		log          string
		want         []string
		wantProblems []string
	}{
		"an empty log": {},
		"the IIS format": {
			log:  "192.0.2.7, -, 03/20/26, 7:55:20, W3SVC2, FE01, 10.0.0.1, 4502, 163, 3223, 200, 0, GET, /DeptLogo.gif, -,\r\n192.0.2.7, -, 03/20/26, 7:55:21, W3SVC2, FE01, 10.0.0.1, 1, 1, 1, 404, 0, POST, /x, a=b, c,\r\n",
			want: []string{"GET |/DeptLogo.gif|", "POST |/x|a=b, c"}},
		"requests, one per line": {
			log:  "GET /a?b\n\n/c\nPOST /d?e?f HTTP/1.1\r\nGET https://www.example.com/x?y\nhttp://h?q",
			want: []string{"GET |/a|b", "GET |/c|", "POST |/d|e?f", "GET www.example.com|/x|y", "GET h|/|q"}},
		"fields that change": {
			log:  "#Fields: cs-uri-stem\n/a\n#Fields: cs-method cs-uri-stem\nPUT /b\n",
			want: []string{"GET |/a|", "PUT |/b|"}},
		"the zero bytes of a log that is being written": {
			log: "#Fields: cs-uri-stem\n/a\n" + strings.Repeat("\x00", 70000), want: []string{"GET |/a|"}},
		"a few zero bytes":  {log: "#Fields: cs-uri-stem\n/a\n\x00\x00\x00", want: []string{"GET |/a|"}},
		"a byte order mark": {log: "\uFEFF#Fields: cs-uri-stem\n/a\n", want: []string{"GET |/a|"}},
		"a path as it is logged": {
			log:  "#Fields: cs-uri-stem\n/a\u00e4/%41+b%zz?\n",
			want: []string{"GET |/a%C3%A4/%41+b%25zz%3F|"}},
		"lines that cannot be read": {
			log:  "#Fields: cs-method cs-uri-stem sc-status\nGET /a 200\nGET /a\nGET /a 200 x\nGET a 200\nGET /a x\nGET /b 200\n",
			want: []string{"GET |/a|", "GET |/b|"},
			wantProblems: []string{
				"malformed log line 3: 3 fields are announced, and it has another number",
				"malformed log line 4: 3 fields are announced, and it has another number",
				`malformed log line 5: path "a" does not begin with a slash`,
				`malformed log line 6: field 3 is no number: "x"`,
			}},
		"no fields": {log: "#Version: 1.0\nGET /a\n", wantProblems: []string{"malformed log line 2: no #Fields before it"}},
		"a bad time": {log: "#Date: 2026-03-01 00:00:00\n#Fields: time cs-uri-stem\n00:00:01 /a\n25:00:00 /a\n", want: []string{"GET |/a|"},
			wantProblems: []string{`malformed log line 4: time "2026-03-01 25:00:00"`}},
		"a line that is too long": {log: "/a\n/" + strings.Repeat("x", accesslog.MaxLine*2) + "\n/b\n", want: []string{"GET |/a|", "GET |/b|"},
			wantProblems: []string{"malformed log line 2: longer than 65536 bytes"}},
		"too many fields":   {log: "#Fields:" + strings.Repeat(" x", 129) + "\n", wantProblems: []string{"malformed log line 1: 129 fields, allowed are 128"}},
		"prose":             {log: "this is no log\n", wantProblems: []string{"malformed log line 1: it is no request such as GET /path?query"}},
		"a broken IIS line": {log: strings.Repeat("x,", 15) + "\n", wantProblems: []string{`malformed log line 1: status "x"`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			entries, problems := read(t, tc.log)
			var got []string
			for i := range entries {
				got = append(got, show(entries[i].Request()))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.wantProblems, problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An error of the source is not taken for the end of the log.
func TestErrorsOfTheSource(t *testing.T) {
	broken := errors.New("disk")
	r := accesslog.NewReader(io.MultiReader(strings.NewReader("/a\n"), &failing{broken}))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzReader(f *testing.F) {
	f.Add([]byte(w3cLog))
	f.Add([]byte("192.0.2.7, -, 03/20/26, 7:55:20, W3SVC2, FE01, 10.0.0.1, 4502, 163, 3223, 200, 0, GET, /DeptLogo.gif, -,\n"))
	f.Add([]byte("GET https://h/x?y HTTP/1.1\n/a\n\x00"))
	f.Fuzz(func(t *testing.T, log []byte) {
		r := accesslog.NewReader(bytes.NewReader(log))
		for range bytes.Count(log, []byte("\n")) + 2 {
			entry, err := r.Next()
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, accesslog.ErrEncoding):
				return
			case err == nil:
				if request := entry.Request(); !strings.HasPrefix(request.Path, "/") || request.Method == "" {
					t.Fatalf("request %+v", request)
				}
			case !errors.Is(err, accesslog.ErrMalformed):
				t.Fatalf("untyped error %v", err)
			}
		}
		t.Fatal("more entries than lines")
	})
}

func BenchmarkReader(b *testing.B) {
	line := []byte(strings.Split(w3cLog, "\n")[4] + "\n")
	log := append([]byte(strings.Join(strings.SplitAfter(w3cLog, "\n")[:4], "")), bytes.Repeat(line, b.N)...)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	b.ResetTimer()
	r := accesslog.NewReader(bytes.NewReader(log))
	for range b.N {
		entry, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if entry.Request().Path == "" {
			b.Fatal("no path")
		}
	}
}
