package publish

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

func TestWhatIsSignedIsWhatWasWritten(t *testing.T) {
	p := testKeys(t)
	for name, signer := range map[string]*pki.Identity{"RSA": p.RSA, "ECDSA": p.ECDSA} {
		t.Run(name, func(t *testing.T) {
			document, report, err := Sign(request(t, signer))
			if err != nil {
				t.Fatal(err)
			}
			if !report.Valid || report.Sequence != 7 || report.Signer.Subject != signer.Certificate.Subject.String() {
				t.Errorf("report = %+v", report)
			}
			// Sign has verified it. The canonical form writes empty elements in another way, so this reads the document itself.
			got, signed, err := ReadUnverified(document)
			if err != nil || !signed {
				t.Fatalf("signed %t, error %v", signed, err)
			}
			if got.Publisher != "Contoso" || !got.Issued.Equal(now) || !got.Expires.Equal(now.Add(time.Hour)) || len(got.Configs) != 3 {
				t.Errorf("document = %+v", got)
			}
			for i, m := range sampleMitigations(t) {
				if got.Configs[i].ID != m.Config.ID || !bytes.Equal(got.Configs[i].Actions[0].Rewrite, m.Config.Actions[0].Rewrite) {
					t.Errorf("Config %d = %+v, want %+v", i, got.Configs[i], m.Config)
				}
			}
		})
	}
}

func TestNothingIsHandedOutThatServersWouldRefuse(t *testing.T) {
	p := testKeys(t)
	wrongUsage, err := p.Issuing.Issue("No code signing", pki.Usages(pki.PrivateUsage), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*SignRequest)
		want   string
	}{
		"no sequence":                     {func(r *SignRequest) { r.Sequence = 0 }, "sequence: 0"},
		"no lifetime":                     {func(r *SignRequest) { r.Lifetime = time.Millisecond }, "lifetime: 1ms"},
		"a mitigation that breaks a rule": {func(r *SignRequest) { r.Mitigations[0].Config.Severity = "Bad" }, "document: invalid document"},
		"a key of another certificate":    {func(r *SignRequest) { r.Key = p.RSA.Key }, "none belongs to the key"},
		"a signer that the policy does not trust": {
			func(r *SignRequest) { r.Policy.Roots = []*x509.Certificate{p.TSARoot.Certificate} }, "own result: refused: xml signature: signer not trusted",
		},
		"a certificate for another purpose": {
			func(r *SignRequest) { r.Key, r.Certificates = wrongUsage.Key, wrongUsage.Chain() }, "extended key usage 1.3.6.1.5.5.7.3.3 is missing",
		},
		"an expired certificate": {func(r *SignRequest) { r.Issued = now.AddDate(2, 0, 0) }, "is valid from"},
		"a counter-signature that nobody would look at": {
			func(r *SignRequest) {
				r.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now) }
			}, "the counter-signature is not accepted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, p.ECDSA)
			tc.change(&r)
			document, _, err := Sign(r)
			expectError(t, err, tc.want)
			if document != nil {
				t.Error("a document was handed out")
			}
		})
	}
}

