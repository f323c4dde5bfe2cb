package enroll

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/clientcert"
)

func TestCheckCredential(t *testing.T) {
	for name, tc := range map[string]struct {
		kind     string
		lifetime time.Duration
		wantOK   bool
	}{
		"a token":                 {byToken, 0, true},
		"a long token":            {byToken, 720 * time.Hour, true},
		"a certificate":           {byCertificate, 0, true},
		"a certificate of a week": {byCertificate, clientcert.MaxLife, true},
		"a certificate of more":   {byCertificate, clientcert.MaxLife + time.Second, false},
		"something else":          {"password", 0, false},
		"nothing":                 {"", 0, false},
	} {
		if err := checkCredential(tc.kind, tc.lifetime); (err == nil) != tc.wantOK {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheListForgetsWhatCannotBeUsed(t *testing.T) {
	limit := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	got := endedBefore(map[string]string{
		"c": "web01 2026-11-21T23:59:59Z", "b": "web02 2026-11-22T00:00:00Z", "a": "web03 2026-01-01T00:00:00Z", "d": "web04", "e": "", "f": "web05 yesterday",
	}, limit)
	if diff := cmp.Diff([]string{"a", "c"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsRevokedGoesIntoTheListAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	servers := []entry{{Pool: "frontends", Server: "fe01"}, {Pool: "frontends", Server: "fe02"}, {Pool: "frontends", Server: "fe03"}}
	got := changesOf(map[string]string{"old": "fe09 2026-11-13T00:00:00Z", "young": "fe09 2026-11-15T00:00:00Z"}, servers, []string{"a", "", "c"}, now)
	want := map[string]any{"old": nil, "a": "fe01 2026-11-22T00:00:00Z", "c": "fe03 2026-11-22T00:00:00Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
