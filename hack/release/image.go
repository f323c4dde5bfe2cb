package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Media types of the OCI image specification, version 1.1.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// user is that of the Dockerfile: a number, because Kubernetes checks runAsNonRoot by number.
const user = "65532"

// descriptor points to a blob of an image.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platformOf       `json:"platform,omitempty"`
}

type platformOf struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// layout collects the blobs of an image layout (OCI image specification, image-layout.md) in the order of their making.
type layout struct {
	entries []entry
}

func (l *layout) add(mediaType string, content []byte) descriptor {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	l.entries = append(l.entries, entry{name: "blobs/sha256/" + digest, mode: 0o644, content: content})
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
}

func (l *layout) addJSON(mediaType string, value any) (descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, fmt.Errorf("image: %w", err)
	}
	return l.add(mediaType, content), nil
}

// imageArchive returns an archive with an image layout for one platform, whose one image runs the program.
func imageArchive(name, version string, p platform, program []byte, at time.Time) ([]byte, error) {
	files, err := tarball(rootFiles(program), at)
	if err != nil {
		return nil, err
	}
	compressed, err := compress(files)
	if err != nil {
		return nil, err
	}
	var l layout
	layer := l.add(typeLayer, compressed)
	diff := sha256.Sum256(files)
	created := at.UTC().Format(time.RFC3339)
	labels := map[string]string{
		"org.opencontainers.image.title": name, "org.opencontainers.image.version": version, "org.opencontainers.image.created": created,
		"org.opencontainers.image.url": "https://mitigation.dev/ems",
	}
	config, err := l.addJSON(typeConfig, map[string]any{
		"created": created, "architecture": p.arch, "os": p.os,
		"config": map[string]any{
			"User": user + ":" + user, "Entrypoint": []string{"/ems"}, "WorkingDir": "/", "Labels": labels,
			"Env": []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(diff[:])}},
		"history": []map[string]any{{"created": created, "created_by": "hack/release"}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := l.addJSON(typeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": []descriptor{layer}, "annotations": labels,
	})
	if err != nil {
		return nil, err
	}
	manifest.Platform = &platformOf{Architecture: p.arch, OS: p.os}
	manifest.Annotations = map[string]string{
		"org.opencontainers.image.ref.name": version,
		// What containerd calls the image that it imports.
		"io.containerd.image.name": "docker.io/library/" + name + ":" + version,
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest},
	})
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	// For "docker load" of engines that do not know image layouts.
	legacy, err := json.Marshal([]map[string]any{{
		"Config": blobPath(config), "RepoTags": []string{name + ":" + version}, "Layers": []string{blobPath(layer)},
	}})
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return tarball(append([]entry{
		{name: "oci-layout", mode: 0o644, content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "index.json", mode: 0o644, content: index},
		{name: "manifest.json", mode: 0o644, content: legacy},
	}, l.entries...), at)
}

func blobPath(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }

// rootFiles are all files of an image.
func rootFiles(program []byte) []entry {
	folder := func(name string) entry { return entry{name: name, mode: fs.ModeDir | 0o755} }
	return []entry{
		folder("etc"), folder("etc/ssl"), folder("etc/ssl/certs"),
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:" + user + ":\n")},
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/none\nnonroot:x:" + user + ":" + user + ":nonroot:/:/none\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities()},
		{name: "ems", mode: 0o755, content: program},
	}
}

// authorities are the certificate authorities that Mozilla trusts without a reservation.
func authorities() []byte {
	var buffer bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			buffer.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return buffer.Bytes()
}
