package trust_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

const day = 24 * time.Hour

func authority(t *testing.T, name string, to time.Time) *pki.Identity {
	t.Helper()
	id, err := pki.NewRoot(name, pki.Authority(), pki.Validity(now.AddDate(-5, 0, 0), to))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestExpiring(t *testing.T) {
	soon, later, gone := authority(t, "Soon", now.Add(59*day)), authority(t, "Later", now.Add(61*day)), authority(t, "Gone", now.Add(-day))
	for name, tc := range map[string]struct {
		policy trust.Policy
		want   []string
	}{
		"a root is warned of sixty days ahead and not before": {
			policy: trust.Policy{Roots: string(soon.PEM()) + string(later.PEM())}, want: []string{"root roots CN=Soon,O=Contoso"},
		},
		"the soonest comes first, and what has run out before it": {
			policy: trust.Policy{
				Roots: string(soon.PEM()) + string(gone.PEM()), TimestampRoots: string(gone.PEM()),
				Revocation: &trust.Revocation{Mode: xmlsig.RevocationPrefer, CRLs: listPEM(t, later, now.Add(day))},
			},
			want: []string{
				"root roots CN=Gone,O=Contoso", "timestampRoot timestampRoots CN=Gone,O=Contoso",
				"revocationList revocation.crls CN=Later,O=Contoso", "root roots CN=Soon,O=Contoso",
			},
		},
		"a time-stamping root whose successor stands beside it is not warned of": {
			policy: trust.Policy{Roots: string(later.PEM()), TimestampRoots: string(gone.PEM()) + string(soon.PEM()) + string(later.PEM())},
		},
		"a time-stamping root beside one that ends soon as well is warned of": {
			policy: trust.Policy{Roots: string(later.PEM()), TimestampRoots: string(gone.PEM()) + string(soon.PEM())},
			want:   []string{"timestampRoot timestampRoots CN=Gone,O=Contoso", "timestampRoot timestampRoots CN=Soon,O=Contoso"},
		},
		"a root of signers is warned of although its successor stands beside it": {
			policy: trust.Policy{Roots: string(gone.PEM()) + string(later.PEM())}, want: []string{"root roots CN=Gone,O=Contoso"},
		},
		"a revocation list is warned of one day ahead and not before": {
			policy: trust.Policy{
				Roots:      string(later.PEM()),
				Revocation: &trust.Revocation{Mode: xmlsig.RevocationRequire, CRLs: listPEM(t, later, now.Add(day)) + listPEM(t, later, now.Add(day+time.Second))},
			},
			want: []string{"revocationList revocation.crls CN=Later,O=Contoso"},
		},
		"a revocation list ends at its greatest age": {
			policy: trust.Policy{
				Roots:      string(later.PEM()),
				Revocation: &trust.Revocation{Mode: xmlsig.RevocationRequire, CRLs: listPEM(t, later, now.Add(30*day)), MaxAgeSeconds: 3600},
			},
			want: []string{"revocationList revocation.crls CN=Later,O=Contoso"},
		},
		"a revocation list that nobody looks at is not warned of": {
			policy: trust.Policy{Roots: string(later.PEM()), Revocation: &trust.Revocation{Mode: xmlsig.RevocationOff, CRLs: listPEM(t, later, now.Add(-time.Minute))}},
		},
		"a policy that does not compile has no anchors": {policy: trust.Policy{Roots: "damaged"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, a := range tc.policy.Expiring(now, trust.Horizon) {
				got = append(got, string(a.Kind)+" "+a.Field+" "+a.Subject)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("expiring differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnchorIsExpiredFromItsEndOn(t *testing.T) {
	a := trust.Anchor{Kind: trust.KindRoot, NotAfter: now}
	if a.Expired(now.Add(-time.Second)) || !a.Expired(now) {
		t.Error("want the anchor expired from its end on and not before")
	}
	if (trust.Anchor{Kind: trust.KindRevocationList}).Expired(now) {
		t.Error("what has no end is expired")
	}
}

func TestAnchorsOfAFileNameTheFeed(t *testing.T) {
	p := testPKI(t)
	file, err := trust.ParseFile(fileOf(t, map[string]trust.Policy{"fabrikam": {Roots: string(p.TSARoot.PEM())}, "contoso": full(t, p)}))
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := file.Anchors()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range anchors {
		got = append(got, a.Field)
		if len(a.Fingerprint) != 64 || a.NotAfter.IsZero() || !strings.Contains(a.Subject, "CN=") {
			t.Errorf("anchor %+v, want fingerprint, end and subject", a)
		}
	}
	want := []string{
		"feeds.contoso.roots", "feeds.contoso.roots", "feeds.contoso.timestampRoots",
		"feeds.contoso.revocation.crls", "feeds.contoso.revocation.crls", "feeds.fabrikam.roots",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("anchors differ (-want +got):\n%s", diff)
	}
}

func TestNextChange(t *testing.T) {
	root := func(end time.Time) trust.Anchor { return trust.Anchor{Kind: trust.KindRoot, NotAfter: end} }
	for name, tc := range map[string]struct {
		anchors []trust.Anchor
		want    time.Time
	}{
		"nothing changes without anchors":              {},
		"nothing changes after the end":                {anchors: []trust.Anchor{root(now.Add(-day))}},
		"nothing changes by what has no end":           {anchors: []trust.Anchor{{Kind: trust.KindRevocationList}}},
		"the warning begins sixty days before the end": {anchors: []trust.Anchor{root(now.Add(100 * day))}, want: now.Add(40 * day)},
		"after the warning comes the end":              {anchors: []trust.Anchor{root(now.Add(40 * day))}, want: now.Add(40 * day)},
		"the soonest of several counts":                {anchors: []trust.Anchor{root(now.Add(100 * day)), root(now.Add(7 * day))}, want: now.Add(7 * day)},
		"a list warns a day before its end": {
			anchors: []trust.Anchor{{Kind: trust.KindRevocationList, NotAfter: now.Add(3 * day)}}, want: now.Add(2 * day),
		},
		"a fetched list warns in the last sixteenth of its life": {
			anchors: []trust.Anchor{{Kind: trust.KindFetchedList, Since: now.Add(-5 * day), NotAfter: now.Add(3 * day)}}, want: now.Add(3*day - 12*time.Hour),
		},
		"a fetched list that lives long warns a day before its end": {
			anchors: []trust.Anchor{{Kind: trust.KindFetchedList, Since: now.Add(-97 * day), NotAfter: now.Add(3 * day)}}, want: now.Add(2 * day),
		},
		"a fetched list that contradicts itself warns at its end": {
			anchors: []trust.Anchor{{Kind: trust.KindFetchedList, Since: now.Add(9 * day), NotAfter: now.Add(3 * day)}}, want: now.Add(3 * day),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := trust.NextChange(tc.anchors, now, trust.Horizon); !got.Equal(tc.want) {
				t.Errorf("NextChange() = %s, want %s", got, tc.want)
			}
		})
	}
}
