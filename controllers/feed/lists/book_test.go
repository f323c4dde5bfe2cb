package lists_test

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func fixture(t *testing.T) *pki.PKI {
	t.Helper()
	keys, err := pki.NewFixed(now)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// list makes a list of the authority that lasts a week.
func list(t *testing.T, authority *pki.Identity, from time.Time) *revocation.List {
	t.Helper()
	made, err := authority.RevocationList(from, from.Add(7*day))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := revocation.Parse(made.Raw)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Source = "http://crl.contoso.com/" + authority.Certificate.Subject.CommonName
	return parsed
}

// dates are the days of the lists that are handed out, by issuer.
func dates(book *lists.Book) map[string]string {
	handed, _ := book.HandOut()
	found := map[string]string{}
	for _, l := range handed {
		found[l.Issuer.CommonName] = l.ThisUpdate.Format(time.DateOnly)
	}
	return found
}

func TestABookKeepsTheNewestGenuineLists(t *testing.T) {
	keys := fixture(t)
	foreign, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	issuing, root := keys.Issuing.Certificate.Subject.CommonName, keys.Root.Certificate.Subject.CommonName
	authorities := []*x509.Certificate{keys.Root.Certificate, keys.Issuing.Certificate}
	newer, older := list(t, keys.Issuing, now.Add(-day)), list(t, keys.Issuing, now.Add(-3*day))
	ofRoot, forged := list(t, keys.Root, now.Add(-2*day)), list(t, foreign.Issuing, now.Add(-time.Hour))

	type round struct {
		restored, noted, configured []*revocation.List
		authorities                 []*x509.Certificate
		wantRefused                 int
	}
	for name, tc := range map[string]struct {
		rounds []round
		want   map[string]string
	}{
		"genuine lists are used": {
			rounds: []round{{noted: []*revocation.List{newer, ofRoot}, authorities: authorities}},
			want:   map[string]string{issuing: "2026-05-13", root: "2026-05-12"},
		},
		"a forged list takes nobody's place, however new": {
			rounds: []round{{noted: []*revocation.List{newer}, authorities: authorities}, {noted: []*revocation.List{forged}, authorities: authorities, wantRefused: 1}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"an older list does not come back": {
			rounds: []round{{noted: []*revocation.List{newer}, authorities: authorities}, {noted: []*revocation.List{older}, authorities: authorities, wantRefused: 1}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"an older list does not come back after a restart": {
			rounds: []round{{restored: []*revocation.List{newer}, noted: []*revocation.List{older}, authorities: authorities, wantRefused: 1}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"a restored list is verified too": {
			rounds: []round{{restored: []*revocation.List{forged}, noted: []*revocation.List{older}, authorities: authorities}},
			want:   map[string]string{issuing: "2026-05-11"},
		},
		"a newer list takes the place of an older": {
			rounds: []round{{noted: []*revocation.List{older}, authorities: authorities}, {noted: []*revocation.List{newer}, authorities: authorities}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"a configured list is used until a newer one is fetched, without a word": {
			rounds: []round{
				{configured: []*revocation.List{older}, authorities: authorities},
				{configured: []*revocation.List{older}, noted: []*revocation.List{newer}, authorities: authorities},
			},
			want: map[string]string{issuing: "2026-05-13"},
		},
		"a fetched list that is older than the configured one is refused": {
			rounds: []round{{configured: []*revocation.List{newer}, noted: []*revocation.List{older}, authorities: authorities, wantRefused: 1}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"a list waits for a document that names its authority": {
			rounds: []round{{noted: []*revocation.List{newer}, authorities: authorities[:1], wantRefused: 1}, {authorities: authorities}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"the lists of a former issuer go on to be used": {
			rounds: []round{{authorities: authorities}, {noted: []*revocation.List{newer}, authorities: authorities[:1]}},
			want:   map[string]string{issuing: "2026-05-13"},
		},
		"a list of the future is refused": {
			rounds: []round{{noted: []*revocation.List{list(t, keys.Issuing, now.Add(day))}, authorities: authorities, wantRefused: 1}},
			want:   map[string]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var book lists.Book
			for i, r := range tc.rounds {
				if r.restored != nil {
					book.Restore(r.restored)
				}
				if r.noted != nil {
					book.Note(r.noted)
				}
				for look := range 2 { // a second look at the same lists says the same
					if refused := book.Settle(r.configured, r.authorities, now); len(refused) != r.wantRefused {
						t.Errorf("round %d, look %d: refused %v, want %d", i+1, look+1, refused, r.wantRefused)
					}
				}
			}
			if diff := cmp.Diff(tc.want, dates(&book)); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
			if len(book.Known()) != len(tc.want) {
				t.Errorf("%d lists to judge by, want those handed out", len(book.Known()))
			}
		})
	}
}

func TestNext(t *testing.T) {
	keys := fixture(t)
	for name, tc := range map[string]struct {
		lists            []*revocation.List
		interval, maxAge time.Duration
		failed           bool
		want             time.Duration
	}{
		"lists that last are fetched at the interval":               {lists: []*revocation.List{list(t, keys.Issuing, now)}, interval: time.Hour, want: time.Hour},
		"half of what the first has left comes before a long one":   {lists: []*revocation.List{list(t, keys.Issuing, now), list(t, keys.Root, now.Add(-6*day))}, interval: day, want: 12 * time.Hour},
		"its greatest age ends a list as well":                      {lists: []*revocation.List{list(t, keys.Issuing, now.Add(-time.Hour))}, interval: day, maxAge: 3 * time.Hour, want: time.Hour},
		"one that ends in a moment is not fetched every second":     {lists: []*revocation.List{list(t, keys.Issuing, now.Add(-7*day+time.Second))}, interval: time.Hour, want: 5 * time.Minute},
		"one that has ended is looked for soon":                     {lists: []*revocation.List{list(t, keys.Issuing, now.Add(-9*day))}, interval: time.Hour, want: 5 * time.Minute},
		"after a failure it is tried again soon":                    {lists: []*revocation.List{list(t, keys.Issuing, now)}, interval: time.Hour, failed: true, want: 5 * time.Minute},
		"without any list it is tried again soon":                   {interval: time.Hour, want: 5 * time.Minute},
		"an interval that is shorter than all that is kept":         {interval: time.Minute, failed: true, want: time.Minute},
		"the end of a list does not slow a shorter interval either": {lists: []*revocation.List{list(t, keys.Issuing, now.Add(-7*day+time.Hour))}, interval: time.Minute, want: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var book lists.Book
			book.Note(tc.lists)
			book.Settle(nil, []*x509.Certificate{keys.Root.Certificate, keys.Issuing.Certificate}, now)
			if got := book.Next(now, tc.interval, tc.maxAge, tc.failed).Sub(now); got != tc.want {
				t.Errorf("Next() is in %s, want %s", got, tc.want)
			}
		})
	}
}

func TestConfiguredLeavesOutWhatIsNoList(t *testing.T) {
	keys := fixture(t)
	l := list(t, keys.Issuing, now)
	bundle := append(keys.Root.PEM(), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})...)
	bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("damaged")})...)
	got := lists.Configured(string(bundle))
	if len(got) != 1 || got[0].Source != lists.ConfiguredSource || !lists.Same([][]byte{l.Raw}, got) {
		t.Errorf("Configured() = %v, want the one list", got)
	}
	if lists.Same(nil, got) || lists.Same([][]byte{l.Raw[1:]}, got) {
		t.Error("Same() takes other lists for the same")
	}
}
