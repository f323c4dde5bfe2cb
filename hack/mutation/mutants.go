package main

// mutants returns all mutants, in the order in which the steps are taken.
func mutants() []mutant {
	var all []mutant
	for _, table := range [][]mutant{prescanMutants, namespaceMutants, shapeMutants, algorithmMutants, certificateMutants, levelMutants, verifyMutants, canonicalMutants, revocationMutants, tokenMutants, authorityMutants} {
		all = append(all, table...)
	}
	return all
}

const (
	prescanFile     = "internal/xmlsig/prescan.go"
	attributesFile  = "internal/xmlsig/attributes.go"
	shapeFile       = "internal/xmlsig/shape.go"
	algorithmFile   = "internal/xmlsig/algorithms.go"
	certificateFile = "internal/xmlsig/certificates.go"
	verifyFile      = "internal/xmlsig/verify.go"
	canonicalFile   = "internal/xmlsig/canonical.go"
	c14nFile        = "internal/xmlsig/c14n/c14n.go"
	escapeFile      = "internal/xmlsig/c14n/escape.go"
	revocationFile  = "internal/xmlsig/revocation.go"
	levelFile       = "internal/xmlsig/levels.go"
	keycheckFile    = "internal/xmlsig/keycheck/keycheck.go"
	berFile         = "internal/timestamp/ber.go"
	cmsFile         = "internal/timestamp/cms.go"
	tokenFile       = "internal/timestamp/verify.go"
)

var prescanMutants = []mutant{
	never("pre-scan: size of the document", prescanFile, "len(input) > MaxDocumentBytes"),
	never("pre-scan: bytes that are no UTF-8", prescanFile, "r == utf8.RuneError && width <= 1"),
	swap("pre-scan: characters that XML does not have", prescanFile, `r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF`, "false"),
	never("pre-scan: number of comments", prescanFile, "s.comments > MaxComments"),
	never("pre-scan: processing instructions", prescanFile, `s.start != 0 || t.Target != "xml"`),
	never("pre-scan: content of the XML declaration", prescanFile, "!xmlDeclaration.Match(t.Inst)"),
	swap("pre-scan: document type declaration", prescanFile, `return s.refuse(ClassMalformed, "document type declaration", "not allowed")`, "return nil"),
	never("pre-scan: text outside the root", prescanFile, `len(bytes.Trim(s.source[s.start:s.end], " \t\r\n")) > 0`),
	never("pre-scan: a second root", prescanFile, "len(s.stack) == 0 && s.rootSeen"),
	{"depth, in the pre-scan and in the tree", []edit{
		unmet(prescanFile, "len(s.stack) >= MaxDepth"),
		{canonicalFile, "tree.ReadSettings.MaxDepth = MaxDepth + 1", "tree.ReadSettings.MaxDepth = 1 << 30"},
	}},
	never("pre-scan: number of elements", prescanFile, "s.elements > MaxElements"),
	never("pre-scan: number of attributes of an element", attributesFile, "count > MaxAttributes"),
	never("pre-scan: number of attributes of the document", prescanFile, "s.attributesSeen > MaxDocumentAttributes"),
	never("pre-scan: end tag of another element", prescanFile, "open.name != t.Name"),
	never("pre-scan: elements that are never closed", prescanFile, "len(s.stack) > 0"),
	swap("pre-scan: no root", prescanFile, "if !s.rootSeen {\n\t\treturn nil", "if false {\n\t\treturn nil"),
	never("pre-scan: place of XML Signature elements", prescanFile, `name.Local != "Signature" || len(s.stack) != 2`),
	{"a second Signature, in the pre-scan and in the tree", []edit{
		unmet(prescanFile, "s.result.signatures > 1"),
		{shapeFile, "if len(found) != 1 {", "if len(found) == 0 {"},
	}},
	never("pre-scan: size of the canonical form", prescanFile, "s.result.canonicalBytes > MaxCanonicalBytes"),
	swap("pre-scan: repeated namespaces in the estimate of the canonical form", prescanFile, "s.rendered[:open.rendered]", "s.rendered[:max(open.rendered, len(s.rendered))]"),
	swap("pre-scan: escapes in the estimate of the canonical form", prescanFile, "return s.grow(escapedText(t))", "return s.grow(len(t))"),
}

