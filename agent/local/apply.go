package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/documents"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// Apply brings the mitigations of the document, less those that the server does not need, into place.
func Apply(ctx context.Context, o Options) *Report { return apply(ctx, o, CommandApply, o.DryRun) }

// Diff says what Apply would change, line by line.
func Diff(ctx context.Context, o Options) *Report { return apply(ctx, o, CommandDiff, true) }

func apply(ctx context.Context, o Options, command Command, looking bool) *Report {
	s, err := open(o, command, looking)
	if err != nil {
		return s.report.refuse(err)
	}
	defer s.close()
	if err := s.apply(ctx); err != nil {
		return s.report.refuse(err)
	}
	return s.report
}

// apply does the work. Its error means that nothing was changed.
func (s *session) apply(ctx context.Context) error {
	known := s.look()
	verified, err := s.verify(ctx)
	if err != nil {
		return err
	}
	before, err := s.server.Applied()
	if err != nil {
		return fmt.Errorf("what is in place is not known, so nothing is changed: %w", err)
	}
	decision, err := s.decide(verified, before, known)
	if err != nil {
		return err
	}
	outcomes, carriedOut, reconcileErr := s.guarded(ctx, decision.Decision, before)
	after, err := s.server.Applied()
	if err != nil {
		reconcileErr, after = errors.Join(reconcileErr, err), before
	}
	results := append(enforce.Conclude(carriedOut, outcomes, reconcileErr, after), decision.taken...)
	for i := range results {
		if r := &results[i]; r.Reason == enforce.ReasonNotInPlan {
			r.Reason, r.Message = ReasonKept, "not among what was applied now; it stays until it is reverted"
		}
	}
	s.report.tell(enforce.Judge(results, s.verdicts()), outcomes, before, after)
	s.finish(outcomes, reconcileErr)
	return nil
}

// verifiedDocument is a document with its place in a plan.
type verifiedDocument struct {
	ref enforce.DocumentRef
	enforce.Document
}

// verify verifies the document and accepts it, unless this is only a look.
func (s *session) verify(ctx context.Context) (verifiedDocument, error) {
	var none verifiedDocument
	feed, err := s.feed()
	if err != nil {
		return none, err
	}
	// One byte more than a document may have, so that the verifier is the one to say that it is too large.
	original, err := durable.OS{}.Read(s.Document, xmlsig.MaxDocumentBytes+1)
	if err != nil {
		return none, &commandError{reason: ReasonDocumentUnreadable, message: fmt.Sprintf("document cannot be read: %v", err)}
	}
	store, err := documents.New(documents.Options{
		Dir: filepath.Join(s.StateDir, "documents"), TrustFile: s.TrustFile, Source: fileSource(original), Memory: s.memory, Clock: s.Clock,
		Log: s.Log.WithName("documents"), DryRun: s.looking,
	})
	if err != nil {
		return none, err
	}
	digest, failure := store.Identify(feed, original)
	if failure != nil {
		return none, &commandError{reason: failure.Reason, message: failure.Message}
	}
	ref := enforce.DocumentRef{FeedName: feed, BundleName: s.Document, Digest: digest}
	document := store.Load(ctx, []enforce.DocumentRef{ref})[ref]
	if document.Failure != nil {
		return none, &commandError{reason: document.Failure.Reason, message: document.Failure.Message}
	}
	s.warnOfTrust(store)
	c := document.Content
	s.report.Document = &Document{
		File: s.Document, Feed: feed, Publisher: c.Publisher, Version: c.Version, Sequence: c.Sequence, Issued: c.Issued, Expires: c.Expires, Digest: digest,
	}
	return verifiedDocument{ref: ref, Document: document}, nil
}

// fileSource hands out the one document there is.
type fileSource []byte

// Bundle implements documents.Source.
func (f fileSource) Bundle(context.Context, string) (documents.Bundle, error) {
	return documents.Bundle{Document: f}, nil
}

// feed gives the name of the policy to verify under.
func (s *session) feed() (string, error) {
	if s.Feed != "" {
		return s.Feed, nil
	}
	data, err := durable.OS{}.Read(s.TrustFile, trust.MaxFileBytes)
	var file *trust.File
	if err == nil {
		if file, err = trust.ParseFile(data); err != nil {
			err = fmt.Errorf("%s: %w", s.TrustFile, err)
		}
	}
	if err != nil {
		return "", &commandError{reason: string(policy.Untrusted), message: fmt.Sprintf("the trust file cannot be used: %v", err)}
	}
	names := make([]string, 0, len(file.Feeds))
	for name := range file.Feeds {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) != 1 {
		return "", &commandError{reason: ReasonUsage, message: fmt.Sprintf("--feed: required, because the trust file has %d feeds: %s", len(names), strings.Join(names, ", "))}
	}
	return names[0], nil
}

// warnOfTrust warns of what the trust file only logs, and of what ends soon.
func (s *session) warnOfTrust(store *documents.Store) {
	for _, finding := range store.Findings() {
		s.warn("a check that the trust file only logs fails: %s", finding)
	}
	anchors, err := store.Anchors()
	if err != nil {
		s.warn("%v", err)
		return
	}
	for _, a := range trust.Expiring(anchors, s.Clock.Now(), trust.Horizon) {
		s.warn("the trust file's %s %q (%s) ends on %s: get its successor in time", a.Kind, a.Subject, a.Field, a.NotAfter.UTC().Format(time.RFC3339))
	}
}

