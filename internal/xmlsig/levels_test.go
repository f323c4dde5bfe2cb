package xmlsig_test

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

var checks = []xmlsig.Check{xmlsig.CheckIssuerPins, xmlsig.CheckSubject, xmlsig.CheckExtendedKeyUsages, xmlsig.CheckRevocation}

// otherUsage is an extended key usage that no signer of the tests has.
var otherUsage = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 76, 57, 1, 11}

// failing makes one check fail for the signer p.ECDSA.
func failing(tb testing.TB, p *pki.PKI, policy *xmlsig.Policy, check xmlsig.Check) {
	tb.Helper()
	switch check {
	case xmlsig.CheckIssuerPins:
		policy.IssuerPins = [][32]byte{pinOf(p.Root)}
	case xmlsig.CheckSubject:
		policy.Organization, policy.CommonName = "Fabrikam", "Fabrikam Signing"
	case xmlsig.CheckExtendedKeyUsages:
		policy.ExtendedKeyUsages = []asn1.ObjectIdentifier{pki.PrivateUsage, otherUsage}
	case xmlsig.CheckRevocation:
		policy.Revocation = xmlsig.Revocation{Mode: xmlsig.RevocationRequire, CRLs: []*x509.RevocationList{revoking(tb, p.Issuing, p.ECDSA)}}
	default:
		tb.Fatalf("unknown check %q", check)
	}
}