func TestNextSequence(t *testing.T) {
	p := testKeys(t)
	for name, tc := range map[string]struct {
		previous  []byte
		policy    Policy
		at        time.Time
		want      int64
		wantError []string
	}{
		"counts on":                       {previous: signedDocument(t, nil), policy: rootPolicy(t), at: now, want: 8},
		"counts on from an expired one":   {previous: signedDocument(t, nil), policy: rootPolicy(t), at: now.AddDate(0, 1, 0), want: 8},
		"refuses a changed document":      {previous: bytes.Replace(signedDocument(t, nil), []byte(`sequence="7"`), []byte(`sequence="9"`), 1), policy: rootPolicy(t), at: now, wantError: []string{"previous document: refused", "digest mismatch"}},
		"refuses another signer":          {previous: signedDocument(t, nil), policy: Policy{Policy: xmlsig.Policy{Roots: []*x509.Certificate{p.TSARoot.Certificate}}}, at: now, wantError: []string{"signer not trusted"}},
		"refuses when numbers have ended": {previous: signedDocument(t, func(r *SignRequest) { r.Sequence = math.MaxInt64 }), policy: rootPolicy(t), at: now, wantError: []string{"the last there is"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NextSequence(tc.previous, tc.policy, tc.at)
			expectError(t, err, tc.wantError...)
			if got != tc.want {
				t.Errorf("sequence = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	p := testKeys(t)
	unreadable, err := xmlsig.Sign([]byte(`<EOCS version="2.0" ID="eocs"/>`), xmlsig.SignOptions{Key: p.ECDSA.Key, Certificates: p.ECDSA.Chain()})
	if err != nil {
		t.Fatal(err)
	}
	undated, err := xmlsig.Sign([]byte(`<EOCS version="1.0.4"/>`), xmlsig.SignOptions{Key: p.ECDSA.Key, Certificates: p.ECDSA.Chain()})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		document                 []byte
		at                       time.Time
		acceptUndated            bool
		wantClass                string
		wantSigner, wantSequence bool
	}{
		"a good document":                       {document: signedDocument(t, nil), at: now, wantSigner: true, wantSequence: true},
		"one that has expired":                  {document: signedDocument(t, nil), at: now.Add(2 * time.Hour), wantClass: string(replay.Expired), wantSigner: true, wantSequence: true},
		"one from the future":                   {document: signedDocument(t, nil), at: now.Add(-time.Hour), wantClass: string(replay.NotYetValid), wantSigner: true, wantSequence: true},
		"one without a date":                    {document: undated, at: now, wantClass: string(replay.Undated), wantSigner: true},
		"one without a date that may have none": {document: undated, at: now, acceptUndated: true, wantSigner: true},
		"one that this software cannot read":    {document: unreadable, at: now, wantClass: ClassContent, wantSigner: true},
		"one that was changed":                  {document: bytes.Replace(signedDocument(t, nil), []byte("powershell"), []byte("p0wershell"), 1), at: now, wantClass: string(xmlsig.ClassDigest)},
		"no XML at all":                         {document: []byte("<html>"), at: now, wantClass: string(xmlsig.ClassMalformed)},
	} {
		t.Run(name, func(t *testing.T) {
			policy := rootPolicy(t)
			policy.AcceptUndated = tc.acceptUndated
			got := Judge(tc.document, policy, tc.at)
			if got.Class != tc.wantClass || got.Valid != (tc.wantClass == "") || (got.Reason == "") != got.Valid {
				t.Errorf("valid %t, class %q, reason %q, want class %q", got.Valid, got.Class, got.Reason, tc.wantClass)
			}
			if (got.Signer != nil) != tc.wantSigner || (got.Sequence != 0) != tc.wantSequence {
				t.Errorf("signer %v, sequence %d", got.Signer, got.Sequence)
			}
			var again Report
			if encoded, err := json.Marshal(got); err != nil || json.Unmarshal(encoded, &again) != nil || cmp.Diff(got, again) != "" {
				t.Errorf("JSON: %v, %s", err, cmp.Diff(got, again))
			}
			if text := got.Text(); strings.HasPrefix(text, "valid\n") != got.Valid || !strings.Contains(text, printable(got.Reason)) {
				t.Errorf("text = %q", text)
			}
		})
	}
}

func TestForeignTextCannotSteerATerminal(t *testing.T) {
	text := Report{Reason: "a\x1b[2J\nvalid\u202e"}.Text()
	if strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "\nvalid") {
		t.Errorf("text = %q", text)
	}
}

func TestXmlsecVerifiesWhatIsPublished(t *testing.T) {
	if _, err := exec.LookPath("xmlsec1"); err != nil {
		t.Skip("xmlsec1 is not on PATH")
	}
	p, folder := testKeys(t), t.TempDir()
	root := writeFile(t, folder, "root.pem", p.Root.PEM())
	for name, signer := range map[string]*pki.Identity{"RSA": p.RSA, "ECDSA": p.ECDSA} {
		t.Run(name, func(t *testing.T) {
			document, _, err := Sign(request(t, signer))
			if err != nil {
				t.Fatal(err)
			}
			file := writeFile(t, folder, name+".xml", document)
			out, err := exec.CommandContext(t.Context(), "xmlsec1", "--verify", "--trusted-pem", root, "--enabled-key-data", "x509",
				"--verification-time", now.Format("2006-01-02 15:04:05"), file).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