var namespaceMutants = []mutant{
	swap("namespaces: reserved prefixes and names", attributesFile, "prefix == prefixXML, prefix == prefixXMLNS, a.Value == namespaceXML, a.Value == namespaceXMLNS", "false"),
	never("namespaces: a prefix that is undeclared again", attributesFile, `prefix != "" && a.Value == ""`),
	never("namespaces: length of a name", attributesFile, "len(a.Value) > MaxNamespaceBytes"),
	never("namespaces: relative names", attributesFile, `a.Value != "" && !absoluteURI.MatchString(a.Value)`),
	never("namespaces: number of declarations", attributesFile, "s.declarations[where] > limit"),
	swap("namespaces: number of declarations inside the Signature", attributesFile, "where, limit, place = 1, MaxSignatureNamespaceDeclarations,", "where, limit, place = 1, 1<<30,"),
	swap("names: qualified names", attributesFile, `strings.Contains(name.Local, ":"), strings.Contains(name.Space, ":"), !unicode.IsLetter(first) && first != '_'`, `false && strings.Contains(name.Local, ":"), false && !unicode.IsLetter(first)`),
	never("names: the prefix xmlns", attributesFile, "name.Space == prefixXMLNS"),
	never("names: undeclared prefixes", attributesFile, `!ok && name.Space != ""`),
	never("attributes: repeated", attributesFile, "slices.Contains(s.expanded, name)"),
	swap("attributes: repeated by two prefixes of one namespace", attributesFile, "name.Space = uri", "_ = uri"),
	never("attributes: white space between them", attributesFile, "blanks == 0"),
	swap("attributes: white space within a value is a blank", attributesFile, `if !bytes.ContainsAny(value, "\t\r\n") {`, "if true {"),
}

var shapeMutants = []mutant{
	swap("shape: attributes of Signature", shapeFile, `if err := exactAttributes(s.element, "", "Id"); err != nil {`, "if err := error(nil); err != nil {"),
	swap("shape: more than one Object", shapeFile, `if len(children) != 3 && len(children) != 4 {`, "children = children[:min(len(children), 4)]\n\tif len(children) != 3 && len(children) != 4 {"),
	swap("shape: order of the children of Signature", shapeFile, "if err := named(children[i], namespaceDSig, name); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t}\n\ts.signedInfo",
		"_, _ = i, name\n\t}\n\ts.signedInfo"),
	swap("shape: superfluous children", shapeFile, "if len(children) != len(names) {", "children = children[:min(len(children), len(names))]\n\tif len(children) != len(names) {"),
	swap("shape: names of children", shapeFile, "if err := named(children[i], namespaceDSig, name); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t}\n\treturn children",
		"_, _ = i, name\n\t}\n\treturn children"),
	swap("shape: namespaces of elements", shapeFile, "element.Tag != name || element.NamespaceURI() != namespace", "element.Tag != name"),
	swap("shape: superfluous attributes", shapeFile, `return refuse(ClassShape, "element "+shorten(element.FullTag()), "attribute %s is not part of the profile", shorten(a.FullKey()))`, "continue"),
	never("shape: missing attributes", shapeFile, `required != "" && !found`),
	never("shape: text between elements", shapeFile, `strings.Trim(t.Data, " \t\r\n") != ""`),
	swap("shape: comments between elements", shapeFile, `return nil, refuse(ClassShape, "element "+shorten(element.FullTag()), "contains a comment or other markup")`, "continue"),
	swap("shape: parameters of algorithms", shapeFile, "if len(children) > 0 {", "if false && len(children) > 0 {"),
	{"shape: number of transforms, in the shape and in the allow list", []edit{
		unmet(shapeFile, "len(transforms) > 2"),
		{algorithmFile, "len(algorithms) == 0 || len(algorithms) > 2", "len(algorithms) == 0"},
	}},
	swap("shape: elements among the transforms", shapeFile, `if err := named(transform, namespaceDSig, "Transform"); err != nil {`, "if err := error(nil); err != nil {"),
	never("shape: the reference names the root", shapeFile, `id == "" || uri != "#"+id`),
	swap("shape: an ID that stands twice", shapeFile, "return refuseSecondID(root, root, id)", "return nil"),
	swap("shape: attributes of Reference", shapeFile, `if err := exactAttributes(reference, "URI"); err != nil {`, "if err := error(nil); err != nil {"),
	never("shape: length of the digest", shapeFile, "len(s.digestValue) != hash.Size()"),
	swap("shape: children of KeyInfo", shapeFile, `err = refuse(ClassShape, "KeyInfo", "element %s, want one X509Data and at most one KeyValue", shorten(child.FullTag()))`, "continue"),
	swap("shape: a second X509Data", shapeFile, "== nil && s.certificates == nil:", "== nil:"),
	swap("shape: a second KeyValue", shapeFile, "== nil && s.modulus == nil:", "== nil:"),
	swap("shape: no X509Data", shapeFile, "if s.certificates == nil {", "if false {"),
	never("shape: number of certificates", shapeFile, "len(children) == 0 || len(children) > MaxCertificates"),
	swap("shape: size of a certificate", shapeFile, "base64Content(child, MaxCertificateBytes)", "base64Content(child, MaxDocumentBytes)"),
	swap("shape: size of the SignatureValue", shapeFile, "base64Content(children[1], keycheck.MaxRSABits/8)", "base64Content(children[1], MaxDocumentBytes)"),
	swap("shape: size of the counter-signature", shapeFile, "base64Text(element, MaxTokenBytes)", "base64Text(element, MaxDocumentBytes)"),
	swap("shape: comments in base64", shapeFile, `return nil, refuse(ClassShape, subject, "contains more than text")`, "continue"),
	swap("shape: base64 with bits that nobody reads", shapeFile, "base64.StdEncoding.Strict()", "base64.StdEncoding"),
	swap("shape: attributes of Object", shapeFile, `if err := exactAttributes(object, "", "Id"); err != nil {`, "if err := error(nil); err != nil {"),
	swap("shape: children of Object", shapeFile, `err = refuse(ClassShape, "Object", "element %s, want one CounterSignature and at most one X509Data", shorten(child.FullTag()))`, "continue"),
	swap("shape: a second CounterSignature", shapeFile, "== nil && s.token == nil:", "== nil:"),
	swap("shape: a second X509Data in Object", shapeFile, "== nil && s.tokenCertificates == nil:", "== nil:"),
	swap("shape: an Object without CounterSignature", shapeFile, "if s.token == nil {", "if false {"),
	never("shape: format of the counter-signature", shapeFile, "value != token"),
}

