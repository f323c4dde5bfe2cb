package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/xmlsig/keycheck"
)

// pemBlocks reads a bundle. What is neither a block of the wanted type nor white space or a "#" comment
// is refused: a bundle from which the third root is missing because of a damaged line must not pass.
func pemBlocks(field, blockType, bundle string, limit int) ([][]byte, error) {
	var blocks [][]byte
	rest := []byte(bundle)
	for {
		rest = skipComments(rest)
		if len(rest) == 0 {
			return blocks, nil
		}
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("%s: text that is not PEM in front of block %d", field, len(blocks)+1)
		}
		// pem.Decode skips damaged blocks, so the block must reach to its own end line and no further.
		end := bytes.Index(rest, []byte("\n-----END "))
		if end < 0 {
			return nil, fmt.Errorf("%s: block %d has no end", field, len(blocks)+1)
		}
		end++
		if line := bytes.IndexByte(rest[end:], '\n'); line >= 0 {
			end += line + 1
		} else {
			end = len(rest)
		}
		block, behind := pem.Decode(rest[:end])
		if block == nil || len(behind) > 0 || len(block.Headers) > 0 || bytes.Count(rest[:end], []byte("-----BEGIN ")) != 1 {
			return nil, fmt.Errorf("%s: block %d: not valid PEM", field, len(blocks)+1)
		}
		if block.Type != blockType {
			return nil, fmt.Errorf("%s: block %d: type %q: want %q", field, len(blocks)+1, block.Type, blockType)
		}
		if len(blocks) == limit {
			return nil, fmt.Errorf("%s: more than %d blocks", field, limit)
		}
		blocks, rest = append(blocks, block.Bytes), rest[end:]
	}
}

// skipComments skips blank lines and lines that begin with "#", as bundles of operating systems have them.
func skipComments(text []byte) []byte {
	for {
		text = bytes.TrimLeft(text, " \t\r\n")
		if len(text) == 0 || text[0] != '#' {
			return text
		}
		line := bytes.IndexByte(text, '\n')
		if line < 0 {
			return nil
		}
		text = text[line:]
	}
}

func parseAnchors(field, bundle string) ([]*x509.Certificate, error) {
	blocks, err := pemBlocks(field, "CERTIFICATE", bundle, MaxAnchors)
	if err != nil {
		return nil, err
	}
	var anchors []*x509.Certificate
	for i, der := range blocks {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", field, i+1, err)
		}
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("%s: certificate %d (%q): not a certification authority", field, i+1, c.Subject)
		}
		if err := keycheck.Check(c.PublicKey); err != nil {
			return nil, fmt.Errorf("%s: certificate %d (%q): %w", field, i+1, c.Subject, err)
		}
		if slices.ContainsFunc(anchors, c.Equal) {
			return nil, fmt.Errorf("%s: certificate %d (%q): repeated", field, i+1, c.Subject)
		}
		anchors = append(anchors, c)
	}
	return anchors, nil
}

func parsePins(pins []string) ([][32]byte, error) {
	if len(pins) > MaxPins {
		return nil, fmt.Errorf("issuerPins: %d: at most %d", len(pins), MaxPins)
	}
	var parsed [][32]byte
	for i, text := range pins {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("issuerPins: pin %d: %q: want %d hexadecimal digits", i+1, text, 2*sha256.Size)
		}
		parsed = append(parsed, [32]byte(raw))
	}
	return parsed, nil
}

func parseUsages(usages []string) ([]asn1.ObjectIdentifier, error) {
	if len(usages) > MaxPins {
		return nil, fmt.Errorf("extendedKeyUsages: %d: at most %d", len(usages), MaxPins)
	}
	var parsed []asn1.ObjectIdentifier
	for i, text := range usages {
		oid, err := parseOID(text)
		if err != nil {
			return nil, fmt.Errorf("extendedKeyUsages: usage %d: %q: %w", i+1, text, err)
		}
		parsed = append(parsed, oid)
	}
	return parsed, nil
}

func parseOID(text string) (asn1.ObjectIdentifier, error) {
	parts := strings.Split(text, ".")
	if len(text) > 128 || len(parts) < 2 {
		return nil, errors.New("want a dotted object identifier")
	}
	oid := make(asn1.ObjectIdentifier, 0, len(parts))
	for _, part := range parts {
		number, err := strconv.ParseUint(part, 10, 31)
		if err != nil || strconv.FormatUint(number, 10) != part {
			return nil, errors.New("want a dotted object identifier")
		}
		oid = append(oid, int(number))
	}
	if oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return nil, errors.New("no such arc")
	}
	return oid, nil
}

func parseCRLs(bundle string) ([]*x509.RevocationList, error) {
	const field = "revocation: crls"
	blocks, err := pemBlocks(field, "X509 CRL", bundle, MaxCRLs)
	if err != nil {
		return nil, err
	}
	var lists []*x509.RevocationList
	for i, der := range blocks {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("%s: list %d: %w", field, i+1, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}
