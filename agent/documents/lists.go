package documents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// maxKeptLists is how many revocation lists of a feed are kept. The lists of an authority that signs no more are kept as well,
// because the keys that they name stay stolen; 32 outlast many changes of authorities, in 3 MiB at the very most.
const maxKeptLists = 4 * revocation.MaxLists

// retryRefusedLists is how long lists that were not believed are not fetched again. It takes a clock that is set right, or an
// authority that a document brings; both are rare, and a bundle has up to 1.5 MiB.
const retryRefusedLists = time.Hour

// known are the revocation lists of one feed that this server was handed and believed.
type known struct {
	record state.Lists
	lists  []*revocation.List
	// digest over the lists.
	digest string
}

// attempt is the last look at lists, which has to be repeated, but not at once, if it was in vain.
type attempt struct {
	ref       enforce.RevocationRef
	trustFile [sha256.Size]byte
	at        time.Time
}

// recent reports whether the very same was looked at within the given time.
func (a attempt) recent(same attempt, within time.Duration) bool {
	return a.ref == same.ref && a.trustFile == same.trustFile && same.at.Sub(a.at) < within
}

// usage is what the last Load used of a feed.
type usage struct {
	// chains are all certificates of the documents that could be verified.
	chains []*x509.Certificate
}

// Learn takes over the revocation lists that the plan names, as far as they are believed: signed by an authority between a
// pinned root and the signer of a document, and no older than what the server knows. It returns which of the lists that were
// handed out last are not believed, and why. documents are those of the plan.
//
// Whether lists are looked at, and how old they may be, is for the trust file alone to say; with mode Off nothing is fetched.
func (s *Store) Learn(ctx context.Context, refs []enforce.RevocationRef, documents []enforce.DocumentRef) (refused []string) {
	file, err := s.readTrustFile()
	if err != nil {
		return nil // Load and Anchors say so
	}
	for _, ref := range refs {
		signer, ok := file.signers[ref.FeedName]
		if !ok || signer.Revocation.Mode == xmlsig.RevocationOff {
			continue
		}
		for _, why := range s.learn(ctx, ref, signer, file.hash, documents) {
			refused = append(refused, fmt.Sprintf("feed %s: %s", ref.FeedName, why))
		}
	}
	return refused
}

// learn does the same for one feed.
func (s *Store) learn(ctx context.Context, ref enforce.RevocationRef, signer xmlsig.Policy, hash [sha256.Size]byte, documents []enforce.DocumentRef) []string {
	have, err := s.knownLists(ref.FeedName)
	if err != nil {
		return []string{stateFailed(err).Message}
	}
	// With another trust file, or beside another document, a list may be believed that was not.
	handled := ref.Digest + " " + hex.EncodeToString(hash[:])
	pause := retryRefused
	if have.record.Handled == handled {
		if len(have.record.Refused) == 0 {
			return nil
		}
		pause = retryRefusedLists
	}
	this := attempt{ref: ref, trustFile: hash, at: s.Clock.Now()}
	if s.attempts[ref.FeedName].recent(this, pause) {
		return have.record.Refused
	}
	bundle, failure := s.fetch(ctx, enforce.DocumentRef{FeedName: ref.FeedName, BundleName: ref.BundleName})
	if failure != nil {
		if !failure.Transient {
			s.attempts[ref.FeedName] = this
			s.Log.Info("Revocation lists cannot be fetched", "feed", ref.FeedName, "bundle", ref.BundleName, "problem", failure.Message)
		}
		return have.record.Refused
	}
	s.attempts[ref.FeedName] = this
	merged, refused := s.judgeLists(bundle, ref.FeedName, signer, have, documents)
	record := state.Lists{Handled: handled, Refused: refused}
	if revocation.DigestOf(bundle.RevocationLists) != ref.Digest {
		// The bundle is ahead of the plan for a moment, or somebody changed one of them. Each list was judged by itself, so
		// what is newer counts; the plan is followed once it fits.
		s.Log.Info("The bundle holds other revocation lists than the plan names", "feed", ref.FeedName, "bundle", ref.BundleName)
		record.Handled = ""
	}
	for _, l := range merged {
		record.DER = append(record.DER, l.Raw)
	}
	if err := s.Memory.SaveLists(ref.FeedName, record); err != nil {
		return append(refused, stateFailed(err).Message)
	}
	s.known[ref.FeedName] = &known{record: record, lists: merged, digest: revocation.Digest(merged)}
	s.Log.Info("Took revocation lists over", "feed", ref.FeedName, "bundle", ref.BundleName, "lists", len(merged), "refused", refused)
	return refused
}

// judgeLists returns what the server knows once it has seen the lists of a bundle, and why it does not believe some of them.
func (s *Store) judgeLists(bundle Bundle, feed string, signer xmlsig.Policy, have *known, documents []enforce.DocumentRef) (merged []*revocation.List, refused []string) {
	offered, refused := parseLists(bundle.RevocationLists)
	trusted := s.authorities(bundle.Document, feed, signer, documents)
	now := s.Clock.Now()
	var believed []*revocation.List
	for _, l := range offered {
		if err := l.VerifyBy(trusted, now); err != nil {
			refused = append(refused, err.Error())
			continue
		}
		believed = append(believed, l)
	}
	merged, older := revocation.Merge(have.lists, believed)
	for _, r := range older {
		refused = append(refused, r.Message)
	}
	if len(merged) > maxKeptLists {
		slices.SortStableFunc(merged, func(a, b *revocation.List) int { return b.ThisUpdate.Compare(a.ThisUpdate) })
		merged = merged[:maxKeptLists]
	}
	return merged, refused
}

