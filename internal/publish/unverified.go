package publish

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/xmlsig"
)

// signatureLimits are those of a published document; a Signature is no deeper than a rule.
var signatureLimits = xmltree.Limits{
	Bytes: xmlsig.MaxDocumentBytes, Depth: xmlsig.MaxDepth, Elements: xmlsig.MaxElements, Attributes: xmlsig.MaxAttributes,
}

// errUnsigned means that a document has no Signature.
var errUnsigned = errors.New("no Signature element in the root")

// ReadUnverified reads the content of a document without looking at its signature, which may be missing. It is for
// checks on the publisher's side only: what it returns proves nothing.
func ReadUnverified(document []byte) (parsed *ocs.Document, signed bool, err error) {
	document = bytes.TrimPrefix(document, []byte("\uFEFF"))
	root, err := xmltree.Parse(document, signatureLimits)
	if err != nil {
		return nil, false, fmt.Errorf("document: %w", err)
	}
	content := document
	for _, child := range root.Children {
		// A prefix is fine; which name space it stands for is for the verifier to say.
		if child.Name == "Signature" || strings.HasSuffix(child.Name, ":Signature") {
			signed = true
			content = bytes.ReplaceAll(content, child.Raw(document), nil)
		}
	}
	parsed, err = ocs.Parse(content)
	if err != nil {
		return nil, signed, fmt.Errorf("document: %w", err)
	}
	return parsed, signed, nil
}
