package publish

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"mitigation.dev/ems/internal/revocation"
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

// ListFile is a file with revocation lists: one in DER, as authorities publish them, or several in PEM, as trust policies have them.
type ListFile struct {
	// Name is for messages.
	Name    string
	Content []byte
}

// RevocationLists turns files with revocation lists into one bundle in PEM, in the order of the files.
func RevocationLists(files ...ListFile) ([]byte, error) {
	var all bytes.Buffer
	for _, file := range files {
		content := file.Content
		if !bytes.Contains(content, []byte("-----BEGIN ")) {
			content = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: content})
		}
		lists, err := parseRevocationLists(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		if len(lists) == 0 {
			return nil, fmt.Errorf("%s: revocation lists: none", file.Name)
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
	signed, err := xmlsig.Verify(document, policy.Policy, now)
	if err != nil {
		return nil, err
	}
	authorities := slices.Concat(policy.Roots, policy.TimestampRoots, signed.Authorities())
	described := make([]RevocationList, 0, len(lists))
	for i, list := range lists {
		// Lists that cover a part only are carried as well: a policy may hold them.
		if err := (&revocation.List{RevocationList: list}).VerifyBy(authorities, now); err != nil {
			return nil, fmt.Errorf("revocation lists: list %d: %w", i+1, err)
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
