package xmlsig

import (
	"crypto"
	_ "crypto/sha256" // registers SHA-256 with crypto.Hash
	_ "crypto/sha512" // registers SHA-384 and SHA-512 with crypto.Hash
)

// Canonicalization is a canonicalisation method of the profile.
type Canonicalization string

// The canonicalisation methods of the profile. The value is the algorithm identifier in the document.
const (
	// ExclusiveC14N is Exclusive XML Canonicalization 1.0 without comments, the preferred method.
	ExclusiveC14N Canonicalization = "http://www.w3.org/2001/10/xml-exc-c14n#"
	// InclusiveC14N is Canonical XML 1.0 without comments, what the real service uses.
	InclusiveC14N Canonicalization = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	// ImplicitC14N is no transform at all behind the enveloped-signature transform, the default of .NET.
	// The standard (XML Signature 1.0, section 4.3.3.2) then takes Canonical XML 1.0.
	ImplicitC14N Canonicalization = ""
)

const transformEnveloped = namespaceDSig + "enveloped-signature"

// signatureMethod is a signature algorithm of the profile; both sign a SHA-256.
type signatureMethod string

const (
	methodRSASHA256   signatureMethod = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	methodECDSASHA256 signatureMethod = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
)

// digestMethods is the allow list of digests. There is deliberately no table with more in it: an entry that
// is known but forbidden is one mistake away from being allowed.
var digestMethods = map[string]crypto.Hash{
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

func digestAlgorithm(hash crypto.Hash) (string, bool) {
	for identifier, h := range digestMethods {
		if h == hash {
			return identifier, true
		}
	}
	return "", false
}

func parseSignedInfoMethod(algorithm string) (Canonicalization, error) {
	switch c := Canonicalization(algorithm); c {
	case ExclusiveC14N, InclusiveC14N:
		return c, nil
	default:
		return "", refuse(ClassAlgorithm, "CanonicalizationMethod", "%s", shorten(algorithm))
	}
}

func parseSignatureMethod(algorithm string) (signatureMethod, error) {
	switch m := signatureMethod(algorithm); m {
	case methodRSASHA256, methodECDSASHA256:
		return m, nil
	default:
		return "", refuse(ClassAlgorithm, "SignatureMethod", "%s", shorten(algorithm))
	}
}

// parseTransforms accepts the enveloped-signature transform, alone or followed by one canonicalisation.
func parseTransforms(algorithms []string) (Canonicalization, error) {
	if len(algorithms) == 0 || len(algorithms) > 2 {
		return "", refuse(ClassShape, "Transforms", "%d transforms, want enveloped-signature and at most one canonicalisation", len(algorithms))
	}
	if algorithms[0] != transformEnveloped {
		return "", refuse(ClassAlgorithm, "Transform 1", "%s, want enveloped-signature", shorten(algorithms[0]))
	}
	if len(algorithms) == 1 {
		return ImplicitC14N, nil
	}
	switch c := Canonicalization(algorithms[1]); c {
	case ExclusiveC14N, InclusiveC14N:
		return c, nil
	default:
		return "", refuse(ClassAlgorithm, "Transform 2", "%s", shorten(algorithms[1]))
	}
}
