package publish

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
)

// MaxRevocationBytes bounds the revocation lists of a bundle, in PEM, as spec.trust.revocation.crls of a MitigationFeed does.
const MaxRevocationBytes = 256 << 10

// maxRevocationLists is how many a trust policy takes.
const maxRevocationLists = 16

// RevocationList describes a certificate revocation list.
type RevocationList struct {
	Issuer     string     `json:"issuer"`
	ThisUpdate time.Time  `json:"thisUpdate"`
	NextUpdate *time.Time `json:"nextUpdate,omitempty"`
	// Revoked is the number of certificates on it.
	Revoked int `json:"revoked"`
}

// RevocationLists turns files with revocation lists, in DER as authorities publish them or in PEM as trust policies have
// them, into one bundle in PEM, in the order of the files.
func RevocationLists(files ...[]byte) ([]byte, error) {
	var all bytes.Buffer
	for i, content := range files {
		if !bytes.Contains(content, []byte("-----BEGIN ")) {
			content = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: content})
		}
		lists, err := parseRevocationLists(content)
		if err != nil {
			return nil, fmt.Errorf("file %d: %w", i+1, err)
		}
		if len(lists) == 0 {
			return nil, fmt.Errorf("file %d: revocation lists: none", i+1)
		}
		for _, list := range lists {
			// Encoded anew: text between the blocks stays behind.
			if err := pem.Encode(&all, &pem.Block{Type: "X509 CRL", Bytes: list.Raw}); err != nil {
				return nil, err
			}
		}
	}
	if _, err := parseRevocationLists(all.Bytes()); err != nil {
		return nil, err
	}
	return all.Bytes(), nil
}

func parseRevocationLists(content []byte) ([]*x509.RevocationList, error) {
	if len(content) > MaxRevocationBytes {
		return nil, fmt.Errorf("revocation lists: %d bytes: at most %d", len(content), MaxRevocationBytes)
	}
	var lists []*x509.RevocationList
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("revocation lists: PEM block %q: want X509 CRL", block.Type)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("revocation lists: list %d: %w", len(lists)+1, err)
		}
		if lists = append(lists, list); len(lists) > maxRevocationLists {
			return nil, fmt.Errorf("revocation lists: more than %d", maxRevocationLists)
		}
	}
	if bytes.Count(content, []byte("-----BEGIN ")) != len(lists) {
		return nil, errors.New("revocation lists: a block is damaged")
	}
	return lists, nil
}

// judgeRevocationLists refuses lists that nobody on the other side would believe.
func judgeRevocationLists(lists []*x509.RevocationList, document []byte, policy Policy, now time.Time) ([]RevocationList, error) {
	if len(lists) == 0 {
		return nil, nil
	}
	authorities := slices.Concat(policy.Roots, policy.TimestampRoots)
	signed, err := xmlsig.Verify(document, policy.Policy, now)
	if err != nil {
		return nil, err
	}
	authorities = append(authorities, signed.Chain...)
	described := make([]RevocationList, 0, len(lists))
	for i, list := range lists {
		if !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return list.CheckSignatureFrom(c) == nil }) {
			return nil, fmt.Errorf("revocation lists: list %d: issuer %q: signed by no authority of the document or of the trust policy", i+1, list.Issuer)
		}
		described = append(described, RevocationList{
			Issuer: list.Issuer.String(), ThisUpdate: list.ThisUpdate.UTC(), NextUpdate: moment(list.NextUpdate), Revoked: len(list.RevokedCertificateEntries),
		})
	}
	return described, nil
}

// withRevocationLists looks at the lists also where the policy would not: a revoked signer should not be carried anywhere.
func withRevocationLists(policy Policy, lists []*x509.RevocationList) Policy {
	if len(lists) == 0 {
		return policy
	}
	policy.Revocation.CRLs = slices.Concat(policy.Revocation.CRLs, lists)
	if policy.Revocation.Mode != xmlsig.RevocationRequire {
		policy.Revocation.Mode = xmlsig.RevocationPrefer
	}
	return policy
}