var algorithmMutants = []mutant{
	swap("algorithms: canonicalisation of SignedInfo", algorithmFile, `return "", refuse(ClassAlgorithm, "CanonicalizationMethod", "%s", shorten(algorithm))`, "return c, nil"),
	{"algorithms: signature method, in the allow list and by the key", []edit{
		{algorithmFile, `return "", refuse(ClassAlgorithm, "SignatureMethod", "%s", shorten(algorithm))`, "return m, nil"},
		unmet(verifyFile, "s.method != methodRSASHA256"),
	}},
	never("algorithms: first transform", algorithmFile, "algorithms[0] != transformEnveloped"),
	swap("algorithms: second transform", algorithmFile, `return "", refuse(ClassAlgorithm, "Transform 2", "%s", shorten(algorithms[1]))`, "return c, nil"),
	swap("algorithms: SHA-1 as digest", algorithmFile, "= map[string]crypto.Hash{", "= map[string]crypto.Hash{\n\tnamespaceDSig + \"sha1\": crypto.SHA1,"),
	never("algorithms: method of an RSA key", verifyFile, "s.method != methodRSASHA256"),
	never("algorithms: method of an ECDSA key", verifyFile, "s.method != methodECDSASHA256"),
}

var certificateMutants = []mutant{
	swap("certificates: size of keys", certificateFile, "if err := judgeKey(c); err != nil {", "if err := error(nil); err != nil {"),
	never("keys: least size of RSA", keycheckFile, "bits < MinRSABits"),
	never("keys: greatest size of RSA", keycheckFile, "bits > MaxRSABits"),
	swap("keys: curves", keycheckFile, `return fmt.Errorf("ECDSA key on %s: want P-256, P-384 or P-521", key.Curve.Params().Name)`, "return nil"),
	never("certificates: a second leaf", certificateFile, "leaf != nil"),
	swap("certificates: an authority as signer", certificateFile, "case c.BasicConstraintsValid && c.IsCA:", "case c.BasicConstraintsValid && c.IsCA && len(c.ExtKeyUsage) == 0:"),
	never("certificates: curve of the signer", certificateFile, "ok && key.Curve != elliptic.P256()"),
	never("certificates: key usage", certificateFile, "leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 && hasExtension(leaf, oidKeyUsage)"),
	never("certificates: anyExtendedKeyUsage", certificateFile, "has(oidAnyExtKeyUsage)"),
	never("certificates: codeSigning said explicitly", certificateFile, "!has(oidCodeSigning)"),
	swap("certificates: extended key usages of the policy", certificateFile, "if has(oid) {", "if true {"),
	swap("certificates: organisation", certificateFile, `{"organization", policy.Organization, oidOrganization}, `, ""),
	swap("certificates: common name", certificateFile, `, {"common name", policy.CommonName, oidCommonName}`, ""),
	swap("certificates: a second name of one kind", certificateFile, "len(got) != 1 || got[0] != want.value", "!slices.Contains(got, want.value)"),
	swap("chain: roots come from the policy only", certificateFile, "options.Intermediates.AddCert(authority)", "options.Roots.AddCert(authority)"),
	swap("chain: judged at the time", certificateFile, "CurrentTime:   at,", "CurrentTime:   leaf.NotAfter,"),
	swap("chain: purpose of the authorities", certificateFile, "[]x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}", "[]x509.ExtKeyUsage{x509.ExtKeyUsageAny}"),
	swap("chain: issuer pins", certificateFile, "if len(policy.IssuerPins) == 0 ||", "if true ||"),
	never("chain: a leaf that is itself a root", certificateFile, "len(chain) < 2"),
	swap("KeyValue: compared at all", verifyFile, "return signed, judgeKeyValue(s, leaf)", "return signed, nil"),
	swap("KeyValue: modulus", certificateFile, "key.N.Cmp(s.modulus) != 0 || ", ""),
	swap("KeyValue: exponent", certificateFile, " || s.exponent.Int64() != int64(key.E)", ""),
}

