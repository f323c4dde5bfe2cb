package trust_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

var (
	now     = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	fixture = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })
)

func testPKI(tb testing.TB) *pki.PKI {
	tb.Helper()
	p, err := fixture()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func listPEM(tb testing.TB, issuer *pki.Identity, to time.Time) string {
	tb.Helper()
	list, err := issuer.RevocationList(now.Add(-time.Hour), to)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw}))
}

// full uses every field.
func full(tb testing.TB, p *pki.PKI) trust.Policy {
	tb.Helper()
	pin := sha256.Sum256(p.Issuing.Certificate.RawSubjectPublicKeyInfo)
	return trust.Policy{
		Roots:             "# the root\n" + string(p.Root.PEM()) + "\n\n" + string(p.TSARoot.PEM()),
		IssuerPins:        []string{hex.EncodeToString(pin[:])},
		Subject:           &trust.Subject{Organization: "Contoso", CommonName: "Example Mitigation Signing"},
		ExtendedKeyUsages: []string{pki.PrivateUsage.String()},
		TimestampRoots:    string(p.TSARoot.PEM()),
		Revocation: &trust.Revocation{
			Mode:          xmlsig.RevocationRequire,
			CRLs:          listPEM(tb, p.Issuing, now.Add(time.Hour)) + listPEM(tb, p.Root, now.Add(time.Hour)),
			MaxAgeSeconds: 7200,
		},
		UndatedDocuments: trust.AcceptUndated,
		Levels: &trust.Levels{
			IssuerPins: xmlsig.LevelLog, Subject: xmlsig.LevelEnforce, ExtendedKeyUsages: xmlsig.LevelLog, Revocation: xmlsig.LevelEnforce,
		},
	}
}

