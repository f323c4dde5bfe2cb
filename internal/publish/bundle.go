package publish

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Names in the ConfigMap of a bundle.
const (
	// BundleDocumentKey has the signed document. It is the key for spec.configMapRef of a MitigationFeed.
	BundleDocumentKey = "document.xml"
	// BundleRevocationKey has the revocation lists, in PEM.
	BundleRevocationKey = "crls.pem"

	bundleFeedAnnotation   = "ems.mitigation.dev/feed"
	bundleDigestAnnotation = "ems.mitigation.dev/document-sha256"
)

const (
	// maxConfigMapBytes is what the API server allows for all values of a ConfigMap together.
	maxConfigMapBytes = 1 << 20
	// MaxBundleBytes bounds a bundle: a full ConfigMap in base64, with room for the summary of 256 mitigations.
	MaxBundleBytes = maxConfigMapBytes/3*4 + 1<<20
)

// Bundle is a document in the form in which it is carried to a cluster that cannot reach the publisher.
type Bundle struct {
	// Feed is the name of the MitigationFeed, Name and Namespace those of the ConfigMap.
	Feed, Name, Namespace string
	// Document is the signed document, RevocationLists are lists in PEM; none if empty.
	Document, RevocationLists []byte
}

// BundleReport is what there is to say of a bundle. Its JSON form is the output of "feed bundle verify -o json"; fields are
// added, never renamed.
type BundleReport struct {
	// Feed, ConfigMap and Namespace say where the bundle belongs. The bundle says it itself; only the document is signed.
	Feed      string `json:"feed"`
	ConfigMap string `json:"configMap"`
	Namespace string `json:"namespace"`
	// DocumentSHA256 is that of the document's bytes, in hex, to be compared by another way.
	DocumentSHA256 string `json:"documentSHA256"`
	// RevocationLists come along; they are described once the document is valid.
	RevocationLists []RevocationList `json:"revocationLists,omitempty"`
	// Document is the judgement under the policy and the lists that come along.
	Document Report `json:"document"`
}

// Report judges the bundle: the document under the policy together with the lists, and that every list is from an authority
// that the policy or the document's chain knows. The error is one of the lists; a refused document is no error here.
func (b Bundle) Report(policy Policy, now time.Time) (BundleReport, error) {
	digest := sha256.Sum256(b.Document)
	report := BundleReport{Feed: b.Feed, ConfigMap: b.Name, Namespace: b.Namespace, DocumentSHA256: hex.EncodeToString(digest[:])}
	lists, err := parseRevocationLists(b.RevocationLists)
	if err != nil {
		return report, err
	}
	report.Document = Judge(b.Document, withRevocationLists(policy, lists), now)
	if !report.Document.Valid {
		return report, nil
	}
	report.RevocationLists, err = judgeRevocationLists(lists, b.Document, policy, now)
	return report, err
}

// Text returns the report for people.
func (r BundleReport) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ConfigMap %q in namespace %q for feed %q\n", r.ConfigMap, r.Namespace, r.Feed)
	fmt.Fprintf(&b, "  %-12s %s\n", "SHA-256:", r.DocumentSHA256)
	for _, l := range r.RevocationLists {
		fmt.Fprintf(&b, "  %-12s %q, of %s, next by %s, %d revoked\n", "Revocation:", l.Issuer, stamp(l.ThisUpdate), optional(l.NextUpdate), l.Revoked)
	}
	b.WriteString("Document: " + r.Document.Text())
	return b.String()
}

// kubernetesName is that of most objects (RFC 1123 subdomain), without its limit of length.
var kubernetesName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

func (b Bundle) check() error {
	for _, name := range []struct{ what, value string }{{"feed", b.Feed}, {"name", b.Name}, {"namespace", b.Namespace}} {
		if len(name.value) > 253 || !kubernetesName.MatchString(name.value) {
			return fmt.Errorf("bundle: %s: %q: no name of an object in Kubernetes", name.what, name.value)
		}
	}
	if len(b.Document) == 0 {
		return fmt.Errorf("bundle: no %s", BundleDocumentKey)
	}
	if size := len(b.Document) + len(b.RevocationLists); size > maxConfigMapBytes {
		return fmt.Errorf("bundle: %d bytes: at most %d fit into a ConfigMap: serve the document inside the other network instead, or leave the revocation lists out", size, maxConfigMapBytes)
	}
	return nil
}

