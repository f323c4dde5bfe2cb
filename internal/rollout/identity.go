package rollout

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// contentLength is how much of the content's digest an id bears: 32 bits tell the contents of one revision of one
// mitigation apart, and keep ids readable.
const contentLength = 8

// maxAttempt is the highest attempt that servers can talk the planner into; it is the limit of orders, too.
const maxAttempt = 100_000

// Identity is what makes a rollout another one.
type Identity struct {
	Revision int64
	// Attempt counts the runs of one content through a pool, in either mode, from 1.
	Attempt int
	// Content is the beginning of the content's digest.
	Content string
	Audit   bool
}

// IdentityOf returns the identity of a mitigation's rollout.
func IdentityOf(m Mitigation, attempt int, audit bool) Identity {
	content := m.Content
	if content == "" {
		content = m.DocumentDigest
	}
	content = strings.ToLower(content)
	return Identity{Revision: m.Revision, Attempt: attempt, Content: content[:min(len(content), contentLength)], Audit: audit}
}

// ID writes the identity as plans and servers name it: r2-a1-0a1b2c3d, in Audit mode r2-a1-0a1b2c3d-audit.
func (i Identity) ID() string {
	mode := ""
	if i.Audit {
		mode = "-audit"
	}
	return fmt.Sprintf("r%d-a%d-%s%s", i.Revision, i.Attempt, i.Content, mode)
}

// Same reports whether both are about the same run but for the attempt.
func (i Identity) Same(other Identity) bool {
	return i.Revision == other.Revision && i.Content == other.Content && i.Audit == other.Audit
}

// ParseID reads what ID writes. It reports false for anything else.
func ParseID(id string) (Identity, bool) {
	rest, isRevision := strings.CutPrefix(id, "r")
	revision, rest, hasAttempt := strings.Cut(rest, "-a")
	attempt, content, hasContent := strings.Cut(rest, "-")
	content, audit := strings.CutSuffix(content, "-audit")
	if !isRevision || !hasAttempt || !hasContent || len(content) > contentLength || strings.ContainsFunc(content, notInContent) {
		return Identity{}, false
	}
	r, ok := number(revision, math.MaxInt64)
	if !ok {
		return Identity{}, false
	}
	a, ok := number(attempt, maxAttempt)
	if !ok {
		return Identity{}, false
	}
	return Identity{Revision: r, Attempt: int(a), Content: content, Audit: audit}, true
}

func notInContent(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') }

// number reads a number from 1 on, without sign and leading zeros.
func number(text string, limit int64) (int64, bool) {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n <= limit
}
