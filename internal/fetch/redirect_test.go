package fetch

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRedirectTarget(t *testing.T) {
	cases := map[string]struct {
		from     string
		location string
		want     string
	}{
		"a path":                          {"https://feed.example/a", "/b", "https://feed.example/b"},
		"the same host in another case":   {"https://feed.example/a", "https://FEED.example:443/b", "https://FEED.example:443/b"},
		"to TLS on the same host":         {"http://feed.example/a", "https://feed.example/a", "https://feed.example/a"},
		"to TLS on another port":          {"http://feed.example:8080/a", "https://feed.example/a", ""},
		"away from TLS":                   {"https://feed.example/a", "http://feed.example/a", ""},
		"away from TLS on the TLS port":   {"https://feed.example/a", "http://feed.example:443/a", ""},
		"another host":                    {"https://feed.example/a", "https://evil.example/a", ""},
		"another host without scheme":     {"https://feed.example/a", "//evil.example/a", ""},
		"the host as user of another":     {"https://feed.example/a", "https://feed.example@evil.example/", ""},
		"the host as prefix of another":   {"https://feed.example/a", "https://feed.example.evil.example/", ""},
		"another port":                    {"https://feed.example/a", "https://feed.example:8443/a", ""},
		"a script":                        {"https://feed.example/a", "javascript:alert(1)", ""},
		"an address that does not parse":  {"https://feed.example/a", "https://feed.example:x/", ""},
		"credentials are not taken over":  {"https://feed.example/a", "https://u:p@feed.example/b", "https://feed.example/b"},
		"credentials of the request stay": {"https://u:p@feed.example/a", "/b", "https://u:p@feed.example/b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			from, err := url.Parse(tc.from)
			if err != nil {
				t.Fatal(err)
			}
			to, failure := redirectTarget(http.StatusFound, tc.location, from, 0)
			got := ""
			if failure == nil {
				got = to.String()
			}
			if got != tc.want {
				t.Errorf("redirected to %q (%v), want %q", got, failure, tc.want)
			}
		})
	}
}

func FuzzRedirectTarget(f *testing.F) {
	for _, seed := range []string{"/b", "//evil.example", "https://feed.example@evil.example/", "http://feed.example", "https://FEED.EXAMPLE:443/", "\\\\evil.example", "https:/evil.example", "?x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, location string) {
		from := &url.URL{Scheme: "https", Host: "feed.example", Path: "/a"}
		to, failure := redirectTarget(http.StatusFound, location, from, 0)
		if failure != nil {
			return
		}
		if to == nil || to.Scheme != "https" || !strings.EqualFold(to.Hostname(), "feed.example") || to.User != nil {
			t.Fatalf("location %q leads to %v", location, to)
		}
	})
}
