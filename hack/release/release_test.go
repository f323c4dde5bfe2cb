package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

var at = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// testRelease is a release of this repository that has no files yet.
func testRelease(t *testing.T, version string) *release {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return &release{root: root, version: version, image: "registry.contoso.example/ems-manager", platforms: "linux/amd64", at: at, files: map[string][]byte{}}
}

// unpack returns the regular files of a tar archive.
func unpack(t *testing.T, archive []byte) map[string]*tarFile {
	t.Helper()
	files := map[string]*tarFile{}
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if header.Uname != "" || header.Gname != "" || header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(at) {
			t.Errorf("%s: says who made it or when: %+v", header.Name, header)
		}
		if header.Typeflag == tar.TypeReg {
			files[header.Name] = &tarFile{mode: header.Mode, content: content}
		}
	}
}

type tarFile struct {
	mode    int64
	content []byte
}

func gunzip(t *testing.T, content []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("links programs")
	}
	if _, err := os.Stat("../../bin/tools/kustomize"); err != nil {
		t.Skip("needs kustomize, which make tools builds")
	}
	produce := func() map[string][]byte {
		r := testRelease(t, "v9.8.7")
		for _, part := range []func() error{
			func() error { return r.makeManifests(t.Context()) },
			func() error { return r.makeAgent(t.Context()) },
			func() error { return r.makeImages(t.Context()) },
		} {
			if err := part(); err != nil {
				t.Fatal(err)
			}
		}
		r.files[sumsFile] = r.sums()
		return r.files
	}
	first, second := produce(), produce()
	want := []string{
		"SHA256SUMS", "ems-9.8.7.tgz", "ems-agent_linux_amd64.cdx.json", "ems-agent_linux_amd64.tar.gz", "ems-manager_amd64.oci.tar", "install.yaml",
		"manager_linux_amd64.cdx.json",
	}
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Errorf("files: %q, want %q", got, want)
	}
	if !bytes.Equal(first[sumsFile], second[sumsFile]) {
		t.Errorf("two runs differ:\n%s\n%s", first[sumsFile], second[sumsFile])
	}
	agent := unpack(t, gunzip(t, first["ems-agent_linux_amd64.tar.gz"]))
	program := agent["ems-agent"]
	if program == nil || program.mode != 0o755 || agent["ems-agent.service"] == nil {
		t.Fatalf("the agent's archive holds %v", slices.Sorted(maps.Keys(agent)))
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{root + "/", home + "/go/"} {
		if bytes.Contains(program.content, []byte(path)) {
			t.Errorf("the agent's program names the folder %s", path)
		}
	}
	if !bytes.Contains(program.content, []byte("v9.8.7")) {
		t.Error("the agent's program does not know its version")
	}
	checkSBOM(t, first["ems-agent_linux_amd64.cdx.json"], program.content)
	checkManifests(t, first)
	checkImage(t, first["ems-manager_amd64.oci.tar"])
}

func checkSBOM(t *testing.T, list, program []byte) {
	t.Helper()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(list), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(program)
	if got := (*bom.Metadata.Component.Hashes)[0].Value; got != hex.EncodeToString(digest[:]) {
		t.Errorf("the list is of another program: %s", got)
	}
	var urls []string
	for _, component := range *bom.Components {
		urls = append(urls, component.PackageURL)
	}
	for _, path := range []string{"pkg:golang/std@1.", "pkg:golang/k8s.io/client-go@v", "pkg:golang/github.com/beevik/etree@v"} {
		if !slices.ContainsFunc(urls, func(url string) bool { return strings.HasPrefix(url, path) }) {
			t.Errorf("%s… is missing among %q", path, urls)
		}
	}
	if got := len(*(*bom.Dependencies)[0].Dependencies); got != len(urls) {
		t.Errorf("%d dependencies of %d components", got, len(urls))
	}
}

func checkManifests(t *testing.T, files map[string][]byte) {
	t.Helper()
	if !bytes.Contains(files["install.yaml"], []byte("image: registry.contoso.example/ems-manager:v9.8.7\n")) {
		t.Error("install.yaml does not have the image of the release")
	}
	chart := unpack(t, gunzip(t, files["ems-9.8.7.tgz"]))
	for name, text := range map[string]string{
		"ems/Chart.yaml":  "\nversion: 9.8.7\nappVersion: v9.8.7\n",
		"ems/values.yaml": "\n  repository: registry.contoso.example/ems-manager\n",
	} {
		if chart[name] == nil || !bytes.Contains(chart[name].content, []byte(text)) {
			t.Errorf("the chart's %s does not have %q", name, text)
		}
	}
	if len(chart) < 40 {
		t.Errorf("the chart has %d files", len(chart))
	}
}

// checkImage follows an image from its index to its files, as an engine does.
func checkImage(t *testing.T, archive []byte) {
	t.Helper()
	files := unpack(t, archive)
	blob := func(d descriptor) []byte {
		content := files[blobPath(d)]
		if content == nil {
			t.Fatalf("blob %s is missing", d.Digest)
		}
		sum := sha256.Sum256(content.content)
		if "sha256:"+hex.EncodeToString(sum[:]) != d.Digest || len(content.content) != d.Size {
			t.Fatalf("blob %s is another one", d.Digest)
		}
		return content.content
	}
	var index struct{ Manifests []descriptor }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	var config struct {
		Architecture string
		Config       struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(files["index.json"].content, &index); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob(index.Manifests[0]), &manifest); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob(manifest.Config), &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Architecture != "amd64" || !slices.Equal(config.Config.Entrypoint, []string{"/ems"}) ||
		config.Config.Labels["org.opencontainers.image.version"] != "v9.8.7" {
		t.Errorf("configuration: %+v", config)
	}
	layer := gunzip(t, blob(manifest.Layers[0]))
	sum := sha256.Sum256(layer)
	if config.RootFS.DiffIDs[0] != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Error("the layer is not the one of the configuration")
	}
	root := unpack(t, layer)
	want := []string{"ems", "etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"}
	if got := slices.Sorted(maps.Keys(root)); !slices.Equal(got, want) {
		t.Errorf("files of the image: %q, want %q", got, want)
	}
	startInRoot(t, root)
}

