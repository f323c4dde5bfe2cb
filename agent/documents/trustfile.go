package documents

import (
	"crypto/sha256"
	"fmt"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// trustFile is the server's trust file with what follows from its bytes alone. Nobody changes what it holds.
type trustFile struct {
	*trust.File

	hash [sha256.Size]byte
	// signers is whom the server trusts, by feed, without the revocation lists that it was handed.
	signers map[string]xmlsig.Policy
	// anchors are those of the file.
	anchors []trust.Anchor
}

// readTrustFile reads the trust file. Every pass reads it several times; what has not changed is not parsed again, which would be a
// fifth of the work of a pass.
func (s *Store) readTrustFile() (*trustFile, error) {
	data, err := durable.OS{}.Read(s.TrustFile, trust.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(data)
	if s.trustFile != nil && s.trustFile.hash == hash {
		return s.trustFile, nil
	}
	file, err := parseTrustFile(data, hash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.TrustFile, err)
	}
	s.trustFile = file
	return file, nil
}

func parseTrustFile(data []byte, hash [sha256.Size]byte) (*trustFile, error) {
	parsed, err := trust.ParseFile(data)
	if err != nil {
		return nil, err
	}
	file := &trustFile{File: parsed, hash: hash, signers: make(map[string]xmlsig.Policy, len(parsed.Feeds))}
	for feed, policy := range parsed.Feeds {
		if file.signers[feed], err = policy.Compile(); err != nil {
			return nil, fmt.Errorf("feed %q: %w", feed, err)
		}
	}
	file.anchors, err = parsed.Anchors()
	return file, err
}
