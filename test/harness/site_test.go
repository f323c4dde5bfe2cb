package harness

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/simulate"
	"mitigation.dev/ems/test/iistree"
)

// TestTheSiteFollowsItsFiles plays what the demonstration does, without a cluster: a rule comes, a pool is stopped, and the log
// tells of it.
func TestTheSiteFollowsItsFiles(t *testing.T) {
	s := &Server{Name: "srv", Pool: Pool{FQDN: "pool.contoso.com"}, Root: t.TempDir()}
	sites := iistree.DefaultSites()
	sites[0].Applications = []iistree.Application{{Path: ECPPath, Pool: ECPPool}}
	if err := iistree.Write(s.Root, iistree.Options{CRLF: true, Sites: sites}); err != nil {
		t.Fatal(err)
	}
	if err := s.serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.site.Close() })
	expect := func(target string, want int) {
		t.Helper()
		if got, err := s.Get(t.Context(), target); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", target, got, err, want)
		}
	}
	before, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	expect(ExploitRequest, http.StatusOK)
	expect(ECPPath+"/", http.StatusOK)

	content, err := os.ReadFile(s.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(content), `<location path="Default Web Site">`, `<location path="Default Web Site"><system.webServer>`+m1Rewrite+`</system.webServer></location><location path="Default Web Site/x">`, 1)
	if err := s.WriteConfig([]byte(with)); err != nil {
		t.Fatal(err)
	}
	expect(ExploitRequest, Dropped)
	expect(HarmlessRequest, http.StatusOK)
	if err := standin.NewPools(s.Root, nil).Stop(t.Context(), ECPPool); err != nil {
		t.Fatal(err)
	}
	expect(ECPPath+"/", http.StatusServiceUnavailable)
	expect(HarmlessRequest, http.StatusOK)
	if err := s.WriteConfig(content); err != nil {
		t.Fatal(err)
	}
	expect(ExploitRequest, http.StatusOK)

	// What would the rule have blocked today?
	log, err := s.AccessLog()
	if err != nil {
		t.Fatal(err)
	}
	mitigation := M1()
	site, err := simulate.Rules{Mitigation: &mitigation}.Compose(rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := simulate.Replay(t.Context(), site, bytes.NewReader(log), simulate.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Requests != 6 || summary.Outcomes[rewrite.Aborted] != 3 || len(summary.Rules) != 1 || summary.Rules[0].Served != 2 || summary.Unreadable != 0 {
		t.Errorf("summary %+v of\n%s", summary, log)
	}
	after, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if different := after.Differences(before); len(different) > 0 {
		t.Errorf("different: %q", different)
	}
}
