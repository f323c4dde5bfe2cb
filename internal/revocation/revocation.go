package revocation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
)

const (
	// MaxLists is how many lists a bundle carries. A feed needs one for each authority of its signer and of its
	// time-stamping authority, four as a rule.
	MaxLists = 8
	// MaxTotalBytes is how large the lists of a bundle may be together, in DER. etcd takes 1,572,864 bytes: the largest
	// document has 1,398,104 in base64, 96 KiB have 131,072, and 43,688 are left for the rest of the object. An entry takes
	// about 35 bytes, so there is room for 2,800 revoked certificates.
	MaxTotalBytes = 96 << 10
	// maxNumberBits is the largest number that RFC 5280, section 5.2.3 allows: 20 octets. It has 49 decimal digits.
	maxNumberBits = 160
)

// pemType is the type of a PEM block that holds a list (RFC 7468, section 6).
const pemType = "X509 CRL"

// List is a certificate revocation list. It is parsed, but not verified.
type List struct {
	*x509.RevocationList

	// Source says where the list came from, for people. It is no part of the list.
	Source string
}

// Parse reads one list in DER. It refuses lists that are too large, contradict themselves or cover only a part of what their
// issuer revoked.
func Parse(der []byte) (*List, error) {
	if len(der) > MaxTotalBytes {
		return nil, fmt.Errorf("revocation list: %d bytes: at most %d", len(der), MaxTotalBytes)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	if len(parsed.Raw) != len(der) {
		// The parser passes trailing data over, and the digest of a set of lists would not see it.
		return nil, fmt.Errorf("revocation list: %d bytes behind its end", len(der)-len(parsed.Raw))
	}
	return New(parsed)
}

// New takes a list that was parsed elsewhere, of any size.
func New(parsed *x509.RevocationList) (*List, error) {
	list := &List{RevocationList: parsed}
	switch {
	case len(parsed.Issuer.Names) == 0:
		return nil, errors.New("revocation list: it names no issuer")
	case parsed.Number != nil && (parsed.Number.Sign() < 0 || parsed.Number.BitLen() > maxNumberBits):
		return nil, fmt.Errorf("revocation list of %s: its number is negative or has more than %d bits", list.name(), maxNumberBits)
	case !parsed.NextUpdate.IsZero() && parsed.NextUpdate.Before(parsed.ThisUpdate):
		return nil, fmt.Errorf("revocation list of %s: it ends at %s, before it begins at %s", list.name(), stamp(parsed.NextUpdate), stamp(parsed.ThisUpdate))
	}
	for _, extension := range parsed.Extensions {
		if extension.Critical {
			return nil, fmt.Errorf("revocation list of %s: it covers a part only (critical extension %s); the complete list is needed", list.name(), extension.Id)
		}
	}
	return list, nil
}

// Decode reads one list in DER or PEM, as endpoints serve them.
func Decode(content []byte) (*List, error) {
	if !bytes.HasPrefix(content, []byte("-----BEGIN ")) {
		return Parse(content)
	}
	block, rest := pem.Decode(content)
	switch {
	case block == nil:
		return nil, errors.New("revocation list: not valid PEM")
	case block.Type != pemType:
		return nil, fmt.Errorf("revocation list: PEM of type %q: want %q", block.Type, pemType)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("revocation list: more than one PEM block")
	}
	return Parse(block.Bytes)
}

// name is the issuer in a message, of which a foreign list could have a very long one.
func (l *List) name() string {
	const maxName = 200
	name := l.Issuer.String()
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	return fmt.Sprintf("%q", name)
}

// key tells issuers apart. Both parts are covered by the signature of the list.
func (l *List) key() string { return string(l.RawIssuer) + "\x00" + string(l.AuthorityKeyId) }

// describe tells lists of one issuer apart in a message.
func (l *List) describe() string {
	if l.Number == nil {
		return "of " + stamp(l.ThisUpdate)
	}
	return fmt.Sprintf("number %s of %s", l.Number, stamp(l.ThisUpdate))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// VerifyBy reports why a list is not to be believed: none of the authorities signed it, or it is from the future. A list of
// the future would keep every genuine one out until its time has come.
func (l *List) VerifyBy(authorities []*x509.Certificate, now time.Time) error {
	if l.ThisUpdate.After(now.Add(xmlsig.ClockSkew)) {
		return fmt.Errorf("revocation list of %s: it begins at %s, in the future", l.name(), stamp(l.ThisUpdate))
	}
	var cause error
	for _, authority := range authorities {
		if !bytes.Equal(authority.RawSubject, l.RawIssuer) {
			continue
		}
		err := l.CheckSignatureFrom(authority)
		if err == nil {
			return nil
		}
		cause = err
	}
	if cause == nil {
		return fmt.Errorf("revocation list of %s: no authority of this name is trusted", l.name())
	}
	return fmt.Errorf("revocation list of %s: %w", l.name(), cause)
}

// Refused is a list that was left out, and why.
type Refused struct {
	List    *List
	Message string
}

// Merge returns the newest list of each issuer, sorted by their bytes. Of more it refuses those that are older than the list
// of the same issuer that is there; a copy of that list is neither added nor refused. The lists of have win over
// another one of the same number and time.
func Merge(have, more []*List) (merged []*List, refused []Refused) {
	newest := map[string]*List{}
	for _, l := range have {
		if there, ok := newest[l.key()]; !ok || Newer(l, there) {
			newest[l.key()] = l
		}
	}
	for _, l := range more {
		there, ok := newest[l.key()]
		switch {
		case !ok || Newer(l, there):
			newest[l.key()] = l
		case older(l, there):
			refused = append(refused, Refused{List: l, Message: fmt.Sprintf("revocation list of %s: %s is older than %s, which is there already", l.name(), l.describe(), there.describe())})
		}
	}
	for _, l := range newest {
		merged = append(merged, l)
	}
	sortByBytes(merged)
	return merged, refused
}

// Newer reports whether a list of the same issuer may take the place of another: nothing in it goes back, and something is later.
func Newer(l, there *List) bool {
	if older(l, there) {
		return false
	}
	return l.ThisUpdate.After(there.ThisUpdate) || compareNumbers(l, there) > 0
}

// older reports whether the time or the number of a list goes back.
func older(l, there *List) bool {
	return l.ThisUpdate.Before(there.ThisUpdate) || compareNumbers(l, there) < 0
}

// compareNumbers is 0 where neither list has a number. A list without a number is before one with it: an issuer that has begun to
// count does not stop.
func compareNumbers(a, b *List) int {
	switch {
	case a.Number == nil && b.Number == nil:
		return 0
	case a.Number == nil:
		return -1
	case b.Number == nil:
		return 1
	}
	return a.Number.Cmp(b.Number)
}

// Fit returns as many lists as a bundle can carry, sorted by their bytes, the latest first to be chosen, and those beyond.
func Fit(lists []*List) (fit []*List, beyond []Refused) {
	byTime := slices.Clone(lists)
	slices.SortStableFunc(byTime, func(a, b *List) int { return b.ThisUpdate.Compare(a.ThisUpdate) })
	total := 0
	for _, l := range byTime {
		if len(fit) == MaxLists || total+len(l.Raw) > MaxTotalBytes {
			beyond = append(beyond, Refused{List: l, Message: fmt.Sprintf("revocation list of %s: %d bytes do not fit: at most %d lists and %d bytes together", l.name(), len(l.Raw), MaxLists, MaxTotalBytes)})
			continue
		}
		fit, total = append(fit, l), total+len(l.Raw)
	}
	sortByBytes(fit)
	return fit, beyond
}

// Digest identifies a set of lists: the SHA-256, in hex, over the lists in DER, sorted by their bytes and put one after the
// other. DER says where it ends, so that no two sets give the same bytes.
func Digest(lists []*List) string {
	ders := make([][]byte, 0, len(lists))
	for _, l := range lists {
		ders = append(ders, l.Raw)
	}
	return DigestOf(ders)
}

// DigestOf is Digest for lists that were not parsed.
func DigestOf(ders [][]byte) string {
	h := sha256.New()
	for _, der := range slices.SortedFunc(slices.Values(ders), bytes.Compare) {
		h.Write(der)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sortByBytes(lists []*List) {
	slices.SortFunc(lists, func(a, b *List) int { return bytes.Compare(a.Raw, b.Raw) })
}

// Current reports whether a list shows at now that what it leaves out is not revoked. maxAge is its greatest age; with zero its
// own end alone counts.
func Current(l *List, now time.Time, maxAge time.Duration) bool {
	return xmlsig.CurrentList(l.RevocationList, maxAge, now) == nil
}