func revoking(tb testing.TB, issuer *pki.Identity, revoked ...*pki.Identity) *x509.RevocationList {
	tb.Helper()
	list, err := issuer.RevocationList(now.AddDate(0, 0, -1), now.AddDate(0, 0, 1), revoked...)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// set gives some checks a level.
func set(levels *xmlsig.Levels, level xmlsig.Level, which ...xmlsig.Check) {
	for check, field := range map[xmlsig.Check]*xmlsig.Level{
		xmlsig.CheckIssuerPins: &levels.IssuerPins, xmlsig.CheckSubject: &levels.Subject,
		xmlsig.CheckExtendedKeyUsages: &levels.ExtendedKeyUsages, xmlsig.CheckRevocation: &levels.Revocation,
	} {
		if slices.Contains(which, check) {
			*field = level
		}
	}
}

// saidOf returns findings without the names of certificates.
func saidOf(findings []xmlsig.Finding) []string {
	var said []string
	for _, f := range findings {
		said = append(said, string(f.Check)+" ("+string(f.Class)+"): "+f.Reason)
	}
	return said
}

var wantFindings = map[xmlsig.Check][]string{
	xmlsig.CheckExtendedKeyUsages: {"extendedKeyUsages (certificate not acceptable): extended key usage " + otherUsage.String() + " is missing"},
	xmlsig.CheckSubject: {
		`subject (signer not trusted): organization is not exactly "Fabrikam"`,
		`subject (signer not trusted): common name is not exactly "Fabrikam Signing"`,
	},
	xmlsig.CheckIssuerPins: {"issuerPins (signer not trusted): its issuer, ISSUER, is not pinned"},
	xmlsig.CheckRevocation: {
		"revocation (signer revoked): revoked at 2026-05-13T16:00:00Z",
		"revocation (signer revoked): no current revocation list: no list of its issuer is configured",
	},
}

var classes = map[xmlsig.Check]xmlsig.Class{
	xmlsig.CheckIssuerPins: xmlsig.ClassUntrusted, xmlsig.CheckSubject: xmlsig.ClassUntrusted,
	xmlsig.CheckExtendedKeyUsages: xmlsig.ClassCertificate, xmlsig.CheckRevocation: xmlsig.ClassRevoked,
}

func wanted(p *pki.PKI, which ...xmlsig.Check) []string {
	issuer := `certificate "` + p.Issuing.Certificate.Subject.String() + `" (serial number "` + p.Issuing.Certificate.SerialNumber.Text(16) + `")`
	var all []string
	// In the order in which the steps are taken.
	for _, check := range []xmlsig.Check{xmlsig.CheckExtendedKeyUsages, xmlsig.CheckSubject, xmlsig.CheckIssuerPins, xmlsig.CheckRevocation} {
		if !slices.Contains(which, check) {
			continue
		}
		for _, text := range wantFindings[check] {
			all = append(all, strings.Replace(text, "ISSUER", issuer, 1))
		}
	}
	return all
}

func TestAFailedCheckRefusesUnlessItsLevelIsLog(t *testing.T) {
	p := testPKI(t)
	document := sign(t, content, p.ECDSA, nil)
	for _, check := range checks {
		for _, level := range []xmlsig.Level{"", xmlsig.LevelEnforce, "log", "Off"} {
			policy := policyOf(p)
			failing(t, p, &policy, check)
			set(&policy.Levels, xmlsig.LevelLog, slices.DeleteFunc(slices.Clone(checks), func(c xmlsig.Check) bool { return c == check })...)
			set(&policy.Levels, level, check)
			if _, err := xmlsig.Verify(document, policy, now); err == nil {
				t.Errorf("level %q of %s, and Log of all others: accepted", level, check)
			} else {
				wantClass(t, err, classes[check])
			}
		}
		policy := policyOf(p)
		failing(t, p, &policy, check)
		set(&policy.Levels, xmlsig.LevelLog, check)
		signed, err := xmlsig.Verify(document, policy, now)
		if err != nil {
			t.Fatalf("Log of %s: %v", check, err)
		}
		if diff := cmp.Diff(wanted(p, check), saidOf(signed.Findings)); diff != "" {
			t.Errorf("findings of %s (-want +got):\n%s", check, diff)
		}
	}
}

func TestALoggedCheckHidesNoOtherOne(t *testing.T) {
	p := testPKI(t)
	document := sign(t, content, p.ECDSA, nil)
	for _, logged := range checks {
		for _, enforced := range checks {
			if logged == enforced {
				continue
			}
			policy := policyOf(p)
			failing(t, p, &policy, logged)
			failing(t, p, &policy, enforced)
			set(&policy.Levels, xmlsig.LevelLog, logged)
			_, err := xmlsig.Verify(document, policy, now)
			if err == nil {
				t.Errorf("Log of %s accepts what %s refuses", logged, enforced)
				continue
			}
			wantClass(t, err, classes[enforced])
		}
	}
}

func TestFindingsOfAllChecksAreReported(t *testing.T) {
	p := testPKI(t)
	document := sign(t, content, p.ECDSA, func(o *xmlsig.SignOptions) {
		o.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now) }
	})
	policy := policyOf(p)
	for _, check := range checks {
		failing(t, p, &policy, check)
	}
	set(&policy.Levels, xmlsig.LevelLog, checks...)
	signed, err := xmlsig.Verify(document, policy, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(p, checks...), saidOf(signed.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for _, f := range signed.Findings {
		if !strings.HasPrefix(f.Subject, `certificate "CN=`) || f.String() != string(f.Check)+": "+f.Subject+": "+f.Reason {
			t.Errorf("finding %q of subject %q, want its certificate named", f, f.Subject)
		}
	}

	policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
	policy.Revocation.CRLs = []*x509.RevocationList{
		revoking(t, p.Issuing, p.ECDSA), revoking(t, p.Root, p.Issuing), revoking(t, p.TSARoot, p.TSA),
	}
	if signed, err = xmlsig.Verify(document, policy, now); err != nil {
		t.Fatal(err)
	}
	got := map[xmlsig.Class]int{}
	for _, f := range signed.Findings {
		if f.Check == xmlsig.CheckRevocation {
			got[f.Class]++
		}
	}
	if diff := cmp.Diff(map[xmlsig.Class]int{xmlsig.ClassRevoked: 2, xmlsig.ClassTimestamp: 1}, got); diff != "" {
		t.Errorf("revoked are the signer, its issuer and the time-stamping authority (-want +got):\n%s", diff)
	}
	policy.Levels.Revocation = xmlsig.LevelEnforce
	_, err = xmlsig.Verify(document, policy, now)
	wantClass(t, err, xmlsig.ClassTimestamp)
}

// TestNoLevelTouchesWhatTheContentRestsOn logs everything that can be logged, and attacks the rest.
func TestNoLevelTouchesWhatTheContentRestsOn(t *testing.T) {
	p := testPKI(t)
	foreign, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(options ...pki.Option) *pki.Identity {
		id, err := p.Issuing.Issue("Example Mitigation Signing", append([]pki.Option{pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	expired := issue(pki.Validity(now.AddDate(-2, 0, 0), now.AddDate(0, 0, -1)))
	stampedAt := func(moment int) func(*xmlsig.SignOptions) {
		return func(o *xmlsig.SignOptions) {
			o.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now.AddDate(0, 0, moment)) }
		}
	}
	genuine := sign(t, content, p.ECDSA, nil)
	cases := map[string]struct {
		document []byte
		want     xmlsig.Class
	}{
		"a foreign root":                  {sign(t, content, foreign.ECDSA, nil), xmlsig.ClassUntrusted},
		"an expired signer":               {sign(t, content, expired, nil), xmlsig.ClassUntrusted},
		"a time-stamp after the signer":   {sign(t, content, expired, stampedAt(0)), xmlsig.ClassTimestamp},
		"a signer without codeSigning":    {sign(t, content, issue(pki.Usages(otherUsage)), nil), xmlsig.ClassCertificate},
		"a signer for any purpose":        {sign(t, content, issue(pki.AnyUsage()), nil), xmlsig.ClassCertificate},
		"a weak key":                      {sign(t, content, issue(pki.Key(pki.RSA1024)), nil), xmlsig.ClassCertificate},
		"changed content":                 {replaceOnce(t, genuine, "<Empty/>", "<Changed/>"), xmlsig.ClassDigest},
		"a changed SignedInfo":            {replaceOnce(t, genuine, `URI=""`, `URI="#eocs"`), xmlsig.ClassSignature},
		"two signatures":                  {replaceOnce(t, genuine, "</EOCS>", part(t, genuine, "<Signature", "</Signature>")+"</EOCS>"), xmlsig.ClassShape},
		"a KeyValue that is not the leaf": {replaceOnce(t, genuine, "<KeyInfo>", "<KeyInfo>"+part(t, sign(t, content, p.RSA, func(o *xmlsig.SignOptions) { o.KeyValue = true }), "<KeyValue>", "</KeyValue>")), xmlsig.ClassCertificate},
	}
	policy := policyOf(p)
	policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
	for _, check := range checks {
		failing(t, p, &policy, check)
	}
	set(&policy.Levels, xmlsig.LevelLog, checks...)
	if _, err := xmlsig.Verify(genuine, policy, now); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := xmlsig.Verify(tc.document, policy, now)
			wantClass(t, err, tc.want)
		})
	}
}

