package trust_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func exchangePolicy(t *testing.T) trust.Policy {
	t.Helper()
	file, err := trust.ParseFile(read(t, "..", "..", "config", "trust", "microsoft-exchange.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	policy, ok := file.Feeds["exchange"]
	if !ok || len(file.Feeds) != 1 {
		t.Fatalf("the file has %d feeds, want exchange alone", len(file.Feeds))
	}
	return policy
}

// The certificates stand in two files, for the manager and for servers, and must not drift apart.
func TestTrustFileForExchangeIsThatOfTheSample(t *testing.T) {
	var sample struct {
		Metadata struct{ Name string }
		Spec     struct{ Trust trust.Policy }
	}
	if err := yaml.Unmarshal(read(t, "..", "..", "config", "samples", "mitigationfeed_exchange.yaml"), &sample); err != nil {
		t.Fatal(err)
	}
	if sample.Metadata.Name != "exchange" || sample.Spec.Trust.Roots == "" {
		t.Fatalf("the sample is of feed %q with roots %q, want exchange with roots", sample.Metadata.Name, sample.Spec.Trust.Roots)
	}
	if diff := cmp.Diff(sample.Spec.Trust, exchangePolicy(t)); diff != "" {
		t.Errorf("policies differ (-sample +trust file):\n%s", diff)
	}
}

// TestTrustFileForExchangeTrustsTheRealDocument needs a document that is not part of the repository.
func TestTrustFileForExchangeTrustsTheRealDocument(t *testing.T) {
	corpus := os.Getenv("EMS_TESTDATA")
	if corpus == "" {
		t.Skip("EMS_TESTDATA is not set: it names the folder with the corpus of real files")
	}
	policy, err := exchangePolicy(t).Compile()
	if err != nil {
		t.Fatal(err)
	}
	document := read(t, corpus, "ocs", "exchange-ping1-2021-09-15.xml")
	// Years after the signer's certificate expired, so that it is the counter-signature that carries it.
	signed, err := xmlsig.Verify(document, policy, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2021, 9, 15, 16, 42, 8, 0, time.UTC); !signed.SignedAt.Truncate(time.Second).Equal(want) {
		t.Errorf("the document was signed at %s, want %s", signed.SignedAt, want)
	}
}