// decision is that of package enforce, and what was not put before it.
type decision struct {
	enforce.Decision

	taken []enforce.Result
}

// decide makes the plan of a manager without any policy, and what follows from it on this server.
func (s *session) decide(document verifiedDocument, applied []iis.Mitigation, known policy.Facts) (decision, error) {
	if err := s.checkOnly(document.Content); err != nil {
		return decision{}, err
	}
	owners, err := s.owners(applied)
	if err != nil {
		return decision{}, err
	}
	var out decision
	plan := &enforce.Plan{WebConfig: s.WebConfig}
	add := func(m policy.Mitigation, revision int64) {
		if !s.selects(m.ID) {
			return
		}
		if owner := owners[strings.ToLower(m.ID)]; owner != "" && owner != document.ref.FeedName {
			out.taken = append(out.taken, taken(m.ID, owner, applied))
			return
		}
		verdict, _ := policy.ForPool(m, nil, policy.Pool{}, s.Clock.Now())
		plan.Entries = append(plan.Entries, enforce.Entry{ID: m.ID, Decision: verdict, Revision: revision, Document: document.ref, Release: rollout.ToAll()})
	}
	listed := map[string]bool{}
	for i := range document.Content.Configs {
		c := &document.Content.Configs[i]
		m := policy.Mitigation{ID: c.ID, Lifecycle: policy.LifecycleActive}
		if m.SupersededBy = document.Content.Successor(c.ID); m.SupersededBy != "" {
			m.Lifecycle = policy.LifecycleSuperseded
		}
		listed[strings.ToLower(c.ID)] = true
		add(m, c.Revision)
	}
	for _, r := range document.Content.Refused {
		if !ocs.ValidID(r.ID) {
			s.warn("an entry of the document cannot be used (%s): %s: ask the publisher", r.Reason, r.Message)
			continue
		}
		listed[strings.ToLower(r.ID)] = true
		add(policy.Mitigation{ID: r.ID, Lifecycle: policy.LifecycleActive}, 0)
	}
	for _, m := range applied {
		if k := strings.ToLower(m.ID); !listed[k] && owners[k] == document.ref.FeedName {
			add(policy.Mitigation{ID: m.ID, Lifecycle: policy.LifecycleWithdrawn}, m.Revision)
		}
	}
	out.Decision = enforce.Decide(enforce.Input{
		Plan: plan, Documents: map[enforce.DocumentRef]enforce.Document{document.ref: document.Document}, Applied: applied, Facts: known,
	})
	// Of what is in place and not spoken of the report says that it stays; what is taken says so already.
	out.Intents = slices.DeleteFunc(out.Intents, func(r enforce.Result) bool {
		return slices.ContainsFunc(out.taken, func(t enforce.Result) bool { return strings.EqualFold(t.ID, r.ID) })
	})
	return out, nil
}

// checkOnly refuses a word that selects nothing: it is a slip, and somebody would believe the server protected.
func (s *session) checkOnly(document *ocs.Document) error {
	var ids []string
	actionOf := map[string]string{}
	for i := range document.Configs {
		c := &document.Configs[i]
		ids = append(ids, c.ID)
		for _, a := range c.Actions {
			actionOf[strings.ToLower(a.ID)] = c.ID
		}
	}
	for _, r := range document.Refused {
		ids = append(ids, r.ID)
	}
	for _, only := range s.Only {
		if slices.ContainsFunc(ids, func(id string) bool { return policy.Covers(only, id) }) {
			continue
		}
		if owner, ok := actionOf[strings.ToLower(only)]; ok {
			return &commandError{reason: ReasonUnknownMitigation, message: fmt.Sprintf("--only %s: that is an action, and a mitigation is applied as a whole: --only %s", only, owner)}
		}
		return &commandError{reason: ReasonUnknownMitigation, message: fmt.Sprintf("--only %s: the document has no such mitigation, it has %s", only, strings.Join(ids, ", "))}
	}
	return nil
}

// owners says from which feed each mitigation in place came, by lower-case id, as far as this server remembers.
func (s *session) owners(applied []iis.Mitigation) (map[string]string, error) {
	feeds, err := s.memory.Feeds()
	if err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for name, feed := range feeds {
		for _, m := range applied {
			if _, ok := feed.Find(m.Digest); ok {
				owners[strings.ToLower(m.ID)] = name
			}
		}
	}
	return owners, nil
}

// taken is a mitigation whose id another feed uses on this server, as in a cluster.
func taken(id, owner string, applied []iis.Mitigation) enforce.Result {
	r := enforce.Result{
		ID: id, State: enforce.Failed, Reason: ReasonIDTaken,
		Message: fmt.Sprintf("a mitigation of this id from feed %q is in place and stays: revert it first if this one shall take its place", owner),
	}
	for _, a := range applied {
		if strings.EqualFold(a.ID, id) {
			r.Revision, r.Digest = a.Revision, a.Digest
		}
	}
	return r
}