func TestPreferNotesAMissingListWhateverTheLevel(t *testing.T) {
	p := testPKI(t)
	policy := policyOf(p)
	policy.Revocation.Mode, policy.Levels.Revocation = xmlsig.RevocationPrefer, xmlsig.LevelLog
	signed, err := xmlsig.Verify(sign(t, content, p.ECDSA, nil), policy, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(signed.Notes) != 2 || len(signed.Findings) != 0 {
		t.Errorf("notes %q and findings %v, want two notes alone: nothing would have been refused", signed.Notes, signed.Findings)
	}
}

// TestLogAcceptsExactlyWhatLeavingTheCheckOutAccepts compares both for each set of checks, on documents of all kinds.
func TestLogAcceptsExactlyWhatLeavingTheCheckOutAccepts(t *testing.T) {
	p := testPKI(t)
	foreign, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	stamped := func(by *pki.Identity) func(*xmlsig.SignOptions) {
		return func(o *xmlsig.SignOptions) {
			o.Timestamper = func(value []byte) ([]byte, error) { return by.Timestamp(value, now) }
		}
	}
	genuine := sign(t, content, p.ECDSA, nil)
	documents := map[string][]byte{
		"genuine":                       genuine,
		"another signer":                sign(t, content, p.RSA, nil),
		"counter-signed":                sign(t, content, p.ECDSA, stamped(p.TSA)),
		"counter-signed by an outsider": sign(t, content, p.ECDSA, stamped(foreign.TSA)),
		"a foreign root":                sign(t, content, foreign.ECDSA, nil),
		"changed":                       replaceOnce(t, genuine, "<Empty/>", "<Changed/>"),
	}
	revoked := []*x509.RevocationList{revoking(t, p.Issuing, p.ECDSA), revoking(t, p.TSARoot, p.TSA)}
	accepted := 0
	for chosen := range 1 << len(checks) {
		logged, without := policyOf(p), policyOf(p)
		logged.TimestampRoots, without.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}, []*x509.Certificate{p.TSARoot.Certificate}
		for i, check := range checks {
			failing(t, p, &logged, check)
			if chosen&(1<<i) != 0 {
				set(&logged.Levels, xmlsig.LevelLog, check)
				continue
			}
			failing(t, p, &without, check)
		}
		logged.Revocation.CRLs = revoked
		if without.Revocation.Mode != "" {
			without.Revocation.CRLs = revoked
		}
		for name, document := range documents {
			got, gotErr := xmlsig.Verify(document, logged, now)
			want, wantErr := xmlsig.Verify(document, without, now)
			if (gotErr == nil) != (wantErr == nil) {
				t.Errorf("%s, levels %+v: %v with Log, %v without the checks", name, logged.Levels, gotErr, wantErr)
				continue
			}
			if gotErr != nil {
				if gotErr.Error() != wantErr.Error() {
					t.Errorf("%s, levels %+v: refused with %q, want %q", name, logged.Levels, gotErr, wantErr)
				}
				continue
			}
			accepted++
			if got.Digest != want.Digest || !got.SignedAt.Equal(want.SignedAt) || len(want.Findings) != 0 {
				t.Errorf("%s, levels %+v: another digest or time, or findings of checks that are not there: %v", name, logged.Levels, want.Findings)
			}
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted: the comparison says nothing")
	}
}
