package documents

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

const (
	// retryRefused is how long a refused document is not fetched again: refusals seldom go away by themselves, and a pool
	// of thousands of servers would fetch up to 1 MiB each every half minute.
	retryRefused = 5 * time.Minute
	// maxInMemory is how many judged documents are kept in memory; a plan seldom refers to more than three.
	maxInMemory = 64
)

// ErrNotFound is returned by a Source that has no such bundle.
var ErrNotFound = errors.New("no such MitigationBundle")

// Bundle is a signed document as the cluster hands it out. Nothing in it is trusted.
type Bundle struct {
	// Product of the feed.
	Product string
	// Document is the signed document.
	Document []byte
	// RevocationLists are in DER.
	RevocationLists [][]byte
}

// Source hands out bundles by name.
type Source interface {
	Bundle(ctx context.Context, name string) (Bundle, error)
}

// Options of a Store. All are required but Log.
type Options struct {
	// Dir keeps the original bytes; made when missing.
	Dir string
	// TrustFile is the path of the server's trust policy. It is read on every Load.
	TrustFile string
	Source    Source
	Memory    *state.Memory
	Clock     clock.PassiveClock
	Log       logr.Logger
	// DryRun judges documents as always and neither keeps nor remembers them.
	DryRun bool
}

// Store keeps documents. Only one Load may run at a time.
type Store struct {
	Options

	kept   *shelf
	judged map[judgement]verdict
	// findings are those of the documents that the last Load brought.
	findings []trust.Finding
	// used is what the last Load used, by feed.
	used map[string]usage
	// known are the revocation lists that were read from the disk or taken over, by feed; attempts those looked for in vain.
	known    map[string]*known
	attempts map[string]attempt
	// trustFile is the trust file as it was read last; nil before the first time.
	trustFile *trustFile
}

// judgement is what a verdict depends on beside the bytes, which the digest stands for.
type judgement struct {
	feed, digest string
	trustFile    [sha256.Size]byte
	// lists is the digest of the revocation lists beside those of the trust file.
	lists string
}

// verdict is a verified document or a refusal.
type verdict struct {
	document *verified
	failure  *enforce.Failure
	at       time.Time
}

// New opens a store.
func New(o Options) (*Store, error) {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	kept, err := openShelf(o.Dir)
	if err != nil {
		return nil, err
	}
	return &Store{
		Options: o, kept: kept, judged: map[judgement]verdict{}, used: map[string]usage{},
		known: map[string]*known{}, attempts: map[string]attempt{},
	}, nil
}

// Forget makes documents that were refused be fetched and judged again now.
func (s *Store) Forget() {
	s.judged, s.attempts = map[judgement]verdict{}, map[string]attempt{}
}

// Load brings documents: for each reference its content or the reason why it cannot be used.
func (s *Store) Load(ctx context.Context, refs []enforce.DocumentRef) map[enforce.DocumentRef]enforce.Document {
	answers := make(map[enforce.DocumentRef]enforce.Document, len(refs))
	s.findings, s.used = nil, map[string]usage{}
	file, err := s.readTrustFile()
	if err != nil {
		failure := badTrustFile(err)
		for _, ref := range refs {
			answers[ref] = enforce.Document{Failure: failure}
		}
		return answers
	}
	byFeed := map[string][]loaded{}
	for _, ref := range refs {
		v := s.verdict(ctx, ref, file)
		used := s.used[ref.FeedName]
		if v.document != nil {
			used.chains = append(used.chains, v.document.chain...)
		}
		s.used[ref.FeedName] = used
		if v.failure != nil {
			answers[ref] = enforce.Document{Failure: v.failure}
			continue
		}
		byFeed[ref.FeedName] = append(byFeed[ref.FeedName], loaded{ref: ref, document: v.document})
	}
	for name, list := range byFeed {
		for _, l := range list {
			answers[l.ref] = enforce.Document{Content: l.document.content, FeedProduct: l.document.product}
		}
		refused := s.accept(name, list, file.Feeds[name])
		for ref, failure := range refused {
			answers[ref] = enforce.Document{Failure: failure}
		}
		for _, l := range list {
			if refused[l.ref] == nil {
				s.note(name, l.document.findings)
			}
		}
	}
	s.tidy(refs)
	return answers
}

type loaded struct {
	ref      enforce.DocumentRef
	document *verified
}

