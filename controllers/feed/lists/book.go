package lists

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	"mitigation.dev/ems/internal/revocation"
)

const (
	// ConfiguredSource is the source of the lists that the feed's policy holds.
	ConfiguredSource = "spec.trust.revocation.crls"
	// minPause is the shortest time between two fetches, for lists that end soon or have ended. Authorities publish hourly at best.
	minPause = 5 * time.Minute
	// maxAuthorities bounds those that are remembered. A policy has at most 64 roots of each kind, and publishers change their
	// issuer once in some years.
	maxAuthorities = 256
)

// Book holds the lists of one feed. It is not safe for concurrent use. The zero value is empty.
type Book struct {
	// verified are the newest lists of each issuer that an authority signed.
	verified []*revocation.List
	// pending are lists that were fetched and of which no authority has been found yet.
	pending []*revocation.List
	// older says why lists that were noted last are not used although they are genuine.
	older []revocation.Refused
	// restored are those that were handed out before a restart.
	restored []*revocation.List
	// authorities are those of all documents so far: the lists of a former issuer go on to be read.
	authorities []*x509.Certificate
}

// Restore takes down lists that were handed out earlier. They are verified like all others.
func (b *Book) Restore(handedOut []*revocation.List) { b.restored = handedOut }

// Note takes down lists that nobody has verified, in place of those noted before.
func (b *Book) Note(unverified []*revocation.List) { b.pending, b.older = unverified, nil }

// Settle looks which of the noted, restored and configured lists the authorities have signed, those given now or before, and
// keeps the newest. It returns the noted ones that are of no use. Those without a known authority stay noted: the next document
// may name it.
func (b *Book) Settle(configured []*revocation.List, authorities []*x509.Certificate, now time.Time) (refused []revocation.Refused) {
	for _, authority := range authorities {
		if len(b.authorities) < maxAuthorities && !slices.ContainsFunc(b.authorities, authority.Equal) {
			b.authorities = append(b.authorities, authority)
		}
	}
	// A configured list that is older than the fetched one is the usual case, and no news.
	b.verified, _ = revocation.Merge(b.verified, signedBy(slices.Concat(b.restored, configured), b.authorities, now))
	var signed, unsigned []*revocation.List
	for _, list := range b.pending {
		if err := list.VerifyBy(b.authorities, now); err != nil {
			unsigned = append(unsigned, list)
			refused = append(refused, revocation.Refused{List: list, Message: err.Error()})
			continue
		}
		signed = append(signed, list)
	}
	merged, older := revocation.Merge(b.verified, signed)
	b.verified, b.pending, b.older = merged, unsigned, slices.Concat(b.older, older)
	return slices.Concat(refused, b.older)
}

func signedBy(lists []*revocation.List, authorities []*x509.Certificate, now time.Time) (signed []*revocation.List) {
	for _, list := range lists {
		if list.VerifyBy(authorities, now) == nil {
			signed = append(signed, list)
		}
	}
	return signed
}

// Known returns the lists to judge a document by.
func (b *Book) Known() []*x509.RevocationList {
	known := make([]*x509.RevocationList, 0, len(b.verified))
	for _, list := range b.verified {
		known = append(known, list.RevocationList)
	}
	return known
}

// HandOut returns the lists that the agents get, and those for which there is no room.
func (b *Book) HandOut() (lists []*revocation.List, beyond []revocation.Refused) {
	return revocation.Fit(b.verified)
}

// Next returns when to fetch again: after the interval, or when half of the time is over that the first list has left, if that is
// sooner; soon after a failure. Halving again and again asks more often the nearer the end is. An interval below five minutes
// is kept.
func (b *Book) Next(now time.Time, interval, maxAge time.Duration, failed bool) time.Time {
	pause := interval
	if failed || len(b.verified) == 0 {
		pause = minPause
	}
	for _, list := range b.verified {
		if end := End(list, maxAge); !end.IsZero() {
			pause = min(pause, max(end.Sub(now)/2, minPause))
		}
	}
	return now.Add(min(pause, interval))
}

// End is until when a list counts as current: its own end or its greatest age, whichever comes first; zero if it has neither.
func End(list *revocation.List, maxAge time.Duration) time.Time {
	end := list.NextUpdate
	if maxAge > 0 {
		if oldest := list.ThisUpdate.Add(maxAge); end.IsZero() || oldest.Before(end) {
			end = oldest
		}
	}
	return end
}

// Configured reads the lists of a policy. What is no complete list is left out: it cannot stand for its issuer alone, and the
// verification reads the policy itself.
func Configured(bundle string) (configured []*revocation.List) {
	rest := []byte(bundle)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return configured
		}
		if list, err := revocation.Parse(block.Bytes); err == nil {
			list.Source = ConfiguredSource
			configured = append(configured, list)
		}
	}
}

// Same reports whether lists in DER are those given, in the same order.
func Same(ders [][]byte, lists []*revocation.List) bool {
	return slices.EqualFunc(ders, lists, func(der []byte, list *revocation.List) bool { return bytes.Equal(der, list.Raw) })
}
