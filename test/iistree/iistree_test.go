package iistree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestTreesAreWellFormed(t *testing.T) {
	tests := map[string]Options{
		"the default server":            {},
		"CRLF line ends":                {CRLF: true},
		"without URL Rewrite":           {NoRewrite: true},
		"names that need escaping":      {Sites: []Site{{Name: "R&D", Port: 8080, Pool: "R&D"}}, Pools: []string{"R&D"}},
		"a site with more applications": {Sites: []Site{{Name: "A", Applications: []Application{{Path: "/ecp", Pool: "P&Q"}, {Path: "/oab", Pool: "P"}}}}},
		"a site with rules":             {Sites: []Site{{Name: "A", Rewrite: "            <rewrite>\n                <rules />\n            </rewrite>\n"}}},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Write(dir, o); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{ConfigFile, Redirection, WebConfig} {
				data, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				dec := xml.NewDecoder(bytes.NewReader(data))
				for err == nil {
					_, err = dec.Token()
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", file, err)
				}
				crlf := bytes.Count(data, []byte("\r\n"))
				if want := bytes.Count(data, []byte("\n")); o.CRLF && crlf != want || !o.CRLF && crlf != 0 {
					t.Errorf("%s: %d CRLF of %d line ends", file, crlf, want)
				}
				if n := bytes.Count(data, []byte("RewriteModule")); file == ConfigFile && (n == 0) != o.NoRewrite {
					t.Errorf("%d mentions of RewriteModule", n)
				}
			}
		})
	}
}
