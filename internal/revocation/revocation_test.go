package revocation_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var sharedKeys = sync.OnceValues(func() (*pki.PKI, error) { return pki.NewFixed(now) })

func keys(tb testing.TB) *pki.PKI {
	tb.Helper()
	p, err := sharedKeys()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// der makes a list that is good unless the change makes it something else.
func der(tb testing.TB, issuer *pki.Identity, change func(*x509.RevocationList)) []byte {
	tb.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-day), NextUpdate: now.Add(day)}
	if change != nil {
		change(template)
	}
	raw, err := x509.CreateRevocationList(rand.Reader, template, issuer.Certificate, issuer.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func list(tb testing.TB, issuer *pki.Identity, number, hours int) *revocation.List {
	tb.Helper()
	l, err := revocation.Parse(der(tb, issuer, func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(int64(number)), now.Add(time.Duration(hours)*time.Hour), now.Add(time.Duration(hours)*time.Hour+7*day)
	}))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func entries(count int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		for i := range count {
			serial := new(big.Int).Lsh(big.NewInt(int64(i+1)), 120)
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
		}
	}
}

func TestParse(t *testing.T) {
	p := keys(t)
	good := der(t, p.Issuing, nil)
	nameless, err := p.Root.Issue("", pki.Authority(), pki.Organization())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		der  []byte
		want string // empty: accepted
	}{
		"a list":                             {der: good},
		"a list of 2,500 certificates":       {der: der(t, p.Issuing, entries(2500))},
		"nothing":                            {want: "revocation list: x509"},
		"a certificate":                      {der: p.Root.Certificate.Raw, want: "revocation list: x509"},
		"a list with something behind it":    {der: append(slices.Clone(good), 0), want: "1 bytes behind its end"},
		"a list that is cut off":             {der: good[:len(good)-1], want: "revocation list: x509"},
		"a list that is too large":           {der: der(t, p.Issuing, entries(3500)), want: "at most 98304"},
		"a list of nobody":                   {der: der(t, nameless, nil), want: "names no issuer"},
		"a list that ends before it begins":  {der: endsFirst(t, p.Issuing), want: "before it begins at 2026-05-14T16:00:00Z"},
		"a number of twenty octets":          {der: der(t, p.Issuing, func(l *x509.RevocationList) { l.Number = new(big.Int).Lsh(big.NewInt(1), 158) })},
		"a list of one distribution point":   {der: der(t, p.Issuing, extension(asn1.ObjectIdentifier{2, 5, 29, 28}, true)), want: "covers a part only (critical extension 2.5.29.28); the complete list is needed"},
		"a list with something to ignore":    {der: der(t, p.Issuing, extension(asn1.ObjectIdentifier{2, 5, 29, 46}, false))},
		"a list of an issuer with long name": {der: longName(t), want: "covers a part only"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := revocation.Parse(tc.der)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want == "" && !bytes.Equal(l.Raw, tc.der):
				t.Error("the list does not hold its bytes")
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Fatalf("error %v, want one with %q", err, tc.want)
			case tc.want != "" && len(err.Error()) > 512:
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func extension(id asn1.ObjectIdentifier, critical bool) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{0x30, 0}}}
	}
}

// endsFirst exchanges the times of a list, which no library signs, and does without the signature.
func endsFirst(t *testing.T, issuer *pki.Identity) []byte {
	t.Helper()
	raw := der(t, issuer, func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = now, now.Add(time.Hour) })
	from, to := []byte("260514160000Z"), []byte("260514170000Z")
	if bytes.Count(raw, from) != 1 || bytes.Count(raw, to) != 1 {
		t.Fatal("the times do not stand in the list once each")
	}
	return bytes.Replace(raw, to, []byte("260514150000Z"), 1)
}

func longName(t *testing.T) []byte {
	t.Helper()
	issuer, err := pki.NewRoot(strings.Repeat("ü", 1000), pki.Authority())
	if err != nil {
		t.Fatal(err)
	}
	return der(t, issuer, extension(asn1.ObjectIdentifier{2, 5, 29, 27}, true))
}