var levelMutants = []mutant{
	swap("levels: Enforce", levelFile, "if level != LevelLog {", "if false {"),
	swap("levels: a word that is neither", levelFile, "if level != LevelLog {", "if level == LevelEnforce || level == \"\" {"),
	swap("levels: no word", levelFile, "if level != LevelLog {", "if level == LevelEnforce {"),
	swap("levels: Log", levelFile, "if level != LevelLog {", "if true {"),
	swap("levels: findings are kept", levelFile, "s.Findings = append(s.Findings, Finding{", "_ = append(s.Findings, Finding{"),
	swap("levels: findings of all checks are kept", levelFile, "append(s.Findings, Finding{", "append([]Finding(nil), Finding{"),
	swap("levels: of extended key usages", certificateFile, "policy.Levels.ExtendedKeyUsages", "policy.Levels.Subject"),
	swap("levels: of the subject", certificateFile, "policy.Levels.Subject", "policy.Levels.IssuerPins"),
	swap("levels: of issuer pins", certificateFile, "policy.Levels.IssuerPins", "policy.Levels.Revocation"),
	swap("levels: of the revocation of the signer", verifyFile, "policy.Levels.Revocation, refusal); err != nil {\n\t\t\treturn nil, err", "policy.Levels.IssuerPins, refusal); err != nil {\n\t\t\treturn nil, err"),
	swap("levels: of the revocation of the authority", verifyFile, "policy.Levels.Revocation, refusal); err != nil {\n\t\t\treturn \"\", err", "LevelLog, refusal); err != nil {\n\t\t\treturn \"\", err"),
	swap("levels: codeSigning has none", certificateFile, "return refuseUsage(leaf, oidCodeSigning)", "return s.weigh(CheckExtendedKeyUsages, policy.Levels.ExtendedKeyUsages, refuseUsage(leaf, oidCodeSigning))"),
	swap("levels: anyExtendedKeyUsage has none", certificateFile, "return refuse(ClassCertificate, describe(leaf), \"extended key usage anyExtendedKeyUsage\")", "return s.weigh(CheckExtendedKeyUsages, policy.Levels.ExtendedKeyUsages, refuse(ClassCertificate, describe(leaf), \"any\"))"),
	swap("levels: the chain has none", certificateFile, "return nil, &Error{Class: ClassUntrusted, Subject: describe(leaf), Reason: \"no valid chain to a configured root\", Err: stableCause(err)}",
		"return []*x509.Certificate{leaf, leaf}, s.weigh(CheckIssuerPins, policy.Levels.IssuerPins, refuse(ClassUntrusted, describe(leaf), \"%v\", err))"),
	swap("levels: a logged subject ends the check of it", certificateFile, "policy.Levels.Subject, refusal); err != nil {\n\t\t\t\treturn err\n\t\t\t}", "policy.Levels.Subject, refusal); err != nil || true {\n\t\t\t\treturn err\n\t\t\t}"),
	swap("levels: a logged revocation ends the verification", verifyFile, "policy.Levels.Revocation, refusal); err != nil {\n\t\t\treturn nil, err\n\t\t}", "policy.Levels.Revocation, refusal); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tbreak"),
}