// Encode writes the bundle as a YAML file that kubectl takes: a summary for people, and the ConfigMap. The same bundle and
// report make the same bytes. It refuses to write a bundle whose document was refused.
func (b Bundle) Encode(report BundleReport) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if !report.Document.Valid {
		return nil, fmt.Errorf("bundle: document: refused: %s", report.Document.Reason)
	}
	var out strings.Builder
	comment := func(format string, args ...any) {
		fmt.Fprintln(&out, strings.TrimRight("# "+printable(fmt.Sprintf(format, args...)), " "))
	}
	d := report.Document
	comment("Signed mitigations for the feed %q, to be carried to where the publisher cannot be reached.", b.Feed)
	comment("")
	comment("  SHA-256      %s", report.DocumentSHA256)
	comment("  Document     version %s, publisher %q, sequence %s", d.Version, d.Publisher, number(d.Sequence))
	comment("  Validity     issued %s, expires %s", optional(d.Issued), optional(d.Expires))
	comment("  Signer       %q", d.Signer.Subject)
	for _, m := range d.Mitigations {
		comment("  Mitigation   %s revision %d, %s, %q", m.ID, m.Revision, orElse(m.Severity, "no severity"), m.Description)
	}
	for _, l := range report.RevocationLists {
		comment("  Revocation   %q, next by %s", l.Issuer, optional(l.NextUpdate))
	}
	comment("")
	comment("These lines prove nothing; the signature does. On the other side:")
	comment("  kubectl mitigation feed bundle verify FILE --trust trust.yaml --feed %s", b.Feed)
	comment("  kubectl apply --server-side -f FILE")
	comment("The MitigationFeed has spec.configMapRef: {name: %s, key: %s}.", b.Name, BundleDocumentKey)
	fmt.Fprintf(&out, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %q\n  namespace: %q\n  annotations:\n    %s: %q\n    %s: %q\nbinaryData:\n",
		b.Name, b.Namespace, bundleDigestAnnotation, report.DocumentSHA256, bundleFeedAnnotation, b.Feed)
	if len(b.RevocationLists) > 0 {
		fmt.Fprintf(&out, "  %s: %s\n", BundleRevocationKey, base64.StdEncoding.EncodeToString(b.RevocationLists))
	}
	fmt.Fprintf(&out, "  %s: %s\n", BundleDocumentKey, base64.StdEncoding.EncodeToString(b.Document))
	if out.Len() > MaxBundleBytes {
		return nil, fmt.Errorf("bundle: %d bytes: at most %d", out.Len(), MaxBundleBytes)
	}
	return []byte(out.String()), nil
}

// configMap is as much of a ConfigMap as a bundle has.
type configMap struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	BinaryData map[string][]byte `json:"binaryData"`
}

// ReadBundle reads what Encode writes. It finds what was damaged on the way; whether the document can be believed is for
// Report to say.
func ReadBundle(content []byte) (Bundle, error) {
	if len(content) > MaxBundleBytes {
		return Bundle{}, fmt.Errorf("bundle: %d bytes: at most %d", len(content), MaxBundleBytes)
	}
	if line := secondDocument(string(content)); line > 0 {
		return Bundle{}, fmt.Errorf("bundle: line %d: a second YAML document, which kubectl would apply as well", line)
	}
	converted, err := fieldsOfYAML(content)
	if err != nil {
		return Bundle{}, fmt.Errorf("bundle: %w", err)
	}
	var read configMap
	strict, err := json.UnmarshalStrict(converted, &read)
	if err := errors.Join(append(strict, err)...); err != nil {
		return Bundle{}, fmt.Errorf("bundle: %w", err)
	}
	if read.APIVersion != "v1" || read.Kind != "ConfigMap" {
		return Bundle{}, fmt.Errorf("bundle: %s of %q: want a ConfigMap of \"v1\"", orElse(read.Kind, "no kind"), read.APIVersion)
	}
	for key := range read.BinaryData {
		if !slices.Contains([]string{BundleDocumentKey, BundleRevocationKey}, key) {
			return Bundle{}, fmt.Errorf("bundle: key %q: not part of a bundle", key)
		}
	}
	b := Bundle{
		Feed: read.Metadata.Annotations[bundleFeedAnnotation], Name: read.Metadata.Name, Namespace: read.Metadata.Namespace,
		Document: read.BinaryData[BundleDocumentKey], RevocationLists: read.BinaryData[BundleRevocationKey],
	}
	if err := b.check(); err != nil {
		return Bundle{}, err
	}
	digest := sha256.Sum256(b.Document)
	if stated := read.Metadata.Annotations[bundleDigestAnnotation]; stated != hex.EncodeToString(digest[:]) {
		return Bundle{}, fmt.Errorf("bundle: SHA-256 of the document is %x, and %q is stated: it was damaged on the way", digest, stated)
	}
	return b, nil
}

// RevocationPatch is a merge patch for the MitigationFeed: only its revocation lists are replaced, and a change that somebody
// else owns is not undone. The feed itself says whether lists matter (spec.trust.revocation.mode).
func (b Bundle) RevocationPatch() ([]byte, error) {
	if len(b.RevocationLists) == 0 {
		return nil, errors.New("bundle: no revocation lists")
	}
	type object = map[string]any
	return yaml.Marshal(object{"spec": object{"trust": object{"revocation": object{"crls": string(b.RevocationLists)}}}})
}