func TestAuthoritiesAreCertificates(t *testing.T) {
	count := 0
	for rest := authorities(); len(rest) > 0; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatal("something is no certificate")
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err != nil || !certificate.IsCA {
			t.Errorf("certificate %d: authority %t, %v", count, certificate.IsCA, err)
		}
	}
	if count < 100 {
		t.Errorf("only %d authorities", count)
	}
}

func TestArchiveForWindows(t *testing.T) {
	r := testRelease(t, "v9.8.7")
	script, err := r.script("Install-EmsAgent.ps1", platform{"windows", "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(bytes.ReplaceAll(script.content, []byte("\r\n"), nil), []byte("\n")) || !bytes.Contains(script.content, []byte("Version v9.8.7\r\n")) {
		t.Error("the script does not have the line ends of Windows, or not the version")
	}
	pack := func() []byte {
		archive, err := zipped([]entry{{name: "ems-agent.exe", mode: 0o755, content: []byte("program")}, script}, at)
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	if !bytes.Equal(pack(), pack()) {
		t.Error("two archives differ")
	}
	archive := pack()
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"ems-agent.exe", "Install-EmsAgent.ps1"} {
		if file := reader.File[i]; file.Name != want || !file.Modified.Equal(at) {
			t.Errorf("file %d: %s of %s", i, file.Name, file.Modified)
		}
	}
}

func TestKrewManifest(t *testing.T) {
	digests := map[string]string{"kubectl-mitigation_linux_amd64.tar.gz": strings.Repeat("ab", 32)}
	zeros := strings.Repeat("0", 64)
	template := "spec:\n  version: v0.0.0-dev\n  platforms:\n" +
		"    - uri: https://downloads.contoso.example/v0.0.0-dev/kubectl-mitigation_linux_amd64.tar.gz\n      sha256: " + zeros + "\n"
	for name, tc := range map[string]struct{ template, want, wantError string }{
		"version and digest are put in": {
			template: template,
			want: "spec:\n  version: v9.8.7\n  platforms:\n" +
				"    - uri: https://downloads.contoso.example/v9.8.7/kubectl-mitigation_linux_amd64.tar.gz\n      sha256: " + strings.Repeat("ab", 32) + "\n",
		},
		"a template without a version":         {template: "spec: {}\n", wantError: "does not have the version"},
		"an archive that nobody has made":      {template: strings.ReplaceAll(template, "amd64", "riscv64"), wantError: "there is no archive"},
		"an archive that is not in it":         {template: "version: v0.0.0-dev\n", wantError: "does not name the archive"},
		"a digest that stands before its file": {template: "version: v0.0.0-dev\nsha256: " + zeros + "\n", wantError: "without an address"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := krewManifest(tc.template, "v9.8.7", digests)
			if tc.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantError) {
					t.Fatalf("want an error with %q, got %v", tc.wantError, err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, tc.want)
			}
		})
	}
}

func TestTheKrewTemplateNamesEveryPlatform(t *testing.T) {
	template, err := os.ReadFile("../../config/krew/mitigation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, p := range pluginPlatforms {
		end := ".tar.gz"
		if p.os == "windows" {
			end = ".zip"
		}
		digests["kubectl-mitigation_"+p.String()+end] = strings.Repeat("ab", 32)
	}
	if _, err := krewManifest(string(template), "v9.8.7", digests); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", fmt.Sprint(at.Unix()))
	for name, tc := range map[string]struct {
		options   options
		wantError string
	}{
		"a release":                  {options{root: ".", version: "v1.2.3"}, ""},
		"a candidate":                {options{root: ".", version: "v1.2.3-rc.1", only: "agent,image"}, ""},
		"a version without its v":    {options{root: ".", version: "1.2.3"}, "is not of the form"},
		"a version with build data":  {options{root: ".", version: "v1.2.3+a"}, "is not of the form"},
		"a part that does not exist": {options{root: ".", version: "v1.2.3", only: "agents"}, "none of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRelease(t.Context(), tc.options)
			if (err == nil) != (tc.wantError == "") || err != nil && !strings.Contains(err.Error(), tc.wantError) {
				t.Errorf("got %v, want %q", err, tc.wantError)
			}
		})
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := newRelease(t.Context(), options{root: ".", version: "v1.2.3"}); err == nil {
		t.Error("a time that is none is taken")
	}
}

func TestOnlyAReleaseIsReplaced(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	r := testRelease(t, "v9.8.7")
	r.files["a"] = []byte("a")
	if err := r.write(out); err != nil {
		t.Fatal(err)
	}
	delete(r.files, "a")
	r.files["b"] = []byte("b")
	if err := r.write(out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file of the earlier release is still there")
	}
	// A folder of downloads has the list of somebody's release, and other things.
	mine := filepath.Join(out, "thesis.odt")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.write(out); err == nil || !strings.Contains(err.Error(), "thesis.odt") {
		t.Errorf("a folder with something else was replaced: %v", err)
	}
	for _, name := range []string{"thesis.odt", "b", sumsFile} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(os.Remove(mine), os.Remove(filepath.Join(out, sumsFile))); err != nil {
		t.Fatal(err)
	}
	if err := r.write(out); err == nil {
		t.Error("a folder of something else was replaced")
	}
}