// accept lets documents of one feed follow what the server has seen, and returns those that may not.
func (s *Store) accept(name string, list []loaded, rules trust.Policy) map[enforce.DocumentRef]*enforce.Failure {
	refused := map[enforce.DocumentRef]*enforce.Failure{}
	feed, err := s.Memory.Feed(name)
	if err != nil {
		for _, l := range list {
			refused[l.ref] = stateFailed(err)
		}
		return refused
	}
	slices.SortStableFunc(list, func(a, b loaded) int {
		x, y := a.document.candidate, b.document.candidate
		return cmp.Or(cmp.Compare(x.Sequence, y.Sequence), x.SignedAt.Compare(y.SignedAt), strings.Compare(x.Digest, y.Digest))
	})
	for _, l := range list {
		c := l.document.candidate
		if _, known := feed.Find(c.Digest); known {
			continue
		}
		now := s.Clock.Now()
		seen := feed.Seen
		seen.JumpTo = rules.AcceptSequence
		if err := replay.Check(seen, c, rules.AcceptsUndated(), now); err != nil {
			refused[l.ref] = s.replayed(err, name, c.Sequence)
			continue
		}
		next := feed.With(feed.Seen.After(c), state.Accepted{Digest: c.Digest, Product: l.document.product, At: now})
		if err := s.keep(name, next, l.document); err != nil {
			refused[l.ref] = stateFailed(err)
			continue
		}
		feed = next
		s.Log.Info("Accepted document", "feed", name, "sequence", c.Sequence, "digest", c.Digest, "notes", l.document.notes)
		if replay.Jumps(seen, c) {
			s.Log.Info("Sequence jumped as the trust file allows; acceptSequence has served and can be removed", "feed", name, "from", seen.Sequence, "to", c.Sequence)
		}
	}
	return refused
}

// keep keeps a document and remembers that it was accepted.
func (s *Store) keep(name string, feed state.Feed, document *verified) error {
	if s.DryRun {
		return nil
	}
	if err := s.kept.put(document.candidate.Digest, document.original); err != nil {
		return err
	}
	return s.Memory.SaveFeed(name, feed)
}

func (s *Store) replayed(err error, feed string, sequence int64) *enforce.Failure {
	failure := &enforce.Failure{Reason: enforce.ReasonSequenceRolledBack, Message: err.Error()}
	var refusal *replay.Error
	if !errors.As(err, &refusal) || refusal.Reason == replay.RolledBack {
		return failure
	}
	failure.Reason = string(refusal.Reason)
	if refusal.Reason == replay.SequenceJump {
		failure.Message += fmt.Sprintf(" with acceptSequence: %d for feed %q in %s", sequence, feed, s.TrustFile)
	}
	return failure
}

func stateFailed(err error) *enforce.Failure {
	return &enforce.Failure{
		Reason:  enforce.ReasonStateFailed,
		Message: fmt.Sprintf("nothing new is accepted while it cannot be remembered: %v; look at the agent's state folder", err),
	}
}

// note keeps the findings in a document in use, those that two documents of one signer share once.
func (s *Store) note(feed string, findings []xmlsig.Finding) {
	for _, f := range findings {
		found := trust.Finding{Feed: feed, Finding: f}
		if !slices.Contains(s.findings, found) {
			s.findings = append(s.findings, found)
		}
	}
}

// Findings returns what the checks that the trust file only logs found in the documents that the last Load brought, in an
// order that depends on the findings alone.
func (s *Store) Findings() []trust.Finding {
	return slices.SortedFunc(slices.Values(s.findings), func(a, b trust.Finding) int { return strings.Compare(a.String(), b.String()) })
}

// verdict judges a document once per process, trust file, revocation lists and digest.
func (s *Store) verdict(ctx context.Context, ref enforce.DocumentRef, file *trustFile) verdict {
	key := judgement{feed: ref.FeedName, digest: ref.Digest, trustFile: file.hash}
	if have, err := s.knownLists(ref.FeedName); err == nil {
		key.lists = have.digest
	}
	now := s.Clock.Now()
	if v, ok := s.judged[key]; ok && (v.failure == nil || now.Sub(v.at) < retryRefused) {
		return v
	}
	document, failure := s.judge(ctx, ref, file)
	v := verdict{document: document, failure: failure, at: now}
	if failure == nil || !failure.Transient && failure.Reason != enforce.ReasonBundleMissing {
		s.judged[key] = v
	}
	if failure == nil && len(document.findings) > 0 {
		s.Log.Info("Document fails checks that the trust file only logs", "feed", ref.FeedName, "digest", ref.Digest, "findings", document.findings)
	}
	if failure != nil {
		s.Log.Info("Document cannot be used", "feed", ref.FeedName, "bundle", ref.BundleName, "reason", failure.Reason, "problem", failure.Message)
	}
	return v
}