var verifyMutants = []mutant{
	swap("policy: without roots", verifyFile, "if len(policy.Roots) == 0 {", "if false {"),
	swap("trust before cryptography", verifyFile, "signed, err := judgeSigner(s, &policy, now)",
		"certificates, err := parseCertificates(s.certificates, \"KeyInfo\")\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\tif leaf, _, err := splitLeaf(certificates); err == nil {\n\t\tif err := s.verifySignedInfo(leaf); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t}\n\tsigned, err := judgeSigner(s, &policy, now)"),
	swap("counter-signature: refused when wrong", verifyFile, "if err != nil {\n\t\treturn \"\", &Error{Class: ClassTimestamp, Subject: \"CounterSignature\", Err: err}\n\t}\n\tleaf",
		"if err != nil {\n\t\treturn \"\", nil\n\t}\n\tleaf"),
	never("counter-signature: within the validity of the signer", verifyFile, "token.Time.Before(leaf.NotBefore) || token.Time.After(leaf.NotAfter)"),
	swap("counter-signature: revocation of the authority", verifyFile, "judgeRevocation(token.Chain, &policy.Revocation, false, now)", "judgeRevocation(token.Chain, &Revocation{}, false, now)"),
	swap("counter-signature: over the decoded value", verifyFile, "timestamp.Verify(s.token, s.value,", "timestamp.Verify(s.token, s.digestValue,"),
	swap("revocation: of the signer", verifyFile, "judgeRevocation(signed.Chain, &policy.Revocation, require, now)", "judgeRevocation(signed.Chain, &Revocation{}, require, now)"),
	swap("SignedInfo: signature", verifyFile, "if err := s.verifySignedInfo(signed.Signer); err != nil {", "if err := error(nil); err != nil {"),
	swap("SignedInfo: RSA signature", verifyFile, "if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], s.value); err != nil {", "if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], s.value); key == nil && err != nil {"),
	never("SignedInfo: ECDSA signature", verifyFile, "!ecdsa.Verify(key, digest[:], r, v)"),
	swap("SignedInfo: length of an ECDSA value", verifyFile, "if len(s.value) != 64 {", "if len(s.value) < 64 {"),
	never("content: digest", verifyFile, "!bytes.Equal(h.Sum(nil), s.digestValue)"),
	swap("content: the canonical bytes only are returned", verifyFile, "signed.Digest = sha256.Sum256(signed.Canonical)", "signed.Digest, signed.Canonical = sha256.Sum256(signed.Canonical), document"),
	swap("content: the digest is that of the canonical bytes", verifyFile, "signed.Digest = sha256.Sum256(signed.Canonical)", "signed.Digest = sha256.Sum256(document)"),
	swap("content: canonicalisation that the document asks for", canonicalFile, "if method == ExclusiveC14N {", "if method != \"\" {"),
}

