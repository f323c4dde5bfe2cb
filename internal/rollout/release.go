package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// Everything is the cut-off that lies above every bucket.
const Everything int64 = 1 << 32

// Release says which servers a mitigation is released to.
type Release struct {
	// ServerNames are released whatever their bucket.
	ServerNames []string
	// Below is the cut-off: servers whose bucket is lower are released. Everything releases all.
	Below int64
}

// ToAll releases every server.
func ToAll() Release { return Release{Below: Everything} }

// Bucket returns the place of a server in the order in which it gets a mitigation: the first 32 bits of the SHA-256 of
// both names in lower case. Names of servers and mitigations know no case.
func Bucket(server, mitigation string) uint32 {
	sum := sha256.Sum256([]byte(strings.ToLower(server) + "\x00" + strings.ToLower(mitigation)))
	return binary.BigEndian.Uint32(sum[:4])
}

// Includes reports whether the mitigation is released to the server. A release to everybody or to nobody is answered without
// a hash: that is what most entries of most plans have.
func (r Release) Includes(server, mitigation string) bool {
	if r.Below >= Everything {
		return true
	}
	byName := slices.ContainsFunc(r.ServerNames, func(name string) bool { return strings.EqualFold(name, server) })
	return byName || (r.Below > 0 && int64(Bucket(server, mitigation)) < r.Below)
}
