package xmlsig

import (
	"crypto"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"

	"github.com/beevik/etree"

	"mitigation.dev/ems/internal/xmlsig/keycheck"
)

// signature is a Signature element whose shape and algorithms are those of the profile. Nothing in it is
// trusted yet.
type signature struct {
	element, signedInfo *etree.Element
	signedInfoMethod    Canonicalization
	method              signatureMethod
	transform           Canonicalization
	digest              crypto.Hash
	digestValue         []byte
	value               []byte
	certificates        [][]byte
	// modulus and exponent are the KeyValue, nil when there is none.
	modulus, exponent *big.Int
	// token is the counter-signature, nil when there is none; tokenCertificates stand beside it.
	token             []byte
	tokenCertificates [][]byte
}

// parseSignature finds the one Signature below root and reads it. The pre-scan has counted already;
// counting here again, in the tree, is what binds the tree to the pre-scan.
func parseSignature(root *etree.Element) (*signature, error) {
	var found []*etree.Element
	for _, child := range root.ChildElements() {
		if child.Tag == "Signature" && child.NamespaceURI() == namespaceDSig {
			found = append(found, child)
		}
	}
	if len(found) != 1 {
		return nil, refuse(ClassShape, "root element", "%d Signature elements as children, want exactly one", len(found))
	}
	s := &signature{element: found[0]}
	if err := exactAttributes(s.element, "", "Id"); err != nil {
		return nil, err
	}
	children, err := elementChildren(s.element)
	if err != nil {
		return nil, err
	}
	if len(children) != 3 && len(children) != 4 {
		return nil, refuse(ClassShape, "Signature", "%d child elements, want SignedInfo, SignatureValue, KeyInfo and at most one Object", len(children))
	}
	for i, name := range []string{"SignedInfo", "SignatureValue", "KeyInfo", "Object"}[:len(children)] {
		if err := named(children[i], namespaceDSig, name); err != nil {
			return nil, err
		}
	}
	s.signedInfo = children[0]
	if err := s.parseSignedInfo(root); err != nil {
		return nil, err
	}
	if s.value, err = base64Content(children[1], keycheck.MaxRSABits/8); err != nil {
		return nil, err
	}
	if err := s.parseKeyInfo(children[2]); err != nil {
		return nil, err
	}
	if len(children) == 4 {
		return s, s.parseObject(children[3])
	}
	return s, nil
}