// canonicalMutants are canonicalisers that are wrong about one rule. A wrong form is mostly a document that is refused for no
// reason; where two contents have one form, it is a forgery.
var canonicalMutants = []mutant{
	swap("C14N: less the Signature", c14nFile, "if t == w.except {", "if false {"),
	swap("C14N: nothing less but the Signature", c14nFile, "if t == w.except {", "if w.except != nil && t.Tag == w.except.Tag {"),
	never("C14N: the Signature is a child of the root", canonicalFile, "signature != nil && signature.Parent() != root"),
	swap("C14N: namespaces of ancestors", c14nFile, "if err := w.declare(ancestor); err != nil {", "if err := error(nil); ancestor == nil && err != nil {"),
	swap("C14N: the nearest ancestor's namespaces", c14nFile, "for _, ancestor := range slices.Backward(ancestors) {", "for _, ancestor := range ancestors {"),
	never("C14N: xml: attributes of ancestors", c14nFile, "a.Space == prefixXML && !hasXML(apex.Attr, a.Key) && !hasXML(w.inherited, a.Key)"),
	swap("C14N: xml: attributes of its own", c14nFile, "!hasXML(apex.Attr, a.Key) && ", ""),
	swap("C14N: the nearest ancestor's xml: attributes", c14nFile, " && !hasXML(w.inherited, a.Key)", ""),
	swap("C14N: xml: attributes are not for the exclusive form", c14nFile, "if w.method != Inclusive {", "if false {"),
	swap("C14N: xml: attributes of ancestors once", c14nFile, "\tw.inherited = nil\n", ""),
	never("C14N: prefixes declared empty", c14nFile, `prefix != "" && a.Value == ""`),
	never("C14N: undeclared prefixes", c14nFile, `prefix != "" && !ok`),
	swap("C14N: the end of a namespace's scope", c14nFile, "w.scope, w.rendered = w.scope[:scope], w.rendered[:rendered]", "w.scope, w.rendered = w.scope[:max(scope, len(w.scope))], w.rendered[:rendered]"),
	swap("C14N: the end of what stands in the output", c14nFile, "w.scope, w.rendered = w.scope[:scope], w.rendered[:rendered]", "w.scope, w.rendered = w.scope[:scope], w.rendered[:max(rendered, len(w.rendered))]"),
	swap("C14N: the nearest namespace", c14nFile, "range slices.Backward(b)", "range slices.All(b)"),
	swap("C14N: the method", c14nFile, "if w.method == Exclusive {", "if w.method != Exclusive {"),
	swap("C14N: an unknown method", c14nFile, "if method != Exclusive && method != Inclusive {", "if false {"),
	swap("C14N: all namespaces in scope, for the apex", c14nFile, "w.element(apex, 0)", "w.element(apex, len(w.scope))"),
	swap("C14N: order of attributes by namespace", c14nFile, "cmp.Or(cmp.Compare(a.uri, b.uri), cmp.Compare(a.local, b.local))", "cmp.Compare(a.local, b.local)"),
	swap("C14N: order of attributes by name", c14nFile, "cmp.Or(cmp.Compare(a.uri, b.uri), cmp.Compare(a.local, b.local))", "cmp.Compare(a.uri, b.uri)"),
	swap("C14N: order of attributes, by namespace and not by prefix", c14nFile, "cmp.Compare(a.uri, b.uri)", "cmp.Compare(a.prefix, b.prefix)"),
	swap("C14N: order of namespaces", c14nFile, "return cmp.Compare(a.prefix, b.prefix) })", "return cmp.Compare(a.uri, b.uri) })"),
	swap("C14N: attributes without prefix have no namespace", c14nFile, `if a.Space != "" { // without`, `if true { // without`),
	swap("C14N: attributes without prefix do not use the default namespace", c14nFile, `if a.prefix != "" {`, `if true {`),
	swap("C14N: the namespace of the element", c14nFile, "w.render(binding{e.Space, uri})", "_ = uri"),
	swap("C14N: the namespaces of attributes", c14nFile, "w.render(binding{a.prefix, a.uri})", "_ = a.uri"),
	swap("C14N: xml is not declared", c14nFile, "if name.prefix == prefixXML {", "if false {"),
	never("C14N: a namespace that stands in the output already", c14nFile, "uri == name.uri"),
	swap("C14N: a namespace that stands in the output as another", c14nFile, "uri == name.uri", `uri != ""`),
	swap("C14N: processing instructions", c14nFile, `return fmt.Errorf("processing instruction: %q: not part of the profile", t.Target)`, "return nil"),
	swap("C14N: document types", c14nFile, `return fmt.Errorf("document type: %T: not part of the profile", token)`, "return nil"),
	swap("C14N: & in text", escapeFile, "for i := range len(data) {\n\t\tvar replacement string\n\t\tswitch data[i] {\n\t\tcase '&':", "for i := range len(data) {\n\t\tvar replacement string\n\t\tswitch data[i] {\n\t\tcase 0:"),
	swap("C14N: < in text", escapeFile, "case '<':\n\t\t\treplacement = \"&lt;\"\n\t\tcase '>'", "case 0:\n\t\t\treplacement = \"&lt;\"\n\t\tcase '>'"),
	swap("C14N: > in text", escapeFile, "case '>':", "case 0:"),
	swap("C14N: carriage returns in text", escapeFile, "case '\\r':\n\t\t\treplacement = \"&#xD;\"\n\t\tdefault:\n\t\t\tcontinue\n\t\t}\n\t\tw.out = append(append(w.out, data", "default:\n\t\t\tcontinue\n\t\t}\n\t\tw.out = append(append(w.out, data"),
	swap("C14N: & in attributes", escapeFile, "switch value[i] {\n\t\tcase '&':", "switch value[i] {\n\t\tcase 0:"),
	swap("C14N: < in attributes", escapeFile, "case '<':\n\t\t\treplacement = \"&lt;\"\n\t\tcase '\"'", "case 0:\n\t\t\treplacement = \"&lt;\"\n\t\tcase '\"'"),
	swap("C14N: quotation marks in attributes", escapeFile, "case '\"':", "case 0:"),
	swap("C14N: tabs in attributes", escapeFile, "case '\\t':", "case 0:"),
	swap("C14N: line feeds in attributes", escapeFile, "case '\\n':", "case 0:"),
	swap("C14N: carriage returns in attributes", escapeFile, "case '\\r':\n\t\t\treplacement = \"&#xD;\"\n\t\tdefault:\n\t\t\tcontinue\n\t\t}\n\t\tw.out = append(append(w.out, value", "default:\n\t\t\tcontinue\n\t\t}\n\t\tw.out = append(append(w.out, value"),
}

