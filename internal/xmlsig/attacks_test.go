package xmlsig_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

const evil = `<Config id="EVIL" desc="not signed"/>`

func cut(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	inner, _, _ := strings.Cut(rest, to)
	return from + inner + to
}

// TestAttacksOnTheDocument changes a genuine document, as somebody on the way could.
func TestAttacksOnTheDocument(t *testing.T) {
	p := testPKI(t)
	genuine := string(sign(t, content, p.RSA, func(o *xmlsig.SignOptions) { o.KeyValue, o.ReferenceID = true, true }))
	signature := cut(genuine, "<Signature", "</Signature>")
	signedInfo := cut(genuine, "<SignedInfo>", "</SignedInfo>")
	reference := cut(genuine, "<Reference", "</Reference>")
	config := cut(genuine, "<Config", "</Config>")
	digestValue := cut(genuine, "<DigestValue>", "</DigestValue>")
	root := cut(genuine, "<EOCS", ">")
	prolog, _, _ := strings.Cut(genuine, "<EOCS")
	fromRoot := strings.TrimPrefix(genuine, prolog)
	bare := strings.Replace(genuine[strings.Index(genuine, "<EOCS"):strings.Index(genuine, "</EOCS>")+len("</EOCS>")], signature, "", 1)
	cases := map[string]struct {
		old, replacement string
		want             xmlsig.Class
	}{
		// Signature wrapping: the signed root moves, other content takes its place.
		"XSW: the signed root inside Object":           {signature + "</EOCS>", strings.Replace(signature, "</Signature>", "<Object>"+bare+"</Object></Signature>", 1) + evil + "</EOCS>", xmlsig.ClassShape},
		"XSW: the signed root as sibling of Signature": {config, evil + bare, xmlsig.ClassShape},
		"XSW: a wrapper around the signed root":        {genuine, "<EOCS version='1.1'>" + evil + fromRoot + "</EOCS>", xmlsig.ClassShape},
		"XSW: a wrapper around root and Signature":     {genuine, "<EOCS version='1.1' ID='other'>" + evil + strings.TrimSuffix(fromRoot, "\r\n<!-- behind -->\r\n") + "</EOCS>", xmlsig.ClassShape},
		"XSW: Signature moved down":                    {config + "\r\n" + signature, "<Config>" + signature + "</Config>", xmlsig.ClassShape},
		"XSW: Signature outside, signed copy inside":   {config, bare, xmlsig.ClassShape},
		"XSW: Signature as root":                       {genuine, strings.Replace(signature, "</Signature>", "<Object>"+bare+"</Object></Signature>", 1), xmlsig.ClassShape},
		"an element that repeats the root's ID":        {config, config + `<Config ID="eocs"/>`, xmlsig.ClassShape},
		"the root's ID changed":                        {`ID="eocs"`, `ID="other"`, xmlsig.ClassShape},
		"a reference to an element's id":               {`URI="#eocs"`, `URI="#M2"`, xmlsig.ClassShape},
		"a reference to elsewhere":                     {`URI="#eocs"`, `URI="http://example.com/eocs.xml"`, xmlsig.ClassShape},
		"a reference by XPointer":                      {`URI="#eocs"`, `URI="#xpointer(id('eocs'))"`, xmlsig.ClassShape},
		"no reference URI":                             {` URI="#eocs"`, ``, xmlsig.ClassShape},
		// More than one.
		"two Signatures":                {signature, signature + signature, xmlsig.ClassShape},
		"two SignedInfos":               {signedInfo, signedInfo + signedInfo, xmlsig.ClassShape},
		"a foreign SignedInfo in front": {signedInfo, `<x:SignedInfo xmlns:x="urn:x"/>` + signedInfo, xmlsig.ClassShape},
		"two references":                {reference, reference + reference, xmlsig.ClassShape},
		"a Manifest outside":            {config, config + `<Manifest xmlns="http://www.w3.org/2000/09/xmldsig#"/>`, xmlsig.ClassShape},
		"two X509Data":                  {"<X509Data>", `<X509Data><X509Certificate>AAAA</X509Certificate></X509Data><X509Data>`, xmlsig.ClassShape},
		"two KeyValues":                 {cut(genuine, "<KeyValue>", "</KeyValue>"), strings.Repeat(cut(genuine, "<KeyValue>", "</KeyValue>"), 2), xmlsig.ClassShape},
		"no Signature":                  {signature, "", xmlsig.ClassShape},
		// Parts that the profile does not have.
		"a KeyName":                        {"<KeyInfo>", "<KeyInfo><KeyName>x</KeyName>", xmlsig.ClassShape},
		"a RetrievalMethod":                {"<KeyInfo>", `<KeyInfo><RetrievalMethod URI="http://example.com/"/>`, xmlsig.ClassShape},
		"no KeyInfo":                       {cut(genuine, "<KeyInfo>", "</KeyInfo>"), "", xmlsig.ClassShape},
		"only a KeyValue":                  {cut(genuine, "<X509Data>", "</X509Data>"), "", xmlsig.ClassShape},
		"a KeyValue of another key":        {cut(genuine, "<Modulus>", "</Modulus>"), "<Modulus>" + base64.StdEncoding.EncodeToString(make([]byte, 255)) + "AQ==</Modulus>", xmlsig.ClassCertificate},
		"a KeyValue of another exponent":   {"<Exponent>AQAB</Exponent>", "<Exponent>Aw==</Exponent>", xmlsig.ClassCertificate},
		"an Object with content":           {"</KeyInfo>", "</KeyInfo><Object>" + evil + "</Object>", xmlsig.ClassShape},
		"an empty Object":                  {"</KeyInfo>", "</KeyInfo><Object/>", xmlsig.ClassShape},
		"text inside the Signature":        {"<SignatureValue>", "text<SignatureValue>", xmlsig.ClassShape},
		"an attribute on SignedInfo":       {"<SignedInfo>", `<SignedInfo Id="x">`, xmlsig.ClassShape},
		"an xml: attribute on SignedInfo":  {"<SignedInfo>", `<SignedInfo xml:lang="x">`, xmlsig.ClassShape},
		"an attribute on Signature":        {"<Signature ", `<Signature Encoding="x" `, xmlsig.ClassShape},
		"another name for SignedInfo":      {signedInfo, strings.ReplaceAll(signedInfo, "SignedInfo>", "Signed>"), xmlsig.ClassShape},
		"another name for SignatureValue":  {cut(genuine, "<SignatureValue>", "</SignatureValue>"), strings.ReplaceAll(cut(genuine, "<SignatureValue>", "</SignatureValue>"), "SignatureValue", "Value"), xmlsig.ClassShape},
		"KeyInfo of another namespace":     {"<KeyInfo>", `<KeyInfo xmlns="urn:x">`, xmlsig.ClassShape},
		"another kind of KeyValue":         {cut(genuine, "<RSAKeyValue>", "</RSAKeyValue>"), strings.ReplaceAll(cut(genuine, "<RSAKeyValue>", "</RSAKeyValue>"), "RSAKeyValue", "DSAKeyValue"), xmlsig.ClassShape},
		"another name for a transform":     {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, `<Filter Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, xmlsig.ClassShape},
		"another name for DigestMethod":    {"<DigestMethod ", "<Digest ", xmlsig.ClassShape},
		"a comment in SignedInfo":          {"<SignedInfo>", "<SignedInfo><!-- c -->", xmlsig.ClassShape},
		"a comment in KeyInfo":             {"<KeyInfo>", "<KeyInfo><!-- c -->", xmlsig.ClassShape},
		"a Type on Reference":              {"<Reference ", `<Reference Type="x" `, xmlsig.ClassShape},
		"an InclusiveNamespaces parameter": {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, `<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"><e:InclusiveNamespaces xmlns:e="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="x"/></Transform>`, xmlsig.ClassShape},
		"an HMAC length":                   {`rsa-sha256"/>`, `rsa-sha256"><HMACOutputLength>0</HMACOutputLength></SignatureMethod>`, xmlsig.ClassShape},
		// Algorithms.
		"SHA-1 as signature method":           {"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1", xmlsig.ClassAlgorithm},
		"HMAC as signature method":            {"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", xmlsig.ClassAlgorithm},
		"ECDSA as method of an RSA key":       {"xmldsig-more#rsa-sha256", "xmldsig-more#ecdsa-sha256", xmlsig.ClassAlgorithm},
		"SHA-1 as digest":                     {"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1", xmlsig.ClassAlgorithm},
		"MD5 as digest":                       {"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#md5", xmlsig.ClassAlgorithm},
		"C14N 1.1 for SignedInfo":             {`<CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"`, `<CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"`, xmlsig.ClassAlgorithm},
		"comments kept":                       {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"`, `<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#WithComments"`, xmlsig.ClassAlgorithm},
		"an XPath transform":                  {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, `<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"/>`, xmlsig.ClassAlgorithm},
		"an XSLT transform":                   {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, `<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>`, xmlsig.ClassAlgorithm},
		"no enveloped-signature transform":    {`<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>`, ``, xmlsig.ClassAlgorithm},
		"no transforms":                       {cut(genuine, "<Transforms>", "</Transforms>"), `<Transforms/>`, xmlsig.ClassShape},
		"a third transform":                   {`</Transforms>`, `<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></Transforms>`, xmlsig.ClassShape},
		"a hundred transforms":                {`</Transforms>`, strings.Repeat(`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, 100) + `</Transforms>`, xmlsig.ClassShape},
		"the canonicalisation of the content": {`<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>`, ``, xmlsig.ClassSignature},
		// Content and values.
		"the content replaced under a kept SignedInfo": {config, evil, xmlsig.ClassDigest},
		"an attribute of the root changed":             {`sequence="42"`, `sequence="43"`, xmlsig.ClassDigest},
		"a text added":                                 {"<Empty/>", "<Empty>x</Empty>", xmlsig.ClassDigest},
		"white space added":                            {"<Empty/>", "<Empty/> ", xmlsig.ClassDigest},
		"a namespace declared and used":                {"<Empty/>", `<Empty xmlns="urn:x"/>`, xmlsig.ClassDigest},
		"a digest of other content":                    {digestValue, "<DigestValue>" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "</DigestValue>", xmlsig.ClassSignature},
		"a comment in the digest":                      {digestValue, strings.Replace(digestValue, "</", "<!-- c --></", 1), xmlsig.ClassShape},
		"two texts in the digest":                      {digestValue, strings.Replace(digestValue, "<DigestValue>", "<DigestValue>AAAA<!-- c -->", 1), xmlsig.ClassShape},
		"an element in the digest":                     {digestValue, "<DigestValue><x/></DigestValue>", xmlsig.ClassShape},
		"a digest of another length":                   {digestValue, "<DigestValue>AAAA</DigestValue>", xmlsig.ClassShape},
		"a digest that is no base64":                   {digestValue, "<DigestValue>!!!!</DigestValue>", xmlsig.ClassShape},
		"an empty SignatureValue":                      {cut(genuine, "<SignatureValue>", "</SignatureValue>"), "<SignatureValue/>", xmlsig.ClassShape},
		"a SignatureValue of zeros":                    {cut(genuine, "<SignatureValue>", "</SignatureValue>"), "<SignatureValue>" + base64.StdEncoding.EncodeToString(make([]byte, 256)) + "</SignatureValue>", xmlsig.ClassSignature},
		"a SignatureValue beyond every key":            {cut(genuine, "<SignatureValue>", "</SignatureValue>"), "<SignatureValue>" + base64.StdEncoding.EncodeToString(make([]byte, 1025)) + "</SignatureValue>", xmlsig.ClassLimit},
		"a damaged certificate":                        {"<X509Certificate>MII", "<X509Certificate>AII", xmlsig.ClassCertificate},
		"a certificate above 8 KiB":                    {"<X509Certificate>", "<X509Certificate>" + strings.Repeat("AAAA", 8<<10/3+1), xmlsig.ClassLimit},
		"six certificates":                             {"</X509Data>", strings.Repeat("<X509Certificate>AAAA</X509Certificate>", 4) + "</X509Data>", xmlsig.ClassShape},
		"the start tag of the root in the content":     {config, root + "</EOCS>", xmlsig.ClassShape},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := xmlsig.Verify(replaceOnce(t, []byte(genuine), tc.old, tc.replacement), policyOf(p), now)
			wantClass(t, err, tc.want)
		})
	}
}

// TestForgers signs correctly, but with certificates that the policy must not accept.
func TestForgers(t *testing.T) {
	p := testPKI(t)
	issue := func(options ...pki.Option) *pki.Identity {
		options = append([]pki.Option{pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))}, options...)
		id, err := p.Issuing.Issue("Forger", options...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	codeSigning := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	foreign, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	serverCA, err := p.Root.Issue("Server CA", pki.Authority(), pki.Usages(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	underServerCA, err := serverCA.Issue("Forger", pki.Validity(now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		signer *pki.Identity
		chain  func([]*x509.Certificate) []*x509.Certificate
		policy func(*xmlsig.Policy)
		want   xmlsig.Class
	}{
		"a foreign root":                {signer: foreign.RSA, want: xmlsig.ClassUntrusted},
		"a foreign root, brought along": {signer: foreign.RSA, chain: func(c []*x509.Certificate) []*x509.Certificate { return append(c, foreign.Root.Certificate) }, want: xmlsig.ClassUntrusted},
		"a foreign root beside the genuine": {signer: foreign.RSA, chain: func(c []*x509.Certificate) []*x509.Certificate {
			return append(c, p.Root.Certificate, p.Issuing.Certificate)
		}, want: xmlsig.ClassUntrusted},
		"a genuine leaf beside the forger's": {signer: foreign.RSA, chain: func(c []*x509.Certificate) []*x509.Certificate {
			return append([]*x509.Certificate{p.RSA.Certificate}, c...)
		}, want: xmlsig.ClassCertificate},
		"no issuer":                            {signer: p.RSA, chain: func(c []*x509.Certificate) []*x509.Certificate { return c[:1] }, want: xmlsig.ClassUntrusted},
		"only an authority":                    {signer: p.Issuing, want: xmlsig.ClassCertificate},
		"no extended key usage":                {signer: issue(pki.Usages()), want: xmlsig.ClassCertificate},
		"any extended key usage":               {signer: issue(pki.AnyUsage()), want: xmlsig.ClassCertificate},
		"codeSigning and any":                  {signer: issue(pki.Usages(codeSigning, asn1.ObjectIdentifier{2, 5, 29, 37, 0})), want: xmlsig.ClassCertificate},
		"another extended key usage":           {signer: issue(pki.Usages(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1})), want: xmlsig.ClassCertificate},
		"not the extended key usage wanted":    {signer: issue(pki.Usages(codeSigning)), policy: func(p *xmlsig.Policy) { p.ExtendedKeyUsages = []asn1.ObjectIdentifier{pki.PrivateUsage} }, want: xmlsig.ClassCertificate},
		"an authority for servers in between":  {signer: underServerCA, want: xmlsig.ClassUntrusted},
		"an authority that may sign code":      {signer: issue(pki.Authority(), pki.Usages(codeSigning, pki.PrivateUsage)), want: xmlsig.ClassCertificate},
		"key usage without digitalSignature":   {signer: issue(pki.KeyUsage(x509.KeyUsageKeyEncipherment)), want: xmlsig.ClassCertificate},
		"an RSA key of 1024 bits":              {signer: issue(pki.Key(pki.RSA1024)), want: xmlsig.ClassCertificate},
		"an expired certificate":               {signer: issue(pki.Validity(now.AddDate(-2, 0, 0), now.AddDate(0, 0, -1))), want: xmlsig.ClassUntrusted},
		"a certificate of tomorrow":            {signer: issue(pki.Validity(now.AddDate(0, 0, 1), now.AddDate(1, 0, 0))), want: xmlsig.ClassUntrusted},
		"another organisation":                 {signer: issue(pki.Organization("Fabrikam")), policy: func(p *xmlsig.Policy) { p.Organization = "Contoso" }, want: xmlsig.ClassUntrusted},
		"two organisations, one of them right": {signer: issue(pki.Organization("Contoso", "Fabrikam")), policy: func(p *xmlsig.Policy) { p.Organization = "Contoso" }, want: xmlsig.ClassUntrusted},
		"another common name":                  {signer: p.RSA, policy: func(p *xmlsig.Policy) { p.CommonName = "Example Mitigation Signing" }, want: xmlsig.ClassUntrusted},
		"an issuer that is not pinned":         {signer: p.RSA, policy: func(policy *xmlsig.Policy) { policy.IssuerPins = [][32]byte{pinOf(p.Root)} }, want: xmlsig.ClassUntrusted},
		"a leaf that is configured as root":    {signer: p.RSA, chain: func(c []*x509.Certificate) []*x509.Certificate { return c[:1] }, policy: func(policy *xmlsig.Policy) { policy.Roots = []*x509.Certificate{p.RSA.Certificate} }, want: xmlsig.ClassUntrusted},
		"no roots at all":                      {signer: p.RSA, policy: func(policy *xmlsig.Policy) { policy.Roots = nil }, want: xmlsig.ClassPolicy},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			signed := sign(t, content, tc.signer, func(o *xmlsig.SignOptions) {
				if tc.chain != nil {
					o.Certificates = tc.chain(slices.Clone(o.Certificates))
				}
			})
			policy := policyOf(p)
			if tc.policy != nil {
				tc.policy(&policy)
			}
			_, err := xmlsig.Verify(signed, policy, now)
			wantClass(t, err, tc.want)
		})
	}
}

func TestAPolicyThatFitsAccepts(t *testing.T) {
	p := testPKI(t)
	noKeyUsage, err := p.Issuing.Issue("Example Mitigation Signing", pki.KeyUsage(0), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	policy := xmlsig.Policy{
		Roots:             []*x509.Certificate{p.TSARoot.Certificate, p.Root.Certificate},
		IssuerPins:        [][32]byte{{}, pinOf(p.Issuing)},
		Organization:      "Contoso",
		CommonName:        "Example Mitigation Signing",
		ExtendedKeyUsages: []asn1.ObjectIdentifier{pki.PrivateUsage},
	}
	for name, signer := range map[string]*pki.Identity{"usual leaf": p.ECDSA, "leaf without key usage": noKeyUsage} {
		if _, err := xmlsig.Verify(sign(t, content, signer, nil), policy, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func pinOf(id *pki.Identity) [32]byte { return sha256.Sum256(id.Certificate.RawSubjectPublicKeyInfo) }

// TestECDSAValueForms has r||s of exactly 64 bytes as the only form.
func TestECDSAValueForms(t *testing.T) {
	p := testPKI(t)
	genuine := sign(t, content, p.ECDSA, nil)
	element := part(t, genuine, "<SignatureValue>", "</SignatureValue>")
	value, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(element, "<SignatureValue>"), "</SignatureValue>"))
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(value[:32]), new(big.Int).SetBytes(value[32:])
	asn, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	order := p.ECDSA.Key.Public().(*ecdsa.PublicKey).Params().N
	cases := map[string]struct {
		value    []byte
		accepted bool
	}{
		"r and s side by side":         {value, true},
		"s and r side by side":         {slices.Concat(value[32:], value[:32]), false},
		"ASN.1":                        {asn, false},
		"with a byte more":             {append(slices.Clone(value), 0), false},
		"with a zero between":          {slices.Concat(value[:32], []byte{0}, value[32:]), false},
		"with padded halves":           {slices.Concat([]byte{0}, value[:32], []byte{0}, value[32:]), false},
		"zeros":                        {make([]byte, 64), false},
		"r of zero":                    {slices.Concat(make([]byte, 32), value[32:]), false},
		"r and s of the curve's order": {slices.Concat(order.Bytes(), order.Bytes()), false},
		// Known malleability: the same content, so the digest of the content is the identity.
		"order minus s": {slices.Concat(value[:32], new(big.Int).Sub(order, s).FillBytes(make([]byte, 32))), true},
	}
	original, err := xmlsig.Verify(genuine, policyOf(p), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := replaceOnce(t, genuine, element, "<SignatureValue>"+base64.StdEncoding.EncodeToString(tc.value)+"</SignatureValue>")
			signed, err := xmlsig.Verify(changed, policyOf(p), now)
			if tc.accepted {
				if err != nil {
					t.Fatal(err)
				}
				if signed.Digest != original.Digest {
					t.Error("another digest for the same content")
				}
				return
			}
			wantClass(t, err, xmlsig.ClassSignature)
		})
	}
}

// TestKeyValueOfAnotherKey is the attack on verifiers that take the key from KeyValue.
func TestKeyValueOfAnotherKey(t *testing.T) {
	p := testPKI(t)
	genuine := sign(t, content, p.RSA, func(o *xmlsig.SignOptions) { o.KeyValue = true })
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	changed := replaceOnce(t, genuine, part(t, genuine, "<Modulus>", "</Modulus>"), "<Modulus>"+base64.StdEncoding.EncodeToString(key.N.Bytes())+"</Modulus>")
	_, err = xmlsig.Verify(changed, policyOf(p), now)
	wantClass(t, err, xmlsig.ClassCertificate)
	withECDSA := sign(t, content, p.ECDSA, nil)
	withKeyValue := replaceOnce(t, withECDSA, "<KeyInfo>", "<KeyInfo>"+part(t, genuine, "<KeyValue>", "</KeyValue>"))
	_, err = xmlsig.Verify(withKeyValue, policyOf(p), now)
	wantClass(t, err, xmlsig.ClassCertificate)
}

// TestTrustComesBeforeCryptography has a document in which everything is wrong: the signer must be the reason.
func TestTrustComesBeforeCryptography(t *testing.T) {
	p := testPKI(t)
	foreign, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	signed := sign(t, content, foreign.RSA, nil)
	signed = replaceOnce(t, signed, "<Empty/>", "<Changed/>")
	signed = replaceOnce(t, signed, part(t, signed, "<SignatureValue>", "</SignatureValue>"), "<SignatureValue>AAAA</SignatureValue>")
	_, err = xmlsig.Verify(signed, policyOf(p), now)
	wantClass(t, err, xmlsig.ClassUntrusted)
}
