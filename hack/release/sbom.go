package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sbom lists what a program is made of, as the program itself says: the linker writes down every module it took.
func sbom(name, version string, program []byte, at time.Time) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("sbom: %s: %w", name, err)
	}
	digest := sha256.Sum256(program)
	root := cdx.Component{
		BOMRef: "pkg:golang/" + info.Path + "@" + version, Type: cdx.ComponentTypeApplication, Name: name, Version: version,
		PackageURL: "pkg:golang/" + info.Main.Path + "@" + version + "#" + strings.TrimPrefix(info.Path, info.Main.Path+"/"),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(digest[:])}},
	}
	parts := []cdx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, module := range info.Deps {
		// What a replace directive puts in the place of a module is what was linked.
		if module.Replace != nil {
			module = module.Replace
		}
		parts = append(parts, library(module.Path, module.Version, module.Sum))
	}
	needs := make([]string, 0, len(parts))
	for _, part := range parts {
		needs = append(needs, part.BOMRef)
	}
	bom := cdx.NewBOM()
	// The number of the document follows from what it describes, so that the same program has the same document.
	bom.SerialNumber = strings.Join([]string{
		"urn:uuid:" + hex.EncodeToString(digest[0:4]), hex.EncodeToString(digest[4:6]), "8" + hex.EncodeToString(digest[6:8])[1:],
		"a" + hex.EncodeToString(digest[8:10])[1:], hex.EncodeToString(digest[10:16]),
	}, "-")
	bom.Metadata = &cdx.Metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: &root}
	bom.Components = &parts
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &needs}}
	var buffer bytes.Buffer
	if err := cdx.NewBOMEncoder(&buffer, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("sbom: %s: %w", name, err)
	}
	return buffer.Bytes(), nil
}

// library is a Go module. Its sum is that of go.sum: a digest of the tree of files, which is no digest that CycloneDX has a name for.
func library(path, version, sum string) cdx.Component {
	url := "pkg:golang/" + path + "@" + version
	c := cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: url, Scope: cdx.ScopeRequired}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go.sum", Value: sum}}
	}
	return c
}