var revocationMutants = []mutant{
	never("revocation: the entry of a certificate", revocationFile, "entry.SerialNumber.Cmp(c.SerialNumber) == 0"),
	swap("revocation: signature of the list", revocationFile, "list.CheckSignatureFrom(chain[i+1]) != nil", "chain[i+1] == nil"),
	swap("revocation: authorities too", revocationFile, "range chain[:len(chain)-1]", "range chain[:1]"),
	swap("revocation: Require", revocationFile, "case require:", "case false && require:"),
	swap("revocation: Off", revocationFile, "if revocation.Mode == RevocationOff || revocation.Mode == \"\" {", "if revocation.Mode == \"\" {"),
	never("revocation: a list of the future", revocationFile, "list.ThisUpdate.After(now.Add(ClockSkew))"),
	never("revocation: a list without an end", revocationFile, "list.NextUpdate.IsZero() && maxAge == 0"),
	never("revocation: a list that has ended", revocationFile, "!list.NextUpdate.IsZero() && now.After(list.NextUpdate)"),
	never("revocation: a list beyond the greatest age", revocationFile, "maxAge > 0 && now.Sub(list.ThisUpdate) > maxAge"),
	never("revocation: a list that covers a part only", revocationFile, "extension.Critical"),
}

var tokenMutants = []mutant{
	never("token: size", berFile, "len(ber) > MaxTokenBytes"),
	never("token: bytes behind it", berFile, "rest != len(ber)"),
	swap("token: number of values", berFile, "if t.values++; t.values > maxBERValues {", "if t.values++; false {"),
	never("token: depth", berFile, "depth > maxBERDepth"),
	never("token: long tags", berFile, "h.tag&tagMask > highestLowTag"),
	swap("token: indefinite length of a primitive value", berFile, "if h.tag&constructed == 0 {\n\t\t\treturn berHeader{}", "if false {\n\t\t\treturn berHeader{}"),
	never("token: pieces of a string", berFile, "der[0] != tagOctetString"),
	never("token: type of the message", cmsFile, "!outer.ContentType.Equal(oidSignedData)"),
	never("token: type of the content", cmsFile, "!data.Encapsulated.ContentType.Equal(oidTSTInfo)"),
	swap("token: number of signers", cmsFile, "len(data.SignerInfos) != 1", "len(data.SignerInfos) == 0"),
	never("token: version of TSTInfo", cmsFile, "p.info.Version != 1"),
	never("token: form of genTime", cmsFile, "raw.Class != asn1.ClassUniversal || raw.Tag != asn1.TagGeneralizedTime || raw.IsCompound || len(text) > 32 || bytes.IndexByte(raw.Bytes, ',') >= 0"),
	never("token: number of certificates", cmsFile, "len(certificates) == maxTokenCertificates"),
	swap("token: attributes that are repeated", cmsFile, "; repeated {", "; false && repeated {"),
	never("token: attributes whose values are no set", cmsFile, "one.Values.Class != asn1.ClassUniversal || one.Values.Tag != asn1.TagSet"),
	swap("token: bytes behind an inner value", cmsFile, "if len(rest) > 0 {\n\t\treturn fmt.Errorf", "if false {\n\t\treturn fmt.Errorf"),
	swap("token: SHA-1", cmsFile, "= range map[crypto.Hash]asn1.ObjectIdentifier{", "= range map[crypto.Hash]asn1.ObjectIdentifier{\n\t\tcrypto.SHA1: {1, 3, 14, 3, 2, 26},"),
}