func fileOf(tb testing.TB, feeds map[string]trust.Policy) []byte {
	tb.Helper()
	content, err := yaml.Marshal(trust.File{APIVersion: trust.APIVersion, Feeds: feeds})
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

func TestAFileVerifiesADocument(t *testing.T) {
	p := testPKI(t)
	file, err := trust.ParseFile(fileOf(t, map[string]trust.Policy{"contoso": full(t, p), "other": {Roots: string(p.TSARoot.PEM())}}))
	if err != nil {
		t.Fatal(err)
	}
	document, err := xmlsig.Sign([]byte(`<EOCS version="1.1"/>`), xmlsig.SignOptions{
		Key: p.ECDSA.Key, Certificates: p.ECDSA.Chain(),
		Timestamper: func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for feed, wantTrusted := range map[string]bool{"contoso": true, "other": false} {
		policy, err := file.Feeds[feed].Compile()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := xmlsig.Verify(document, policy, now); (err == nil) != wantTrusted {
			t.Errorf("feed %s: %v, want trusted: %t", feed, err, wantTrusted)
		}
	}
	if !file.Feeds["contoso"].AcceptsUndated() || file.Feeds["other"].AcceptsUndated() {
		t.Error("undated documents: want accepted by contoso and refused by default")
	}
}

func TestCompileKeepsEveryField(t *testing.T) {
	p := testPKI(t)
	compiled, err := full(t, p).Compile()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"roots":    fmt.Sprint(len(compiled.Roots), compiled.Roots[0].Equal(p.Root.Certificate)),
		"pins":     fmt.Sprint(len(compiled.IssuerPins), compiled.IssuerPins[0] == sha256.Sum256(p.Issuing.Certificate.RawSubjectPublicKeyInfo)),
		"subject":  compiled.Organization + "/" + compiled.CommonName,
		"usages":   fmt.Sprint(compiled.ExtendedKeyUsages),
		"tsa":      fmt.Sprint(len(compiled.TimestampRoots), compiled.TimestampRoots[0].Equal(p.TSARoot.Certificate)),
		"mode":     string(compiled.Revocation.Mode),
		"lists":    fmt.Sprint(len(compiled.Revocation.CRLs)),
		"greatest": compiled.Revocation.MaxAge.String(),
		"levels":   fmt.Sprint([]xmlsig.Level{compiled.Levels.IssuerPins, compiled.Levels.Subject, compiled.Levels.ExtendedKeyUsages, compiled.Levels.Revocation}),
	}
	want := map[string]string{
		"roots": "2 true", "pins": "1 true", "subject": "Contoso/Example Mitigation Signing", "usages": "[" + pki.PrivateUsage.String() + "]",
		"tsa": "1 true", "mode": "Require", "lists": "2", "greatest": "2h0m0s",
		"levels": "[Log Enforce Log Enforce]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("compiled policy (-want +got):\n%s", diff)
	}
}

func TestParseFileRefuses(t *testing.T) {
	p := testPKI(t)
	root := string(p.Root.PEM())
	indented := "      " + strings.ReplaceAll(strings.TrimSpace(root), "\n", "\n      ") + "\n"
	valid := "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  contoso:\n    roots: |\n" + indented
	if _, err := trust.ParseFile([]byte(valid)); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		file string
		want string
	}{
		"nothing":                        {"", "apiVersion"},
		"no YAML":                        {"{", "trust file"},
		"another version":                {strings.Replace(valid, "trust/v1", "trust/v2", 1), `apiVersion: "ems.mitigation.dev/trust/v2"`},
		"no feeds":                       {"apiVersion: ems.mitigation.dev/trust/v1\n", "feeds: none"},
		"an unknown field":               {valid + "    issuerPin: [aa]\n", "issuerPin"},
		"an unknown field at the top":    {valid + "extra: 1\n", "extra"},
		"a field of another case":        {valid + "    issuerpins: [aa]\n", "issuerpins"},
		"a feed twice":                   {valid + "  contoso:\n    roots: |\n" + indented, "contoso"},
		"a feed that is no name":         {strings.Replace(valid, "contoso", "Contoso Feed", 1), `feed "Contoso Feed": not the name`},
		"a wrong feed, named":            {valid + "  fabrikam: {roots: x}\n", `feed "fabrikam": roots: text that is not PEM`},
		"a file that is too large":       {valid + strings.Repeat("#", trust.MaxFileBytes), "at most 262144"},
		"more feeds than allowed":        {"apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n" + manyFeeds(65), "feeds: 65: at most 64"},
		"many wrong feeds, all reported": {"apiVersion: ems.mitigation.dev/trust/v1\nfeeds: {a: {roots: x}, b: {roots: z}}", `feed "b"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := trust.ParseFile([]byte(tc.file))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func manyFeeds(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "  f%d: {roots: x}\n", i)
	}
	return b.String()
}

func TestRequireCompilesWithoutListsSinceTheyMayComeFromTheCluster(t *testing.T) {
	policy := trust.Policy{Roots: string(testPKI(t).Root.PEM()), Revocation: &trust.Revocation{Mode: xmlsig.RevocationRequire}}
	compiled, err := policy.Compile()
	if err != nil || compiled.Revocation.Mode != xmlsig.RevocationRequire {
		t.Errorf("mode = %q, %v, want Require", compiled.Revocation.Mode, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	p := testPKI(t)
	root := string(p.Root.PEM())
	weak, err := pki.NewRoot("Weak root", pki.Authority(), pki.Key(pki.RSA1024))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(root, "\n")
	damaged := strings.Join(slices.Concat(lines[:2], []string{"!!!!"}, lines[2:]), "\n")
	cases := map[string]struct {
		change func(*trust.Policy)
		want   string
	}{
		"no roots":                         {func(p *trust.Policy) { p.Roots = "" }, "roots: no certificate"},
		"only comments as roots":           {func(p *trust.Policy) { p.Roots = "# none\n#" }, "roots: no certificate"},
		"text in front of a root":          {func(p *trust.Policy) { p.Roots = "x\n" + root }, "roots: text that is not PEM in front of block 1"},
		"text behind a root":               {func(p *trust.Policy) { p.Roots = root + "x" }, "in front of block 2"},
		"a damaged root behind a good one": {func(p *trust.Policy) { p.Roots = root + damaged }, "roots: block 2: not valid PEM"},
		"a damaged root before a good one": {func(p *trust.Policy) { p.Roots = damaged + root }, "roots: block 1: not valid PEM"},
		"a root without its end":           {func(p *trust.Policy) { p.Roots = root + strings.Join(lines[:3], "\n") }, "roots: block 2 has no end"},
		"a root without its end, and more": {func(p *trust.Policy) { p.Roots = strings.Join(lines[:3], "\n") + "\n" + root }, "roots: block 1: not valid PEM"},
		"a private key as root":            {func(p *trust.Policy) { p.Roots = strings.ReplaceAll(root, "CERTIFICATE", "PRIVATE KEY") }, `roots: block 1: type "PRIVATE KEY"`},
		"a root that is no certificate":    {func(p *trust.Policy) { p.Roots = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, "roots: certificate 1"},
		"a leaf as root":                   {func(policy *trust.Policy) { policy.Roots = root + string(p.RSA.PEM()) }, `roots: certificate 2 ("CN=Example Mitigation Signing RSA,O=Contoso"): not a certification authority`},
		"a weak root":                      {func(p *trust.Policy) { p.Roots = string(weak.PEM()) }, `("CN=Weak root,O=Contoso"): RSA key of 1024 bits`},
		"a root twice":                     {func(p *trust.Policy) { p.Roots = root + root }, "repeated"},
		"more roots than allowed":          {func(p *trust.Policy) { p.Roots = strings.Repeat(root, 33) }, "roots: more than 32 blocks"},
		"a leaf as time-stamping root":     {func(policy *trust.Policy) { policy.TimestampRoots = string(p.TSA.PEM()) }, "timestampRoots: certificate 1"},
		"a pin that is too short":          {func(p *trust.Policy) { p.IssuerPins = []string{strings.Repeat("a", 62)} }, "issuerPins: pin 1"},
		"a pin that is not hexadecimal":    {func(p *trust.Policy) { p.IssuerPins = []string{strings.Repeat("g", 64)} }, "issuerPins: pin 1"},
		"more pins than allowed":           {func(p *trust.Policy) { p.IssuerPins = make([]string, 33) }, "issuerPins: 33: at most 32"},
		"a usage that is a name":           {func(p *trust.Policy) { p.ExtendedKeyUsages = []string{"codeSigning"} }, `extendedKeyUsages: usage 1: "codeSigning"`},
		"a usage with a leading zero":      {func(p *trust.Policy) { p.ExtendedKeyUsages = []string{"1.02"} }, "extendedKeyUsages: usage 1"},
		"a usage of one arc":               {func(p *trust.Policy) { p.ExtendedKeyUsages = []string{"1"} }, "extendedKeyUsages: usage 1"},
		"a usage of no arc":                {func(p *trust.Policy) { p.ExtendedKeyUsages = []string{"3.1"} }, "no such arc"},
		"an unknown mode":                  {func(p *trust.Policy) { p.Revocation = &trust.Revocation{Mode: "require"} }, `revocation: mode: "require"`},
		"a negative age":                   {func(p *trust.Policy) { p.Revocation = &trust.Revocation{MaxAgeSeconds: -1} }, "maxAgeSeconds: -1"},
		"an age that overflows":            {func(p *trust.Policy) { p.Revocation = &trust.Revocation{MaxAgeSeconds: 1 << 62} }, "maxAgeSeconds"},
		"a certificate as list":            {func(p *trust.Policy) { p.Revocation = &trust.Revocation{CRLs: root} }, `revocation: crls: block 1: type "CERTIFICATE"`},
		"a damaged list": {func(p *trust.Policy) {
			p.Revocation = &trust.Revocation{CRLs: "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"}
		}, "revocation: crls: list 1"},
		"an unknown level": {func(p *trust.Policy) {
			p.IssuerPins, p.Levels = []string{strings.Repeat("a", 64)}, &trust.Levels{IssuerPins: "log"}
		}, `levels: issuerPins: "log": want "Enforce" or "Log"`},
		"a level of issuer pins without pins":    {func(p *trust.Policy) { p.Levels = &trust.Levels{IssuerPins: xmlsig.LevelLog} }, `levels: issuerPins: "Log": there is no check to have a level: the policy has no issuerPins`},
		"a level of the subject without one":     {func(p *trust.Policy) { p.Levels = &trust.Levels{Subject: xmlsig.LevelEnforce} }, `levels: subject: "Enforce"`},
		"a level of a subject that says nothing": {func(p *trust.Policy) { p.Subject, p.Levels = &trust.Subject{}, &trust.Levels{Subject: xmlsig.LevelLog} }, "levels: subject"},
		"a level of usages without usages":       {func(p *trust.Policy) { p.Levels = &trust.Levels{ExtendedKeyUsages: xmlsig.LevelLog} }, "levels: extendedKeyUsages"},
		"a level of revocation without it":       {func(p *trust.Policy) { p.Levels = &trust.Levels{Revocation: xmlsig.LevelLog} }, "levels: revocation"},
		"a level of revocation that is not looked at": {func(p *trust.Policy) {
			p.Revocation, p.Levels = &trust.Revocation{Mode: xmlsig.RevocationOff}, &trust.Levels{Revocation: xmlsig.LevelLog}
		}, "the policy has no revocation with mode Prefer or Require"},
		"several wrong levels, all reported": {func(p *trust.Policy) {
			p.Levels = &trust.Levels{IssuerPins: xmlsig.LevelLog, Revocation: xmlsig.LevelLog}
		}, "levels: revocation"},
		"a jump to a negative sequence":     {func(p *trust.Policy) { p.AcceptSequence = -1 }, "acceptSequence: -1"},
		"an unknown answer to undated ones": {func(p *trust.Policy) { p.UndatedDocuments = "accept" }, `undatedDocuments: "accept"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := trust.Policy{Roots: root}
			if _, err := policy.Compile(); err != nil {
				t.Fatal(err)
			}
			tc.change(&policy)
			compiled, err := policy.Compile()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			if len(compiled.Roots) != 0 {
				t.Error("an error and a policy")
			}
		})
	}
}

