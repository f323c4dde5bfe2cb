package enroll

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadList(t *testing.T) {
	want := []entry{{Pool: "frontends", Server: "fe01", HostName: "fe01.contoso.example"}, {Pool: "frontends", Server: "fe02"}}
	for name, content := range map[string]string{
		"servers.csv":  "\ufeffpool, server, hostName\r\n# a comment\r\nfrontends,fe01,fe01.contoso.example\r\nfrontends, fe02,\r\n",
		"other.CSV":    "hostname,server,pool\nfe01.contoso.example,fe01,frontends\n,fe02,frontends\n",
		"servers.yaml": "- {pool: frontends, server: fe01, hostName: fe01.contoso.example}\n- {pool: frontends, server: fe02}\n",
		"servers.json": `[{"pool":"frontends","server":"fe01","hostName":"fe01.contoso.example"},{"pool":"frontends","server":"fe02"}]`,
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readList(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestReadListRefuses(t *testing.T) {
	many := strings.Builder{}
	for i := range maxServers + 1 {
		fmt.Fprintf(&many, "p,s%d\n", i)
	}
	for name, tc := range map[string]struct{ file, content, says string }{
		"another kind of file":        {"servers.txt", "", `".txt"`},
		"an empty table":              {"a.csv", "", "first line"},
		"a table without a header":    {"a.csv", "frontends,fe01\n", `column "frontends"`},
		"a table without servers":     {"a.csv", "pool\nfrontends\n", "no column server"},
		"a table without pools":       {"a.csv", "server\nfe01\n", "no column pool"},
		"a column that comes twice":   {"a.csv", "pool,server,server\n", "twice"},
		"a line with too many fields": {"a.csv", "pool,server\nfrontends,fe01,x\n", "line 2"},
		"a name that is none":         {"a.csv", "pool,server\nfrontends,fe01\nfrontends,FE02\n", "line 3"},
		"a host name with a blank":    {"a.csv", "pool,server,hostName\nfrontends,fe01,a b\n", "hostName"},
		"too many servers":            {"a.csv", "pool,server\n" + many.String(), "20000 servers"},
		"too many bytes":              {"a.csv", strings.Repeat("x", maxFile+1), "bytes"},
		"something that is no list":   {"a.yaml", "pool: frontends\n", "want a list"},
		"a field that nobody knows":   {"a.yaml", "- {pool: frontends, server: fe01, ip: 1.2.3.4}\n", "ip"},
		"an entry without a pool":     {"a.yaml", "- {server: fe01}\n", "entry 1"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), tc.file)
			if err := os.WriteFile(file, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := readList(file); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("readList() = %v, %v, want %q", len(got), err, tc.says)
			}
		})
	}
}

func TestUnique(t *testing.T) {
	err := unique([]entry{{Pool: "a", Server: "fe01"}, {Pool: "a", Server: "fe02"}, {Pool: "b", Server: "fe01"}})
	if err == nil || !strings.Contains(err.Error(), "a/fe01 and b/fe01") {
		t.Errorf("unique() = %v", err)
	}
}

func TestCommandsSayTheServerWhereTheHostHasAnotherName(t *testing.T) {
	for host, want := range map[string]bool{"": false, "fe01": false, "FE01.contoso.example": false, "www-1.contoso.example": true} {
		commands := commandsFor("fe01", host, "EMS1.x")
		for _, text := range []string{commands.Windows, commands.Linux} {
			if got := strings.Contains(text, "-server fe01"); got != want {
				t.Errorf("host %q: %s", host, text)
			}
			if strings.Contains(text, "-token EMS1") || !strings.Contains(text, "'EMS1.x' |") {
				t.Errorf("the string is an argument of the program, which every user can see: %s", text)
			}
		}
	}
}