func (s *signature) parseSignedInfo(root *etree.Element) error {
	parts, err := exactChildren(s.signedInfo, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if err != nil {
		return err
	}
	algorithm, err := emptyWithAlgorithm(parts[0])
	if err != nil {
		return err
	}
	if s.signedInfoMethod, err = parseSignedInfoMethod(algorithm); err != nil {
		return err
	}
	if algorithm, err = emptyWithAlgorithm(parts[1]); err != nil {
		return err
	}
	if s.method, err = parseSignatureMethod(algorithm); err != nil {
		return err
	}
	return s.parseReference(parts[2], root)
}

func (s *signature) parseReference(reference, root *etree.Element) error {
	if err := judgeReference(reference, root); err != nil {
		return err
	}
	parts, err := childrenNamed(reference, "Transforms", "DigestMethod", "DigestValue")
	if err != nil {
		return err
	}
	if err := exactAttributes(parts[0], ""); err != nil {
		return err
	}
	transforms, err := elementChildren(parts[0])
	if err != nil {
		return err
	}
	if len(transforms) > 2 {
		return refuse(ClassShape, "Transforms", "%d transforms, at most 2", len(transforms))
	}
	var algorithms []string
	for _, transform := range transforms {
		if err := named(transform, namespaceDSig, "Transform"); err != nil {
			return err
		}
		algorithm, err := emptyWithAlgorithm(transform)
		if err != nil {
			return err
		}
		algorithms = append(algorithms, algorithm)
	}
	if s.transform, err = parseTransforms(algorithms); err != nil {
		return err
	}
	algorithm, err := emptyWithAlgorithm(parts[1])
	if err != nil {
		return err
	}
	hash, ok := digestMethods[algorithm]
	if !ok {
		return refuse(ClassAlgorithm, "DigestMethod", "%s", shorten(algorithm))
	}
	s.digest = hash
	if s.digestValue, err = base64Content(parts[2], hash.Size()); err != nil {
		return err
	}
	if len(s.digestValue) != hash.Size() {
		return refuse(ClassShape, "DigestValue", "%d bytes, want %d", len(s.digestValue), hash.Size())
	}
	return nil
}

// judgeReference accepts the empty URI and "#" followed by the root's own ID. Nothing is ever looked up by
// id: both mean the root, and an id that stands twice is refused rather than resolved.
func judgeReference(reference, root *etree.Element) error {
	if err := exactAttributes(reference, "URI"); err != nil {
		return err
	}
	uri := reference.SelectAttrValue("URI", "")
	if uri == "" {
		return nil
	}
	id := plainAttribute(root, "ID")
	if id == "" || uri != "#"+id {
		return refuse(ClassShape, "Reference", "URI %s does not name the root element", shorten(uri))
	}
	return refuseSecondID(root, root, id)
}

func refuseSecondID(element, root *etree.Element, id string) error {
	if element != root && plainAttribute(element, "ID") == id {
		return refuse(ClassShape, "element "+shorten(element.FullTag()), "repeats the ID %s of the root element", shorten(id))
	}
	for _, child := range element.ChildElements() {
		if err := refuseSecondID(child, root, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *signature) parseKeyInfo(keyInfo *etree.Element) error {
	if err := exactAttributes(keyInfo, ""); err != nil {
		return err
	}
	children, err := elementChildren(keyInfo)
	if err != nil {
		return err
	}
	for _, child := range children {
		switch {
		case named(child, namespaceDSig, "X509Data") == nil && s.certificates == nil:
			s.certificates, err = parseX509Data(child)
		case named(child, namespaceDSig, "KeyValue") == nil && s.modulus == nil:
			err = s.parseKeyValue(child)
		default:
			err = refuse(ClassShape, "KeyInfo", "element %s, want one X509Data and at most one KeyValue", shorten(child.FullTag()))
		}
		if err != nil {
			return err
		}
	}
	if s.certificates == nil {
		return refuse(ClassShape, "KeyInfo", "no X509Data")
	}
	return nil
}

func (s *signature) parseKeyValue(keyValue *etree.Element) error {
	rsaKey, err := exactChildren(keyValue, "RSAKeyValue")
	if err != nil {
		return err
	}
	numbers, err := exactChildren(rsaKey[0], "Modulus", "Exponent")
	if err != nil {
		return err
	}
	modulus, err := base64Content(numbers[0], keycheck.MaxRSABits/8+1)
	if err != nil {
		return err
	}
	exponent, err := base64Content(numbers[1], 8)
	if err != nil {
		return err
	}
	s.modulus, s.exponent = new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	return nil
}

func parseX509Data(data *etree.Element) ([][]byte, error) {
	if err := exactAttributes(data, ""); err != nil {
		return nil, err
	}
	children, err := elementChildren(data)
	if err != nil {
		return nil, err
	}
	if len(children) == 0 || len(children) > MaxCertificates {
		return nil, refuse(ClassShape, "X509Data", "%d children, want 1 to %d X509Certificate", len(children), MaxCertificates)
	}
	certificates := make([][]byte, 0, len(children))
	for _, child := range children {
		if err := named(child, namespaceDSig, "X509Certificate"); err != nil {
			return nil, err
		}
		der, err := base64Content(child, MaxCertificateBytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, der)
	}
	return certificates, nil
}

// parseObject reads the place where the real service puts its RFC 3161 counter-signature.
func (s *signature) parseObject(object *etree.Element) error {
	if err := exactAttributes(object, "", "Id"); err != nil {
		return err
	}
	children, err := elementChildren(object)
	if err != nil {
		return err
	}
	for _, child := range children {
		switch {
		case named(child, namespaceDSig, "X509Data") == nil && s.tokenCertificates == nil:
			s.tokenCertificates, err = parseX509Data(child)
		case named(child, namespaceTimestamp, "CounterSignature") == nil && s.token == nil:
			err = s.parseCounterSignature(child)
		default:
			err = refuse(ClassShape, "Object", "element %s, want one CounterSignature and at most one X509Data", shorten(child.FullTag()))
		}
		if err != nil {
			return err
		}
	}
	if s.token == nil {
		return refuse(ClassShape, "Object", "no CounterSignature")
	}
	return nil
}

func (s *signature) parseCounterSignature(element *etree.Element) error {
	const format, token = "ts-format", "cms-timestamp-message"
	if err := exactAttributes(element, format); err != nil {
		return err
	}
	if value := element.SelectAttrValue(format, ""); value != token {
		return refuse(ClassShape, "CounterSignature", "%s %s, want %q", format, shorten(value), token)
	}
	decoded, err := base64Text(element, MaxTokenBytes)
	if err != nil {
		return err
	}
	s.token = decoded
	return nil
}

// named refuses an element of another name or namespace.
func named(element *etree.Element, namespace, name string) error {
	if element.Tag != name || element.NamespaceURI() != namespace {
		return refuse(ClassShape, "element "+shorten(element.FullTag()), "want %s of namespace %q", name, namespace)
	}
	return nil
}

// exactAttributes wants one attribute (none if empty) and tolerates those named as optional. Namespace
// declarations are no attributes in this sense; the pre-scan has counted them.
func exactAttributes(element *etree.Element, required string, optional ...string) error {
	found := false
	for _, a := range element.Attr {
		switch {
		case a.Space == prefixXMLNS, a.Space == "" && a.Key == prefixXMLNS:
		case a.Space == "" && a.Key == required && required != "":
			found = true
		case a.Space == "" && slices.Contains(optional, a.Key):
		default:
			return refuse(ClassShape, "element "+shorten(element.FullTag()), "attribute %s is not part of the profile", shorten(a.FullKey()))
		}
	}
	if required != "" && !found {
		return refuse(ClassShape, "element "+shorten(element.FullTag()), "attribute %q is missing", required)
	}
	return nil
}

// plainAttribute is SelectAttrValue for attributes of no namespace only; etree's "" also matches prefixed ones.
func plainAttribute(element *etree.Element, key string) string {
	for _, a := range element.Attr {
		if a.Space == "" && a.Key == key {
			return a.Value
		}
	}
	return ""
}

func exactChildren(element *etree.Element, names ...string) ([]*etree.Element, error) {
	if err := exactAttributes(element, ""); err != nil {
		return nil, err
	}
	return childrenNamed(element, names...)
}

func childrenNamed(element *etree.Element, names ...string) ([]*etree.Element, error) {
	children, err := elementChildren(element)
	if err != nil {
		return nil, err
	}
	if len(children) != len(names) {
		return nil, refuse(ClassShape, "element "+shorten(element.FullTag()), "%d child elements, want %s", len(children), strings.Join(names, ", "))
	}
	for i, name := range names {
		if err := named(children[i], namespaceDSig, name); err != nil {
			return nil, err
		}
	}
	return children, nil
}

// elementChildren returns the child elements and refuses everything else but white space.
func elementChildren(element *etree.Element) ([]*etree.Element, error) {
	var children []*etree.Element
	for _, token := range element.Child {
		switch t := token.(type) {
		case *etree.Element:
			children = append(children, t)
		case *etree.CharData:
			if strings.Trim(t.Data, " \t\r\n") != "" {
				return nil, refuse(ClassShape, "element "+shorten(element.FullTag()), "contains text")
			}
		default:
			return nil, refuse(ClassShape, "element "+shorten(element.FullTag()), "contains a comment or other markup")
		}
	}
	return children, nil
}

func emptyWithAlgorithm(element *etree.Element) (string, error) {
	if err := exactAttributes(element, "Algorithm"); err != nil {
		return "", err
	}
	children, err := elementChildren(element)
	if err != nil {
		return "", err
	}
	if len(children) > 0 {
		return "", refuse(ClassShape, "element "+shorten(element.FullTag()), "parameters are not part of the profile")
	}
	return plainAttribute(element, "Algorithm"), nil
}

func base64Content(element *etree.Element, limit int) ([]byte, error) {
	if err := exactAttributes(element, ""); err != nil {
		return nil, err
	}
	return base64Text(element, limit)
}

// base64Text decodes the text of an element. A comment between two texts is refused: parsers that read only
// one of the texts have accepted forged digests (CVE-2025-29775).
func base64Text(element *etree.Element, limit int) ([]byte, error) {
	subject := "element " + shorten(element.FullTag())
	var text strings.Builder
	for _, token := range element.Child {
		data, ok := token.(*etree.CharData)
		if !ok {
			return nil, refuse(ClassShape, subject, "contains more than text")
		}
		for _, r := range data.Data {
			if !strings.ContainsRune(" \t\r\n", r) {
				text.WriteRune(r)
			}
		}
	}
	if base64.StdEncoding.DecodedLen(text.Len()) > limit+2 {
		return nil, refuse(ClassLimit, subject, "more than %d bytes", limit)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text.String())
	switch {
	case err != nil:
		return nil, &Error{Class: ClassShape, Subject: subject, Reason: "not base64", Err: err}
	case len(decoded) == 0:
		return nil, refuse(ClassShape, subject, "empty")
	case len(decoded) > limit:
		return nil, refuse(ClassLimit, subject, "%d bytes, at most %d", len(decoded), limit)
	}
	return decoded, nil
}
