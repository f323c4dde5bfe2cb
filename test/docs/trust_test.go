package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// feedManifest is what the tests need of a MitigationFeed. The trust policy of the API has the form of the agent's file.
type feedManifest struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct{ Trust trust.Policy }
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)\n```$")

func readFeed(t *testing.T, manifest string) feedManifest {
	t.Helper()
	var feed feedManifest
	if err := yaml.Unmarshal([]byte(manifest), &feed); err != nil {
		t.Fatal(err)
	}
	if feed.Kind != "MitigationFeed" {
		t.Fatalf("the manifest is a %q, want a MitigationFeed", feed.Kind)
	}
	return feed
}

// TestTrustOfSamplesCanBeUsed makes sure that what samples trust is made of real certificates: the API server looks for
// no more than the first line of a PEM block.
func TestTrustOfSamplesCanBeUsed(t *testing.T) {
	manifests := map[string]string{
		"the sample for Exchange": readFile(t, "config", "samples", "mitigationfeed_exchange.yaml"),
		"the feed of the GitOps":  readFile(t, "config", "samples", "gitops", "organisation", "mitigationfeed.yaml"),
		"the example of the page": yamlBlock.FindStringSubmatch(page(t, "mitigationfeed.md"))[1],
	}
	for name, manifest := range manifests {
		t.Run(name, func(t *testing.T) {
			policy, err := readFeed(t, manifest).Spec.Trust.Compile()
			if err != nil {
				t.Fatal(err)
			}
			if len(policy.Roots) == 0 {
				t.Error("no root was read")
			}
		})
	}
}

// TestTrustFileOfTheDocumentCanBeRead reads the trust file that the page of PoolServer shows.
func TestTrustFileOfTheDocumentCanBeRead(t *testing.T) {
	found := 0
	for _, block := range yamlBlock.FindAllStringSubmatch(page(t, "poolserver.md"), -1) {
		if !strings.HasPrefix(block[1], "apiVersion: "+trust.APIVersion) {
			continue
		}
		found++
		file, err := trust.ParseFile([]byte(block[1]))
		if err != nil {
			t.Fatal(err)
		}
		for name, policy := range file.Feeds {
			if _, err := policy.Compile(); err != nil {
				t.Errorf("feed %q: %v", name, err)
			}
		}
	}
	if found != 1 {
		t.Errorf("the page shows %d trust files, want 1", found)
	}
}

// TestSampleForExchangeTrustsTheRealDocument checks what the comment of the sample claims, on the document that it speaks
// of. The document is not part of the repository.
func TestSampleForExchangeTrustsTheRealDocument(t *testing.T) {
	corpus := os.Getenv("EMS_TESTDATA")
	if corpus == "" {
		t.Skip("EMS_TESTDATA is not set: it names the folder with the corpus of real files")
	}
	document, err := os.ReadFile(filepath.Join(corpus, "ocs", "exchange-ping1-2021-09-15.xml"))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := readFeed(t, readFile(t, "config", "samples", "mitigationfeed_exchange.yaml")).Spec.Trust.Compile()
	if err != nil {
		t.Fatal(err)
	}
	// Years after the signer's certificate expired, so that it is the counter-signature that carries it.
	signed, err := xmlsig.Verify(document, policy, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2021, 9, 15, 16, 42, 8, 0, time.UTC); !signed.SignedAt.Truncate(time.Second).Equal(want) {
		t.Errorf("the document was signed at %s, want %s", signed.SignedAt, want)
	}
}
