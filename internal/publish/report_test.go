package publish

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/xmlsig"
)

func TestFindingsOfLoggedChecksAreReported(t *testing.T) {
	document := signedDocument(t, nil)
	policy := rootPolicy(t)
	policy.Organization, policy.IssuerPins = "Fabrikam", [][32]byte{{1}}
	policy.Levels = xmlsig.Levels{Subject: xmlsig.LevelLog, IssuerPins: xmlsig.LevelLog}
	report := Judge(document, policy, now)
	if !report.Valid || len(report.Findings) != 2 {
		t.Fatalf("report %+v, want a valid document with two findings", report)
	}
	text := report.Text()
	for _, want := range []string{
		`Logged:      subject, refused once its level is Enforce: certificate "`, `organization is not exactly "Fabrikam"`,
		"Logged:      issuerPins, refused once its level is Enforce: ", "is not pinned",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("text lacks %q:\n%s", want, text)
		}
	}
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Findings []map[string]string `json:"findings"`
	}
	if err := json.Unmarshal(encoded, &read); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"check": "subject", "class": "signer not trusted", "subject": report.Findings[0].Subject, "reason": `organization is not exactly "Fabrikam"`}
	if diff := cmp.Diff(want, read.Findings[0]); diff != "" {
		t.Errorf("finding in JSON (-want +got):\n%s", diff)
	}

	policy.Levels.Subject = xmlsig.LevelEnforce
	if report := Judge(document, policy, now); report.Valid || report.Class != string(xmlsig.ClassUntrusted) {
		t.Errorf("report %+v, want the document refused for its subject", report)
	}
}
