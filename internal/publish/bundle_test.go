package publish

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/test/pki"
)

func revocationList(t testing.TB, authority *pki.Identity, revoked ...*pki.Identity) []byte {
	t.Helper()
	list, err := authority.RevocationList(now.Add(-time.Hour), now.Add(time.Hour), revoked...)
	if err != nil {
		t.Fatal(err)
	}
	return list.Raw
}

func sampleBundle(t testing.TB) Bundle {
	t.Helper()
	lists, err := RevocationLists(ListFile{Name: "issuing.crl", Content: revocationList(t, testKeys(t).Issuing)})
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, testKeys(t).ECDSA)
	document, _, err := Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return Bundle{Feed: "contoso", Name: "contoso-document", Namespace: "ems-system", Document: document, RevocationLists: lists}
}

func TestBundleThereAndBack(t *testing.T) {
	b := sampleBundle(t)
	report, err := b.Report(rootPolicy(t), now)
	if err != nil || !report.Document.Valid || len(report.RevocationLists) != 1 {
		t.Fatalf("report = %+v, %v", report, err)
	}
	written, err := b.Encode(report)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Encode(report)
	if err != nil || !bytes.Equal(written, again) {
		t.Errorf("the same bundle has other bytes: %v", err)
	}
	read, err := ReadBundle(written)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, read); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{report.DocumentSHA256, "sequence 7", "Mitigation   M1 revision 1, Critical", `Revocation   "CN=Example Code Signing CA`, "kubectl apply --server-side -f FILE"} {
		summary, _, _ := strings.Cut(string(written), "apiVersion")
		if !strings.Contains(summary+report.Text(), want) {
			t.Errorf("no word on %q:\n%s", want, summary)
		}
	}
	patch, err := b.RevocationPatch()
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Spec struct {
			Trust struct{ Revocation map[string]string }
		}
	}
	if err := yaml.UnmarshalStrict(patch, &parsed); err != nil || parsed.Spec.Trust.Revocation["crls"] != string(b.RevocationLists) || len(parsed.Spec.Trust.Revocation) != 1 {
		t.Errorf("patch = %s, %v", patch, err)
	}
	b.RevocationLists = nil
	if _, err := b.RevocationPatch(); err == nil {
		t.Error("a patch without lists")
	}
}

func TestBundlesThatAreNotWritten(t *testing.T) {
	p := testKeys(t)
	for name, tc := range map[string]struct {
		change func(*Bundle)
		policy func(*Policy)
		want   string
	}{
		"an untrusted signer": {policy: func(p *Policy) { p.CommonName = "Other" }, change: func(b *Bundle) { b.RevocationLists = nil }, want: "document: refused"},
		"a changed document":  {change: func(b *Bundle) { b.Document = bytes.Replace(b.Document, []byte("PING1"), []byte("PING2"), 1) }, want: "document: refused"},
		"a signer revoked by a carried list": {change: func(b *Bundle) {
			b.RevocationLists = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: revocationList(t, p.Issuing, p.ECDSA)})
		}, want: "revoked"},
		"a list of a stranger": {change: func(b *Bundle) {
			b.RevocationLists = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: revocationList(t, p.TSARoot)})
		}, want: "no authority of this name is trusted"},
		"a name that is none": {change: func(b *Bundle) { b.Name = "a\nb" }, want: `name: "a\nb"`},
		"no namespace":        {change: func(b *Bundle) { b.Namespace = "" }, want: `namespace: ""`},
	} {
		t.Run(name, func(t *testing.T) {
			b, policy := sampleBundle(t), rootPolicy(t)
			if tc.change != nil {
				tc.change(&b)
			}
			if tc.policy != nil {
				tc.policy(&policy)
			}
			report, err := b.Report(policy, now)
			if err == nil {
				_, err = b.Encode(report)
			}
			expectError(t, err, tc.want)
		})
	}
	large := sampleBundle(t)
	report, err := large.Report(rootPolicy(t), now)
	if err != nil {
		t.Fatal(err)
	}
	large.Document = append(large.Document, make([]byte, maxConfigMapBytes-len(large.Document))...)
	_, err = large.Encode(report)
	expectError(t, err, "at most 1048576 fit into a ConfigMap")
}