// parseLists reads the lists of a bundle, within limits that the API has as well.
func parseLists(ders [][]byte) (lists []*revocation.List, refused []string) {
	total := 0
	for _, der := range ders {
		total += len(der)
	}
	if len(ders) > revocation.MaxLists || total > revocation.MaxTotalBytes {
		return nil, []string{fmt.Sprintf("%d revocation lists with %d bytes: at most %d with %d bytes", len(ders), total, revocation.MaxLists, revocation.MaxTotalBytes)}
	}
	for _, der := range ders {
		l, err := revocation.Parse(der)
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		lists = append(lists, l)
	}
	return lists, refused
}

// authorities are the certificates whose revocation lists are believed: the roots of the trust file, and what stands between
// them and the signer, or the time-stamping authority, of the document beside the lists and of the plan's documents.
func (s *Store) authorities(document []byte, feed string, signer xmlsig.Policy, documents []enforce.DocumentRef) []*x509.Certificate {
	trusted := slices.Concat(signer.Roots, signer.TimestampRoots, authoritiesOf(document, signer, s.Clock.Now()))
	for _, ref := range documents {
		if ref.FeedName != feed || !isDigest(ref.Digest) {
			continue
		}
		original, err := s.kept.get(ref.Digest)
		if err != nil {
			continue
		}
		at := s.Clock.Now()
		if feed, err := s.Memory.Feed(ref.FeedName); err == nil {
			if accepted, ok := feed.Find(ref.Digest); ok {
				at = accepted.At
			}
		}
		trusted = append(trusted, authoritiesOf(original, signer, at)...)
	}
	return trusted
}

// authoritiesOf returns the authorities that a document's signature rests on; none if the document is not trusted. Revocation is left
// out: in mode Require a document can only be trusted once the lists of its authorities are known.
func authoritiesOf(document []byte, signer xmlsig.Policy, at time.Time) []*x509.Certificate {
	signer.Revocation, signer.Levels.Revocation = xmlsig.Revocation{}, ""
	signed, err := xmlsig.Verify(document, signer, at)
	if err != nil {
		return nil
	}
	return signed.Authorities()
}

// knownLists returns what the server was handed of a feed. It is read from the disk once.
func (s *Store) knownLists(feed string) (*known, error) {
	if k, ok := s.known[feed]; ok {
		return k, nil
	}
	record, err := s.Memory.Lists(feed)
	if err != nil {
		return nil, err
	}
	k := &known{record: record}
	for _, der := range record.DER {
		l, err := revocation.Parse(der)
		if err != nil {
			s.Log.Error(err, "Kept revocation list is damaged", "feed", feed)
			k.record.Handled = "" // the cluster may have it
			continue
		}
		k.lists = append(k.lists, l)
	}
	k.digest = revocation.Digest(k.lists)
	s.known[feed] = k
	return k, nil
}

// beside returns the lists of the trust file and those that the server was handed. All of them go into the verification: a
// certificate that any of them names is refused, and the newest says whether there is a current one.
func (k *known) beside(local []*x509.RevocationList) []*x509.RevocationList {
	all := slices.Clone(local)
	for _, l := range k.lists {
		all = append(all, l.RevocationList)
	}
	return all
}

// Anchors returns the certificates and revocation lists that the trust of this server rests on: those of the trust file, and the
// lists that it was handed. The error says why the trust file cannot be used.
func (s *Store) Anchors() ([]trust.Anchor, error) {
	file, err := s.readTrustFile()
	if err != nil {
		return nil, err
	}
	anchors := slices.Clone(file.anchors)
	for _, feed := range slices.Sorted(maps.Keys(file.signers)) {
		policy := file.signers[feed]
		if policy.Revocation.Mode == xmlsig.RevocationOff {
			continue
		}
		have, err := s.knownLists(feed)
		if err != nil {
			continue // the next document says so
		}
		anchors = s.withKnown(anchors, feed, policy.Revocation, have.lists)
	}
	return anchors, nil
}

// withKnown adds the lists that a feed's documents in use rest on, and drops those of the file in whose place newer ones came.
func (s *Store) withKnown(anchors []trust.Anchor, feed string, rules xmlsig.Revocation, have []*revocation.List) []trust.Anchor {
	field := "feeds." + feed + ".revocation"
	var local []*revocation.List
	for _, parsed := range rules.CRLs {
		// Lists that cover a part only stand for themselves.
		if l, err := revocation.New(parsed); err == nil {
			local = append(local, l)
		}
	}
	newest, _ := revocation.Merge(local, have)
	for _, l := range local {
		if !slices.ContainsFunc(newest, func(n *revocation.List) bool { return bytes.Equal(n.Raw, l.Raw) }) {
			gone := trust.ListAnchor(trust.KindRevocationList, field+".crls", l.RevocationList, rules.MaxAge)
			anchors = slices.DeleteFunc(anchors, func(a trust.Anchor) bool { return a == gone })
		}
	}
	for _, l := range newest {
		if slices.Contains(have, l) && s.restsOn(feed, l) {
			anchors = append(anchors, trust.ListAnchor(trust.KindFetchedList, field+" from the cluster", l.RevocationList, rules.MaxAge))
		}
	}
	return anchors
}

// restsOn reports whether a document that the last Load used needs a list. Lists of authorities that have gone end one day, and
// would be warned of for ever. While no document can be verified, for want of lists perhaps, all of them are.
func (s *Store) restsOn(feed string, list *revocation.List) bool {
	used, ok := s.used[feed]
	if !ok || len(used.chains) == 0 {
		return ok
	}
	return slices.ContainsFunc(used.chains, func(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, list.RawIssuer) })
}
