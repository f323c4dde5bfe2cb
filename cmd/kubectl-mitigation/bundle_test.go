package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// TestBundleIsWhatTheFeedReads: Kubernetes' own types take the bundle and the patch without losing a field, and the document
// is where spec.configMapRef points to.
func TestBundleIsWhatTheFeedReads(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	keys, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	mitigations, err := publish.ReadDirectory(os.DirFS(filepath.Join(repository, "config", "samples", "publish", "mitigations")))
	if err != nil {
		t.Fatal(err)
	}
	policy := publish.Policy{Policy: xmlsig.Policy{Roots: keys.Root.Chain()}}
	document, _, err := publish.Sign(publish.SignRequest{
		Mitigations: mitigations, Sequence: 1, Issued: now, Lifetime: time.Hour,
		Key: keys.ECDSA.Key, Certificates: keys.ECDSA.Chain(), Policy: policy,
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := keys.Issuing.RevocationList(now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	lists, err := publish.RevocationLists(publish.ListFile{Name: "issuing.crl", Content: list.Raw})
	if err != nil {
		t.Fatal(err)
	}
	bundle := publish.Bundle{Feed: "contoso", Name: "contoso-document", Namespace: managerNamespace, Document: document, RevocationLists: lists}
	report, err := bundle.Report(policy, now)
	if err != nil {
		t.Fatal(err)
	}
	content, err := bundle.Encode(report)
	if err != nil {
		t.Fatal(err)
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content, &configMap); err != nil {
		t.Fatal(err)
	}
	ref := emsv1.ConfigMapKeyReference{Name: "contoso-document", Key: extractedDocument}
	if configMap.Name != ref.Name || configMap.Namespace != "ems-system" || configMap.Kind != "ConfigMap" || !bytes.Equal(configMap.BinaryData[ref.Key], document) {
		t.Errorf("ConfigMap %s/%s of kind %q has %d bytes, want the document of %d", configMap.Namespace, configMap.Name, configMap.Kind, len(configMap.BinaryData[ref.Key]), len(document))
	}
	patch, err := bundle.RevocationPatch()
	if err != nil {
		t.Fatal(err)
	}
	var feed emsv1.MitigationFeed
	if err := yaml.UnmarshalStrict(patch, &feed); err != nil || feed.Spec.Trust.Revocation.CRLs != string(lists) {
		t.Errorf("patch = %s, %v", patch, err)
	}
}
