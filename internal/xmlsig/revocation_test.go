package xmlsig

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"
)

// TestListsThatAreNotCurrent has lists that no library makes; those that one does are in TestRevocation.
func TestListsThatAreNotCurrent(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	delta := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true}}
	number := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 20}}}
	cases := map[string]struct {
		list   x509.RevocationList
		maxAge time.Duration
		want   string // empty: current
	}{
		"a list without an end, and no greatest age":          {x509.RevocationList{ThisUpdate: hour(-1)}, 0, "no end"},
		"a list without an end, young enough":                 {x509.RevocationList{ThisUpdate: hour(-1)}, 2 * time.Hour, ""},
		"a list without an end, too old":                      {x509.RevocationList{ThisUpdate: hour(-3)}, 2 * time.Hour, "older than"},
		"a delta list":                                        {x509.RevocationList{ThisUpdate: hour(-1), NextUpdate: hour(1), Extensions: delta}, 0, "covers a part only"},
		"a list with a number":                                {x509.RevocationList{ThisUpdate: hour(-1), NextUpdate: hour(1), Extensions: number}, 0, ""},
		"a list from a clock that is ten minutes ahead":       {x509.RevocationList{ThisUpdate: now.Add(ClockSkew), NextUpdate: hour(1)}, 0, ""},
		"a list from a clock that is further ahead than that": {x509.RevocationList{ThisUpdate: now.Add(ClockSkew + time.Second), NextUpdate: hour(1)}, 0, "begins at"},
		"a list at its end":                                   {x509.RevocationList{ThisUpdate: hour(-1), NextUpdate: now}, 0, ""},
		"a list just after its end":                           {x509.RevocationList{ThisUpdate: hour(-1), NextUpdate: now.Add(-time.Second)}, 0, "ended at"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CurrentList(&tc.list, tc.maxAge, now)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