var authorityMutants = []mutant{
	never("time-stamp: imprint", tokenFile, "!bytes.Equal(sum(hash, message), p.info.Imprint.Hashed)"),
	never("time-stamp: of the future", tokenFile, "p.time.After(options.Now.Add(options.ClockSkew))"),
	swap("time-stamp: tolerance of clocks", tokenFile, "options.Now.Add(options.ClockSkew)", "options.Now"),
	swap("time-stamp: signer by issuer and serial number", tokenFile, " && c.SerialNumber.Cmp(is.Serial) == 0", ""),
	swap("time-stamp: signing-certificate attribute", tokenFile, "if err := p.judgeSigningCertificate(c); err != nil {", "if err := error(nil); err != nil {"),
	never("time-stamp: signing-certificate attribute missing", tokenFile, "!hasV1 && !hasV2"),
	never("time-stamp: signing-certificate names another (SHA-1)", tokenFile, "len(v1.Certificates) == 0 || !bytes.Equal(v1.Certificates[0].Hash, digest[:])"),
	never("time-stamp: signing-certificate names another", tokenFile, "!bytes.Equal(value, sum(hash, c.Raw))"),
	swap("time-stamp: an authority of certificates as signer", tokenFile, "if c.IsCA {", "if false {"),
	swap("time-stamp: purpose said explicitly", tokenFile, "len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || ", ""),
	swap("time-stamp: purpose said alone", tokenFile, " || len(c.UnknownExtKeyUsage) > 0", ""),
	swap("time-stamp: size of the key", tokenFile, "if err := keycheck.Check(c.PublicKey); err != nil {", "if err := error(nil); err != nil {"),
	swap("time-stamp: certificate of the signer judged", tokenFile, "return c, judgeCertificate(c)", "return c, nil"),
	never("time-stamp: content-type attribute", tokenFile, "!found || !contentType.Equal(oidTSTInfo)"),
	never("time-stamp: message-digest attribute", tokenFile, "!found || !bytes.Equal(digest, sum(hash, p.content))"),
	swap("time-stamp: signature", tokenFile, "if err := signer.CheckSignature(algorithm, signed, p.signer.Signature); err != nil {", "if err := error(nil); algorithm == 0 && err != nil {"),
	swap("time-stamp: algorithm fits the digest", tokenFile, "known.oid.Equal(oid) && (known.hash == 0 || known.hash == hash)", "known.oid.Equal(oid)"),
	swap("time-stamp: roots come from the policy only", tokenFile, "options.Intermediates.AddCert(c)", "options.Roots.AddCert(c)"),
	swap("time-stamp: keys of authorities", tokenFile, "if c.IsCA && keycheck.Check(c.PublicKey) == nil {", "if c.IsCA {"),
	swap("time-stamp: chain at its time", tokenFile, "CurrentTime:   at,", "CurrentTime:   signer.NotAfter,"),
	swap("time-stamp: purpose of the authorities", tokenFile, "[]x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}", "[]x509.ExtKeyUsage{x509.ExtKeyUsageAny}"),
}
