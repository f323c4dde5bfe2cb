package publish

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

var (
	now  = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	keys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })
)

func testKeys(t testing.TB) *pki.PKI {
	t.Helper()
	p, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// samplesFolder has the mitigations that the guide starts from.
const samplesFolder = "../../config/samples/publish/mitigations"

func sampleMitigations(t testing.TB) []Source {
	t.Helper()
	mitigations, err := ReadDirectory(os.DirFS(samplesFolder))
	if err != nil {
		t.Fatal(err)
	}
	return mitigations
}

func rootPolicy(t testing.TB) Policy {
	t.Helper()
	return Policy{Policy: xmlsig.Policy{Roots: []*x509.Certificate{testKeys(t).Root.Certificate}}}
}

func request(t testing.TB, signer *pki.Identity) SignRequest {
	t.Helper()
	return SignRequest{
		Mitigations: sampleMitigations(t), Publisher: "Contoso", Sequence: 7, Issued: now, Lifetime: time.Hour,
		Key: signer.Key, Certificates: signer.Chain(), Policy: rootPolicy(t),
	}
}

func signedDocument(t testing.TB, change func(*SignRequest)) []byte {
	t.Helper()
	r := request(t, testKeys(t).ECDSA)
	if change != nil {
		change(&r)
	}
	document, _, err := Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func writeFile(t *testing.T, folder, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func privateKeyPEM(t *testing.T, id *pki.Identity) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// expectError checks that an error says all of want; none if want is empty.
func expectError(t *testing.T, err error, want ...string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("error = %v, want none", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	if !slices.ContainsFunc(want, func(s string) bool { return s != "" }) {
		t.Fatal("the test expects nothing")
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error = %q, want it to contain %q", err, text)
		}
	}
}

func rule(pattern, action string) []byte {
	return []byte(`<rewrite><rules><rule name="r" stopProcessing="true"><match url=".*"/><conditions><add input="{REQUEST_URI}" pattern="` +
		pattern + `"/></conditions>` + action + `</rule></rules></rewrite>`)
}

const abort = `<action type="AbortRequest"/>`

// reviewed is a mitigation that Lint has nothing to say about.
func reviewed() ocs.Config {
	return ocs.Config{
		ID: "M9", Description: "Blocks evil", Severity: ocs.SeverityLow, CVEs: []string{"CVE-2026-0001"},
		Applicability: []ocs.Product{{Name: ocs.ProductIIS}},
		Actions:       []ocs.Action{{Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Description: "Aborts evil", Rewrite: rule("evil", abort)}},
		Samples:       []ocs.Sample{{Expect: ocs.Blocked, URL: "/evil"}, {Expect: ocs.Passed, URL: "/good"}},
	}
}