// FuzzParseFile looks for panics, and for files whose policies then do not compile.
func FuzzParseFile(f *testing.F) {
	p, err := pki.NewFixed(now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fileOf(f, map[string]trust.Policy{"contoso": full(f, p)}))
	f.Add([]byte("apiVersion: ems.mitigation.dev/trust/v1\nfeeds: {a: {roots: x}}"))
	for _, levels := range []trust.Levels{{Subject: xmlsig.LevelLog}, {IssuerPins: "log"}, {Revocation: xmlsig.LevelLog, ExtendedKeyUsages: xmlsig.LevelEnforce}} {
		policy := full(f, p)
		policy.Levels = &levels
		f.Add(fileOf(f, map[string]trust.Policy{"contoso": policy}))
		f.Add(fileOf(f, map[string]trust.Policy{"contoso": {Roots: policy.Roots, Levels: &levels}}))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := trust.ParseFile(content)
		if err != nil {
			return
		}
		for name, policy := range file.Feeds {
			compiled, err := policy.Compile()
			if err != nil || len(compiled.Roots) == 0 {
				t.Fatalf("feed %q of an accepted file does not compile: %v", name, err)
			}
			for check, l := range map[string]struct {
				level      xmlsig.Level
				configured bool
			}{
				"issuerPins":        {compiled.Levels.IssuerPins, len(compiled.IssuerPins) > 0},
				"subject":           {compiled.Levels.Subject, compiled.Organization+compiled.CommonName != ""},
				"extendedKeyUsages": {compiled.Levels.ExtendedKeyUsages, len(compiled.ExtendedKeyUsages) > 0},
				"revocation":        {compiled.Levels.Revocation, policy.Revocation != nil && compiled.Revocation.Mode != xmlsig.RevocationOff},
			} {
				if l.level != "" && !l.configured || l.level != "" && l.level != xmlsig.LevelEnforce && l.level != xmlsig.LevelLog {
					t.Fatalf("feed %q of an accepted file has level %q of %s, configured: %t", name, l.level, check, l.configured)
				}
			}
		}
	})
}