func TestReadBundleRefuses(t *testing.T) {
	b := sampleBundle(t)
	report, err := b.Report(rootPolicy(t), now)
	if err != nil {
		t.Fatal(err)
	}
	written, err := b.Encode(report)
	if err != nil {
		t.Fatal(err)
	}
	text := string(written)
	withoutDocument, _, _ := strings.Cut(text, "  document.xml: ")
	for name, tc := range map[string]struct{ content, want string }{
		"a second object":            {text + "---\nkind: ClusterRole\n", "a second YAML document, which kubectl would apply"},
		"another kind":               {strings.Replace(text, "kind: ConfigMap", "kind: Secret", 1), "Secret of \"v1\""},
		"a field that is not ours":   {text + "immutable: true\n", `unknown field "immutable"`},
		"a key that is not ours":     {strings.Replace(text, "  "+BundleRevocationKey, "  other", 1), `key "other"`},
		"no document":                {withoutDocument, "no document.xml"},
		"a damaged document":         {strings.Replace(text, "document.xml: PD", "document.xml: PE", 1), "damaged on the way"},
		"a document that is cut off": {text[:len(text)-9], "bundle: "},
		"a web page":                 {"<html>", "bundle: "},
		"nothing":                    {"", "no kind"},
		"too much":                   {strings.Repeat("#", MaxBundleBytes+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadBundle([]byte(tc.content))
			expectError(t, err, tc.want)
		})
	}
}

func TestRevocationListsOfFiles(t *testing.T) {
	p := testKeys(t)
	der := revocationList(t, p.Issuing)
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	for name, tc := range map[string]struct {
		files     [][]byte
		want      int
		wantError []string
	}{
		"DER and PEM with text":  {files: [][]byte{der, slices.Concat([]byte("Certificate Revocation List\n"), inPEM)}, want: 2},
		"none":                   {},
		"something else in PEM":  {files: [][]byte{p.Root.PEM()}, wantError: []string{`PEM block "CERTIFICATE"`}},
		"something else in DER":  {files: [][]byte{inPEM, {0x30, 0}}, wantError: []string{"b.crl", "list 1"}},
		"a damaged block":        {files: [][]byte{inPEM[:len(inPEM)-10]}, wantError: []string{"a block is damaged"}},
		"more than a policy has": {files: slices.Repeat([][]byte{der}, 17), wantError: []string{"more than 16"}},
	} {
		t.Run(name, func(t *testing.T) {
			var files []ListFile
			for i, content := range tc.files {
				files = append(files, ListFile{Name: string(rune('a'+i)) + ".crl", Content: content})
			}
			got, err := RevocationLists(files...)
			expectError(t, err, tc.wantError...)
			if n := bytes.Count(got, []byte("-----BEGIN X509 CRL-----")); n != tc.want {
				t.Errorf("%d lists, want %d", n, tc.want)
			}
		})
	}
}

// FuzzReadBundle: what is read can be written again, and nothing but the signed document is ever believed.
func FuzzReadBundle(f *testing.F) {
	b := sampleBundle(f)
	report, err := b.Report(rootPolicy(f), now)
	if err != nil {
		f.Fatal(err)
	}
	written, err := b.Encode(report)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(written)
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\nbinaryData: {document.xml: eA==}\n"))
	policy := Policy{}
	policy.Roots = []*x509.Certificate{testKeys(f).Root.Certificate}
	f.Fuzz(func(t *testing.T, content []byte) {
		read, err := ReadBundle(content)
		if err != nil {
			return
		}
		report, err := read.Report(policy, now)
		if err == nil && report.Document.Valid && !bytes.Equal(read.Document, b.Document) && report.Document.Digest != hexDigest(t, b) {
			t.Errorf("a document was believed that nobody signed: %q", read.Document)
		}
	})
}

func hexDigest(t *testing.T, b Bundle) string {
	t.Helper()
	return Judge(b.Document, rootPolicy(t), now).Digest
}
