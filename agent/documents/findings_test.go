package documents

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/ocs"
)

// level makes the trust file want another subject, at the given level.
func (s *server) level(level string) {
	s.Helper()
	s.trust(s.keys.Root)
	content, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	s.write("trust.yaml", string(content)+"    subject: {organization: Fabrikam}\n    levels: {subject: "+level+"}\n")
}

func (s *server) findings() []string {
	var said []string
	for _, f := range s.store.Findings() {
		said = append(said, f.String())
	}
	return said
}

func TestFindings(t *testing.T) {
	for name, test := range map[string]func(*server){
		"a logged check lets a document pass, and what it found is there at every pass and after a restart": func(s *server) {
			s.level("Log")
			ref := s.publish(ocs.Document{Sequence: 1})
			for range 2 {
				s.wantUsable(ref)
				found := s.findings()
				if len(found) != 1 || !strings.HasPrefix(found[0], "feed contoso: subject: certificate ") || !strings.HasSuffix(found[0], `organization is not exactly "Fabrikam"`) {
					s.Fatalf("findings = %q, want one about the subject", found)
				}
			}
			s.restart()
			s.wantUsable(ref)
			if found := s.findings(); len(found) != 1 {
				s.Errorf("findings after a restart = %q, want one", found)
			}
		},
		"enforced, the same check refuses the document that was accepted before": func(s *server) {
			s.level("Log")
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			s.level("Enforce")
			s.wantRefused(ref, "Untrusted", `organization is not exactly "Fabrikam"`)
			if found := s.findings(); len(found) != 0 {
				s.Errorf("findings = %q in a document that is not in use", found)
			}
		},
		"a level of a check that is not there makes the trust file unusable": func(s *server) {
			s.level("Log")
			ref := s.publish(ocs.Document{Sequence: 1})
			s.trust(s.keys.Root)
			content, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
			if err != nil {
				s.Fatal(err)
			}
			s.write("trust.yaml", string(content)+"    levels: {subject: Log}\n")
			s.wantRefused(ref, "Untrusted", `feed "contoso": levels: subject: "Log"`)
		},
		"two documents of one signer have one finding": func(s *server) {
			s.level("Log")
			one, two := s.publish(ocs.Document{Sequence: 1}), s.publish(ocs.Document{Sequence: 2})
			s.load(one, two)
			if found := s.findings(); len(found) != 1 {
				s.Errorf("findings = %q, want one", found)
			}
			s.load(one, two)
			s.load()
			if found := s.findings(); len(found) != 0 {
				s.Errorf("findings = %q without documents in use", found)
			}
		},
		"a document that may not follow what was seen has no findings": func(s *server) {
			s.level("Log")
			s.wantUsable(s.publish(ocs.Document{Sequence: 5}))
			s.wantRefused(s.publish(ocs.Document{Sequence: 4}), enforce.ReasonSequenceRolledBack, "")
			if found := s.findings(); len(found) != 0 {
				s.Errorf("findings = %q in a document that is not in use", found)
			}
		},
		"a document is logged once": func(s *server) {
			s.level("Log")
			logged := 0
			s.store.Log = funcr.New(func(_, args string) {
				if strings.Contains(args, "Document fails checks that the trust file only logs") && strings.Contains(args, "Fabrikam") {
					logged++
				}
			}, funcr.Options{})
			ref := s.publish(ocs.Document{Sequence: 1})
			for range 3 {
				s.wantUsable(ref)
			}
			if logged != 1 {
				s.Errorf("logged %d times, want once", logged)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(newServer(t)) })
	}
}
