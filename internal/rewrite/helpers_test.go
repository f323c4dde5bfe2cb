package rewrite_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

// parse reads a configuration that has to be good.
func parse(tb testing.TB, fragment string) *rewrite.Configuration {
	tb.Helper()
	config, err := rewrite.Parse([]byte(fragment))
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

// serverLevel is applicationHost.config, siteLevel and folderLevel are a site and a folder of it.
func serverLevel(tb testing.TB, fragment string) rewrite.Level {
	tb.Helper()
	return rewrite.Level{Name: "server", Server: true, Config: parse(tb, fragment)}
}

func siteLevel(tb testing.TB, fragment string) rewrite.Level {
	tb.Helper()
	return rewrite.Level{Name: "site", Config: parse(tb, fragment)}
}

func folderLevel(tb testing.TB, folder, fragment string) rewrite.Level {
	tb.Helper()
	return rewrite.Level{Name: folder, Path: folder, Config: parse(tb, fragment)}
}

// site is one <rules> element at the site.
func site(tb testing.TB, rules string) *rewrite.Site {
	tb.Helper()
	return rewrite.NewSite(rewrite.Options{}, siteLevel(tb, "<rules>"+rules+"</rules>"))
}

func evaluate(tb testing.TB, s *rewrite.Site, request rewrite.Request) rewrite.Result {
	tb.Helper()
	result, err := s.Evaluate(request)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

func get(target string) rewrite.Request {
	return rewrite.SplitTarget(http.MethodGet, "mail.example.com", target, nil)
}

// getURL is a request for an absolute URL.
func getURL(tb testing.TB, address string) rewrite.Request {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	r := rewrite.SplitTarget(http.MethodGet, u.Host, u.RequestURI(), nil)
	r.TLS = u.Scheme == "https"
	return r
}

// summary is the part of a result that most tables compare.
func summary(r rewrite.Result) string {
	return strings.TrimSpace(r.String())
}

// corpus reads a file of the optional collection of published cases.
func corpus[T any](tb testing.TB, name string) T {
	tb.Helper()
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		tb.Skip("EMS_TESTDATA is not set: the published cases are not available")
	}
	data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		tb.Fatal(err)
	}
	return out
}
