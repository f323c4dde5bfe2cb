package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/harness"
)

// given is a document that was not made here, and who is trusted to sign it.
type given struct {
	path     string
	document []byte
	// manifest is the file that the trust policy is from.
	manifest string
	trust    emsv1.TrustPolicy
}

// maxGiven is far above what the system accepts: how it refuses larger documents can be looked at.
const maxGiven = 16 << 20

func readGiven(o options, root string) (*given, error) {
	g := &given{path: o.document, manifest: o.feedWithTrust}
	if g.manifest == "" {
		g.manifest = filepath.Join(root, "config", "samples", "mitigationfeed_exchange.yaml")
	}
	info, err := os.Stat(g.path)
	if err != nil {
		return nil, fmt.Errorf("the document: %w", err)
	}
	if info.Size() > maxGiven {
		return nil, fmt.Errorf("the document: %s: %d bytes: at most %d", g.path, info.Size(), maxGiven)
	}
	if g.document, err = os.ReadFile(g.path); err != nil {
		return nil, fmt.Errorf("the document: %w", err)
	}
	content, err := os.ReadFile(g.manifest)
	if err != nil {
		return nil, fmt.Errorf("the feed whose trust policy counts: %w", err)
	}
	var feed emsv1.MitigationFeed
	if err := yaml.UnmarshalStrict(content, &feed); err != nil {
		return nil, fmt.Errorf("the feed whose trust policy counts: %s: %w", g.manifest, err)
	}
	g.trust = feed.Spec.Trust
	return g, nil
}

// verify looks at the document as the manager and the agents are going to.
func (g *given) verify(now time.Time) (*xmlsig.Signed, *ocs.Document, error) {
	// The policy of the API and that of the trust file have the same field names.
	content, err := yaml.Marshal(g.trust)
	if err != nil {
		return nil, nil, fmt.Errorf("trust policy: %w", err)
	}
	var policy trust.Policy
	if err := yaml.UnmarshalStrict(content, &policy); err != nil {
		return nil, nil, fmt.Errorf("trust policy: %w", err)
	}
	compiled, err := policy.Compile()
	if err != nil {
		return nil, nil, fmt.Errorf("trust policy: %w", err)
	}
	signed, err := xmlsig.Verify(g.document, compiled, now)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := ocs.Parse(signed.Canonical)
	return signed, parsed, err
}

func (s *story) serveGiven(ctx context.Context, g *given) error {
	s.chapter("The endpoint serves %s (%d bytes)", g.path, len(g.document))
	s.say("trusted is whom spec.trust of %s trusts", shorten(s.env, g.manifest))
	signed, parsed, err := g.verify(time.Now())
	if err != nil {
		s.say("this document does not verify here, so it should be refused: %v", err)
	} else {
		s.say("signer: %s", signed.Signer.Subject)
		s.say("root: %s", signed.Chain[len(signed.Chain)-1].Subject)
		if !signed.SignedAt.IsZero() {
			s.say("counter-signed: %s; the signer's certificate ended %s", signed.SignedAt.Format(time.RFC3339), signed.Signer.NotAfter.Format(time.DateOnly))
		}
		s.say("digest of what was signed: %s", hex.EncodeToString(signed.Digest[:]))
		s.say("version %s with %s", parsed.Version, idsOf(parsed))
	}
	s.env.Endpoint.Serve(g.document)
	if err := s.env.Apply(ctx, s.env.Feed(feedName, s.trust)); err != nil {
		return err
	}
	feed, err := s.judged(ctx)
	if err != nil {
		return err
	}
	ready := meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.ReadyCondition)
	s.check(ready, "feed %q: %s", feedName, harness.ReadyText(feed.Status.Conditions))
	if err := s.show(ctx, "get", "mitigationfeeds", "-o", "wide"); err != nil || !ready {
		return err
	}
	return s.followGiven(ctx, parsed)
}

// judged waits until the manager has made up its mind about the document.
func (s *story) judged(ctx context.Context) (*emsv1.MitigationFeed, error) {
	var feed emsv1.MitigationFeed
	err := harness.Wait(ctx, limit, "the feed to be judged", func(ctx context.Context) (bool, string) {
		if err := s.env.Client.Get(ctx, client.ObjectKey{Name: feedName}, &feed); err != nil {
			return false, err.Error()
		}
		conditions := feed.Status.Conditions
		judged := meta.IsStatusConditionTrue(conditions, emsv1.ReadyCondition) || meta.IsStatusConditionTrue(conditions, emsv1.StalledCondition)
		return judged, harness.ReadyText(conditions)
	})
	return &feed, err
}

// followGiven shows what becomes of the mitigations of an accepted document.
func (s *story) followGiven(ctx context.Context, parsed *ocs.Document) error {
	for _, config := range parsed.Configs {
		err := s.env.WaitForState(ctx, limit, s.servers, config.ID, emsv1.StateApplied)
		s.checkError(err, "%s is applied on %d of %d servers", config.ID, len(s.servers), len(s.servers))
	}
	if err := s.waitReady(ctx, "mitigations", ""); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "mitigations"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "poolservers", "-A", "-o", "wide"); err != nil {
		return err
	}
	if changesNothing(parsed) {
		s.checkFiles(s.start, "no file of any server changed, as these mitigations ask for")
	}
	return nil
}

func idsOf(document *ocs.Document) string {
	var ids []string
	for _, config := range document.Configs {
		var types []string
		for _, action := range config.Actions {
			types = append(types, string(action.Type))
		}
		ids = append(ids, fmt.Sprintf("%s (%s)", config.ID, strings.Join(types, ", ")))
	}
	return fmt.Sprintf("%d mitigations: %s", len(ids), strings.Join(ids, ", "))
}

func changesNothing(document *ocs.Document) bool {
	for _, config := range document.Configs {
		for _, action := range config.Actions {
			if action.Type != ocs.DoNothing {
				return false
			}
		}
	}
	return true
}