func TestNewRefusesANumberBeyondTheStandard(t *testing.T) {
	parsed := list(t, keys(t).Issuing, 1, 0).RevocationList
	for _, number := range []*big.Int{big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 160)} {
		parsed.Number = number
		if _, err := revocation.New(parsed); err == nil || !strings.Contains(err.Error(), "160 bits") {
			t.Errorf("number %s: error %v, want one with the limit", number, err)
		}
	}
	parsed.Number = nil
	if _, err := revocation.New(parsed); err != nil {
		t.Errorf("without a number: %v", err)
	}
}

func TestDecode(t *testing.T) {
	raw := der(t, keys(t).Issuing, nil)
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}) }
	for name, tc := range map[string]struct {
		content []byte
		want    string // empty: accepted
	}{
		"DER":                     {content: raw},
		"PEM":                     {content: block("X509 CRL")},
		"PEM with white space":    {content: append(block("X509 CRL"), "\r\n"...)},
		"PEM of another type":     {content: block("CERTIFICATE"), want: `PEM of type "CERTIFICATE": want "X509 CRL"`},
		"two lists in PEM":        {content: slices.Concat(block("X509 CRL"), block("X509 CRL")), want: "more than one PEM block"},
		"damaged PEM":             {content: []byte("-----BEGIN X509 CRL-----\n!"), want: "not valid PEM"},
		"a page in HTML, instead": {content: []byte("<html>"), want: "revocation list: x509"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := revocation.Decode(tc.content)
			switch {
			case tc.want == "" && (err != nil || !bytes.Equal(l.Raw, raw)):
				t.Fatalf("error %v, want the list", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestVerifyBy(t *testing.T) {
	p := keys(t)
	renewed, err := p.Root.Issue("Example Code Signing CA", pki.Authority())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		list        *revocation.List
		authorities []*pki.Identity
		want        string // empty: believed
	}{
		"a list of the issuing authority":             {list: list(t, p.Issuing, 1, -1), authorities: []*pki.Identity{p.Root, p.Issuing}},
		"an authority that has two keys":              {list: list(t, p.Issuing, 1, -1), authorities: []*pki.Identity{renewed, p.Issuing}},
		"a clock that is ten minutes ahead":           {list: minutes(t, p.Issuing, 10), authorities: []*pki.Identity{p.Issuing}},
		"a list of the future":                        {list: minutes(t, p.Issuing, 11), authorities: []*pki.Identity{p.Issuing}, want: "in the future"},
		"a list of another authority":                 {list: list(t, p.Issuing, 1, -1), authorities: []*pki.Identity{p.Root, p.TSARoot}, want: "no authority of this name is trusted"},
		"a list by an authority that took the name":   {list: list(t, renewed, 1, -1), authorities: []*pki.Identity{p.Issuing}, want: "revocation list of"},
		"a list that was changed after it was signed": {list: changed(t, p.Issuing), authorities: []*pki.Identity{p.Issuing}, want: "verification failure"},
	} {
		t.Run(name, func(t *testing.T) {
			var authorities []*x509.Certificate
			for _, a := range tc.authorities {
				authorities = append(authorities, a.Certificate)
			}
			err := tc.list.VerifyBy(authorities, now)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func minutes(t *testing.T, issuer *pki.Identity, ahead int) *revocation.List {
	t.Helper()
	l, err := revocation.Parse(der(t, issuer, func(l *x509.RevocationList) { l.ThisUpdate = now.Add(time.Duration(ahead) * time.Minute) }))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func changed(t *testing.T, issuer *pki.Identity) *revocation.List {
	t.Helper()
	raw := der(t, issuer, func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = now.Add(-time.Hour), now })
	l, err := revocation.Parse(bytes.Replace(raw, []byte("260514160000Z"), []byte("270514160000Z"), 1))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMerge(t *testing.T) {
	p := keys(t)
	renewed, err := p.Root.Issue("Example Code Signing CA", pki.Authority())
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := list(t, p.Issuing, 1, -30), list(t, p.Issuing, 2, -20), list(t, p.Issuing, 3, -10)
	root, other := list(t, p.Root, 9, -5), list(t, renewed, 1, -40)
	again := list(t, p.Issuing, 2, -20)
	numberBack, timeBack := list(t, p.Issuing, 1, -10), list(t, p.Issuing, 3, -30)
	unnumbered := list(t, p.Issuing, 1, -1)
	unnumbered.Number = nil
	counted := list(t, p.Issuing, 1, 0)
	type lists = []*revocation.List
	for name, tc := range map[string]struct {
		have, more, want lists
		refused          []string
	}{
		"nothing and nothing are nothing":                       {},
		"a first list is taken":                                 {more: lists{first}, want: lists{first}},
		"what is not brought again stays":                       {have: lists{first, root}, more: lists{second}, want: lists{second, root}},
		"a newer list takes the place of the old one":           {have: lists{first}, more: lists{second}, want: lists{second}},
		"the newest of several is taken, in any order":          {more: lists{first, third, second}, want: lists{third}, refused: []string{"number 2 of"}},
		"an older list is refused":                              {have: lists{third}, more: lists{second}, want: lists{third}, refused: []string{"number 2 of 2026-05-13T20:00:00Z is older than number 3 of 2026-05-14T06:00:00Z, which is there already"}},
		"a later list with a lower number is refused":           {have: lists{second}, more: lists{numberBack}, want: lists{second}, refused: []string{"number 1"}},
		"a higher number with an earlier time is refused":       {have: lists{second}, more: lists{timeBack}, want: lists{second}, refused: []string{"number 3"}},
		"a list that lost its number is refused":                {have: lists{second}, more: lists{unnumbered}, want: lists{second}, refused: []string{"of 2026-05-14T15:00:00Z is older than number 2"}},
		"a list that begins to count is taken":                  {have: lists{unnumbered}, more: lists{counted}, want: lists{counted}},
		"the same list again is no news":                        {have: lists{second}, more: lists{second}, want: lists{second}},
		"another list of the same number and time is no news":   {have: lists{second}, more: lists{again}, want: lists{second}},
		"an authority with two keys has a list of each":         {have: lists{third}, more: lists{other}, want: lists{third, other}},
		"of several lists that are there the newest stays, too": {have: lists{second, third, first}, want: lists{third}},
	} {
		t.Run(name, func(t *testing.T) {
			merged, refused := revocation.Merge(tc.have, tc.more)
			slices.SortFunc(tc.want, func(a, b *revocation.List) int { return bytes.Compare(a.Raw, b.Raw) })
			if diff := cmp.Diff(raws(tc.want), raws(merged)); diff != "" {
				t.Errorf("merged differs (-want +got):\n%s", diff)
			}
			if len(refused) != len(tc.refused) {
				t.Fatalf("refused = %+v, want %q", refused, tc.refused)
			}
			for i, r := range refused {
				if !strings.Contains(r.Message, tc.refused[i]) || !slices.Contains(tc.more, r.List) {
					t.Errorf("refused %q, want it to say %q", r.Message, tc.refused[i])
				}
			}
		})
	}
}

func raws(lists []*revocation.List) []string {
	var out []string
	for _, l := range lists {
		out = append(out, hex.EncodeToString(l.Raw))
	}
	return out
}

func TestFit(t *testing.T) {
	p := keys(t)
	var small []*revocation.List
	for i := range revocation.MaxLists + 2 {
		authority, err := pki.NewRoot(fmt.Sprintf("Authority %d", i), pki.Authority())
		if err != nil {
			t.Fatal(err)
		}
		small = append(small, list(t, authority, 1, -i))
	}
	fit, beyond := revocation.Fit(small)
	if len(fit) != revocation.MaxLists || len(beyond) != 2 || !strings.Contains(beyond[0].Message, "at most 8 lists") {
		t.Errorf("%d lists fit and %+v do not, want 8 and 2", len(fit), beyond)
	}
	for _, r := range beyond {
		if !slices.Contains(small[revocation.MaxLists:], r.List) {
			t.Error("a later list was left out for an earlier one")
		}
	}
	large, err := revocation.Parse(der(t, p.Issuing, entries(1800)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := revocation.Parse(der(t, p.Root, entries(1800)))
	if err != nil {
		t.Fatal(err)
	}
	fit, beyond = revocation.Fit([]*revocation.List{large, other, small[0]})
	if len(fit) != 2 || len(beyond) != 1 || !slices.Contains(fit, small[0]) || len(large.Raw)+len(other.Raw) <= revocation.MaxTotalBytes {
		t.Errorf("%d lists fit and %d do not, want the small one and one of the large", len(fit), len(beyond))
	}
}

func TestDigest(t *testing.T) {
	p := keys(t)
	a, b := list(t, p.Issuing, 1, -1), list(t, p.Root, 1, -1)
	sorted := [][]byte{a.Raw, b.Raw}
	slices.SortFunc(sorted, bytes.Compare)
	sum := sha256.Sum256(bytes.Join(sorted, nil))
	for name, lists := range map[string][]*revocation.List{"one order": {a, b}, "the other": {b, a}} {
		if got, want := revocation.Digest(lists), hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: digest %s, want %s", name, got, want)
		}
	}
	if revocation.Digest([]*revocation.List{a}) == revocation.Digest([]*revocation.List{b}) {
		t.Error("different lists have one digest")
	}
}

func TestCurrent(t *testing.T) {
	l := list(t, keys(t).Issuing, 1, -24)
	for name, tc := range map[string]struct {
		at     time.Time
		maxAge time.Duration
		want   bool
	}{
		"a list within its time":              {at: now, want: true},
		"a list that has ended":               {at: now.Add(7 * day)},
		"a list beyond its greatest age":      {at: now, maxAge: 23 * time.Hour},
		"a list just within its greatest age": {at: now, maxAge: day, want: true},
		"a list that has not begun":           {at: now.Add(-25 * time.Hour)},
	} {
		if got := revocation.Current(l, tc.at, tc.maxAge); got != tc.want {
			t.Errorf("%s: Current() = %t, want %t", name, got, tc.want)
		}
	}
}

// FuzzParse looks for lists that panic, and for ones that were accepted and then contradict what the package promises.
func FuzzParse(f *testing.F) {
	p := keys(f)
	f.Add(der(f, p.Issuing, nil))
	f.Add(der(f, p.Root, entries(3)))
	f.Add(der(f, p.Issuing, extension(asn1.ObjectIdentifier{2, 5, 29, 27}, true)))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der(f, p.Issuing, nil)}))
	there := list(f, p.Issuing, 5, -5)
	trusted := []*x509.Certificate{p.Issuing.Certificate, p.Root.Certificate}
	f.Fuzz(func(t *testing.T, content []byte) {
		l, err := revocation.Decode(content)
		if err != nil {
			return
		}
		again, err := revocation.Parse(l.Raw)
		if err != nil || revocation.Digest([]*revocation.List{again}) != revocation.Digest([]*revocation.List{l}) {
			t.Fatalf("the bytes of an accepted list are not that list: %v", err)
		}
		if len(l.Raw) > revocation.MaxTotalBytes {
			t.Fatalf("accepted %d bytes", len(l.Raw))
		}
		merged, refused := revocation.Merge([]*revocation.List{there}, []*revocation.List{l})
		if len(merged) == 0 || len(merged) > 2 || len(merged)+len(refused) > 2 {
			t.Fatalf("%d lists merged and %d refused", len(merged), len(refused))
		}
		if bytes.Equal(l.RawIssuer, there.RawIssuer) && bytes.Equal(l.AuthorityKeyId, there.AuthorityKeyId) && l.ThisUpdate.Before(there.ThisUpdate) && !slices.Contains(merged, there) {
			t.Fatal("an older list took the place of a newer one")
		}
		_ = l.VerifyBy(trusted, now)
		if revocation.Current(l, now, time.Hour) && xmlsig.CurrentList(l.RevocationList, 0, now) != nil && !l.NextUpdate.IsZero() {
			t.Fatal("a greatest age made a list current that is not")
		}
	})
}