// TestALoggedCheckOfAFileAccepts goes the whole way from the file to the finding.
func TestALoggedCheckOfAFileAccepts(t *testing.T) {
	p := testPKI(t)
	document, err := xmlsig.Sign([]byte(`<EOCS version="1.1"/>`), xmlsig.SignOptions{Key: p.ECDSA.Key, Certificates: p.ECDSA.Chain()})
	if err != nil {
		t.Fatal(err)
	}
	for level, wantFindings := range map[xmlsig.Level]int{xmlsig.LevelLog: 1, xmlsig.LevelEnforce: 0} {
		file, err := trust.ParseFile(fileOf(t, map[string]trust.Policy{"contoso": {
			Roots: string(p.Root.PEM()), Subject: &trust.Subject{Organization: "Fabrikam"}, Levels: &trust.Levels{Subject: level},
		}}))
		if err != nil {
			t.Fatal(err)
		}
		policy, err := file.Feeds["contoso"].Compile()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := xmlsig.Verify(document, policy, now)
		if (err == nil) != (wantFindings > 0) {
			t.Fatalf("level %s: %v", level, err)
		}
		if err == nil && len(signed.Findings) != wantFindings {
			t.Errorf("level %s: findings %v, want %d", level, signed.Findings, wantFindings)
		}
	}
}

func TestAFindingNamesItsFeed(t *testing.T) {
	f := trust.Finding{Feed: "contoso", Finding: xmlsig.Finding{Check: xmlsig.CheckSubject, Subject: "certificate X", Reason: "another name"}}
	if got, want := f.String(), "feed contoso: subject: certificate X: another name"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	f.Feed = ""
	if got, want := f.String(), "subject: certificate X: another name"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}