// judge finds the bytes, on the disk first, and verifies them.
func (s *Store) judge(ctx context.Context, ref enforce.DocumentRef, file *trustFile) (*verified, *enforce.Failure) {
	if !isDigest(ref.Digest) {
		return nil, &enforce.Failure{Reason: enforce.ReasonPlanMismatch, Message: fmt.Sprintf("the plan's document digest %.80q is no SHA-256 in lower-case hex; look for who changed the plan", ref.Digest)}
	}
	signer, feed, refused := s.rules(ref.FeedName, file)
	if refused != nil {
		return nil, refused
	}
	accepted, known := feed.Find(ref.Digest)
	check := func(original []byte, product string) (*verified, *failure) {
		return verify(original, product, ref.Digest, signer, s.Clock.Now(), accepted.At)
	}
	if known {
		document, failure, ok := s.fromShelf(ref.Digest, accepted.Product, check)
		if ok {
			return document, failure
		}
	}
	bundle, failure := s.fetch(ctx, ref)
	if failure != nil {
		// Without the memory of having accepted it, a kept document is only the second choice: the product is unknown.
		if document, _, ok := s.fromShelf(ref.Digest, "", check); ok && document != nil {
			return document, nil
		}
		return nil, failure
	}
	document, refusal := check(bundle.Document, bundle.Product)
	if refusal != nil {
		return nil, &refusal.Failure
	}
	if known && !s.DryRun {
		// It was on the shelf before: put it back for the time without a network.
		if err := s.kept.put(ref.Digest, bundle.Document); err != nil {
			s.Log.Error(err, "Document cannot be kept", "digest", ref.Digest)
		}
	}
	return document, nil
}

// rules gives the trust policy of a feed, with the revocation lists that the server knows, and what was seen of it.
func (s *Store) rules(name string, file *trustFile) (xmlsig.Policy, state.Feed, *enforce.Failure) {
	signer, ok := file.signers[name]
	if !ok {
		return xmlsig.Policy{}, state.Feed{}, untrusted("the trust file %s has no policy for feed %q; add one on the server if the feed is to be trusted", s.TrustFile, name)
	}
	have, err := s.knownLists(name)
	if err != nil {
		return xmlsig.Policy{}, state.Feed{}, stateFailed(err)
	}
	signer.Revocation.CRLs = have.beside(signer.Revocation.CRLs)
	feed, err := s.Memory.Feed(name)
	if err != nil {
		return xmlsig.Policy{}, state.Feed{}, stateFailed(err)
	}
	return signer, feed, nil
}

// fromShelf verifies the kept bytes. It has no answer for bytes that are missing or that are no longer those that were
// put there; fetching helps then, which it does not against a signer who is no longer trusted.
func (s *Store) fromShelf(digest, product string, check func([]byte, string) (*verified, *failure)) (document *verified, refused *enforce.Failure, ok bool) {
	original, err := s.kept.get(digest)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.Log.Error(err, "Kept document cannot be read", "digest", digest)
		}
		return nil, nil, false
	}
	document, refusal := check(original, product)
	switch {
	case refusal == nil:
		return document, nil, true
	case refusal.content:
		s.Log.Info("Kept document is damaged", "digest", digest, "problem", refusal.Message)
		return nil, nil, false
	}
	return nil, &refusal.Failure, true
}

func (s *Store) fetch(ctx context.Context, ref enforce.DocumentRef) (Bundle, *enforce.Failure) {
	bundle, err := s.Source.Bundle(ctx, ref.BundleName)
	switch {
	case errors.Is(err, ErrNotFound):
		return Bundle{}, &enforce.Failure{
			Reason:  enforce.ReasonBundleMissing,
			Message: fmt.Sprintf("the cluster has no MitigationBundle %q; look at the feed %q", ref.BundleName, ref.FeedName),
		}
	case err != nil:
		return Bundle{}, &enforce.Failure{
			Reason:  enforce.ReasonBundleUnavailable,
			Message: fmt.Sprintf("MitigationBundle %q cannot be fetched; it is tried again", ref.BundleName), Transient: true,
		}
	}
	return bundle, nil
}

// tidy drops what is no longer referred to.
func (s *Store) tidy(refs []enforce.DocumentRef) {
	inUse := map[string]bool{}
	for _, ref := range refs {
		inUse[ref.Digest] = true
	}
	if len(s.judged) > maxInMemory {
		for key := range s.judged {
			if !inUse[key.digest] {
				delete(s.judged, key)
			}
		}
	}
	if s.DryRun {
		return
	}
	if err := s.kept.prune(inUse); err != nil {
		s.Log.Error(err, "Kept documents cannot be tidied up")
	}
}

func badTrustFile(err error) *enforce.Failure {
	return untrusted("the trust file cannot be used: %v; correct it on the server", err)
}

func untrusted(format string, args ...any) *enforce.Failure {
	return &enforce.Failure{Reason: string(policy.Untrusted), Message: fmt.Sprintf(format, args...)}
}
