// Package config holds the manifests that a cluster gets, for programs that compare a cluster with them. They are the files of
// config/default; nothing is written twice.
//
// # Usage
//
//	objects, err := config.Shipped()
//
// # Considerations
//
// The files are read as they lie here, without kustomize: no part of config/default changes more of an object than its labels, and a
// test holds the list of folders against config/default/kustomization.yaml.
package config

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

//go:embed crd/bases/*.yaml rbac/*.yaml admission/*.yaml manager/*.yaml
var files embed.FS

// Folders are those of config/default.
var Folders = []string{"crd", "rbac", "admission", "manager"}

// Object is a manifest.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	// Content is the whole of it.
	Content map[string]any `json:"-"`
}

// Shipped are the objects of all files, in the order of the folders and of the names of the files.
func Shipped() ([]Object, error) {
	var out []Object
	for _, folder := range Folders {
		err := fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Base(name) == "kustomization.yaml" {
				return err
			}
			content, err := files.ReadFile(name)
			if err != nil {
				return err
			}
			list, err := parse(content)
			if err != nil {
				return fmt.Errorf("config/%s: %w", name, err)
			}
			out = append(out, list...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parse(content []byte) ([]Object, error) {
	var out []Object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var o Object
		if err := yaml.Unmarshal(document, &o); err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(document, &o.Content); err != nil {
			return nil, err
		}
		if o.Kind != "" {
			out = append(out, o)
		}
	}
}
