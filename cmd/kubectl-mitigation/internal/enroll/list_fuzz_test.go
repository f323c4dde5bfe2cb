package enroll

import (
	"bytes"
	"encoding/csv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzList reads lists of servers. Whatever is read is good, and is read again from the plainest form of itself.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"pool,server,hostName\r\nfrontends,fe01,fe01.contoso.example\r\n# a comment\r\nfrontends, fe02,\r\n",
		"\ufeffhostname,server,pool\n,fe02,frontends\n",
		"pool,server\n\"frontends\",\"fe\n01\"\n",
		"pool,server\nfrontends,fe01,x\n",
		"pool,server\n\n\n\"",
		"- {pool: frontends, server: fe01, hostName: fe01.contoso.example}\n",
		`[{"pool":"frontends","server":"fe01"}]`,
		"- &a {pool: p, server: s}\n- *a\n",
		"a: &a [x,x]\nb: &b [*a,*a]\n- [*b,*b]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for name, parse := range map[string]func([]byte) ([]entry, error){"CSV": parseCSV, "YAML": parseYAML} {
			entries, err := parse(content)
			if err != nil {
				if len(entries) > 0 {
					t.Errorf("%s: %d servers beside the error %v", name, len(entries), err)
				}
				continue
			}
			if len(entries) > maxServers {
				t.Errorf("%s: %d servers", name, len(entries))
			}
			var plain bytes.Buffer
			w := csv.NewWriter(&plain)
			_ = w.Write([]string{"pool", "server", "hostName"})
			for _, e := range entries {
				if err := e.check(); err != nil {
					t.Errorf("%s: %+v is taken: %v", name, e, err)
				}
				_ = w.Write([]string{e.Pool, e.Server, e.HostName})
			}
			w.Flush()
			again, err := parseCSV(plain.Bytes())
			if diff := cmp.Diff(entries, again); err != nil || len(entries) > 0 && diff != "" {
				t.Errorf("%s: read again: %v\n%s", name, err, diff)
			}
		}
	})
}
