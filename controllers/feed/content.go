package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"mitigation.dev/ems/internal/ocs"
)

// contentVersion begins what is digested, so that another encoding can never give the same digest by chance.
const contentVersion = "ems content 1"

// contentDigest is the SHA-256, in hex, over what a mitigation does and to whom: its actions, with their whole values, and its
// applicability. Two contents are equal exactly if their digests are, whatever a publisher says in the revision.
//
// What people read (descriptions, side effects) and what shows that it works (samples) is left out: another wording does nothing
// to a server. So is the acknowledged cost, which decides whether a document is accepted and not what is installed. The order of
// actions counts, since their rules are installed in it; the order of products and builds does not.
func contentDigest(config *ocs.Config) string {
	var e encoder
	e.text(contentVersion)
	e.count(len(config.Actions))
	for i := range config.Actions {
		a := &config.Actions[i]
		e.text(a.ID)
		e.text(string(a.Type))
		e.text(string(a.Scope))
		e.text(a.Target)
		e.text(a.Value)
		e.text(string(a.Rewrite))
	}
	e.sorted(len(config.Applicability), func(e *encoder, i int) {
		p := &config.Applicability[i]
		e.text(p.Name)
		e.text(p.Role)
		e.sorted(len(p.Branches), func(e *encoder, i int) {
			e.text(p.Branches[i].From.String())
			e.text(p.Branches[i].FixedIn.String())
		})
	})
	sum := sha256.Sum256(e.bytes)
	return hex.EncodeToString(sum[:])
}

// encoder writes values so that no two sequences of them give the same bytes: each text and each list after its length.
type encoder struct{ bytes []byte }

func (e *encoder) count(n int) {
	e.bytes = binary.BigEndian.AppendUint64(e.bytes, uint64(n)) //nolint:gosec // a length is never negative
}

func (e *encoder) text(s string) {
	e.count(len(s))
	e.bytes = append(e.bytes, s...)
}

// sorted writes n items in the order of their bytes.
func (e *encoder) sorted(n int, item func(*encoder, int)) {
	items := make([][]byte, n)
	for i := range items {
		var one encoder
		item(&one, i)
		items[i] = one.bytes
	}
	slices.SortFunc(items, bytes.Compare)
	e.count(n)
	for _, one := range items {
		e.text(string(one))
	}
}
