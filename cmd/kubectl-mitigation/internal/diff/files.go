package diff

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// maxFile is the size of the largest file: etcd takes 1.5 MiB for an object, and a file may hold those of many pools.
const maxFile = 32 << 20

// manifest is an object of a file.
type manifest struct {
	Kind, Namespace, Name, File string

	content []byte // JSON
}

func (m *manifest) String() string {
	if m.Namespace == "" {
		return m.Kind + " " + m.Name
	}
	return m.Kind + " " + m.Namespace + "/" + m.Name
}

// resources of the kinds that a preview is made of.
var resources = map[string]string{"MitigationConfiguration": "mitigationconfigurations", "PoolMitigationConfig": "poolmitigationconfigs"}

// readFiles reads the manifests of files and folders; "-" is stdin. What is of other kinds is counted by kind.
func readFiles(names []string, recursive bool, stdin io.Reader, namespace string) (found []manifest, others map[string]int, err error) {
	others = map[string]int{}
	take := func(name string, in io.Reader) error {
		list, err := parse(name, in, namespace, others)
		found = append(found, list...)
		return err
	}
	for _, name := range names {
		if name == "-" {
			err = take("standard input", stdin)
		} else {
			err = eachFile(name, recursive, take)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	seen := map[string]string{}
	for i := range found {
		key := found[i].String()
		if other, twice := seen[key]; twice {
			return nil, nil, fmt.Errorf("%s: %s: is in %s, too; give the folders of one cluster only", found[i].File, key, other)
		}
		seen[key] = found[i].File
	}
	return found, others, nil
}

// eachFile opens a file, or those of a folder in the order of their names.
func eachFile(name string, recursive bool, take func(string, io.Reader) error) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return open(name, take)
	}
	return filepath.WalkDir(name, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != name && (!recursive || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			return nil
		}
		return open(path, take)
	})
}

func open(name string, take func(string, io.Reader) error) error {
	file, err := os.Open(name) //nolint:gosec // the person names it
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return take(name, file)
}

// parse takes a stream of YAML documents apart.
func parse(name string, in io.Reader, namespace string, others map[string]int) ([]manifest, error) {
	content, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(content) > maxFile:
		return nil, fmt.Errorf("%s: is larger than %d MiB", name, maxFile>>20)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var list []manifest
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, n, err)
		}
		encoded, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, n, err)
		}
		if list, err = object(name, encoded, namespace, others, list); err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, n, err)
		}
	}
}

// object takes one object, or the items of a list.
func object(file string, content []byte, namespace string, others map[string]int, list []manifest) ([]manifest, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name         string `json:"name"`
			Namespace    string `json:"namespace"`
			GenerateName string `json:"generateName"`
		} `json:"metadata"`
		Items []json.RawMessage `json:"items"`
	}
	if string(content) == "null" {
		return list, nil // An empty document, as between two separators.
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, errors.New("is no object of the API")
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	_, wanted := resources[head.Kind]
	switch {
	case head.Items != nil && strings.HasSuffix(head.Kind, "List"):
		for _, item := range head.Items {
			var err error
			if list, err = object(file, item, namespace, others, list); err != nil {
				return nil, err
			}
		}
		return list, nil
	case head.Kind == "" || head.APIVersion == "":
		return nil, errors.New("apiVersion, kind: missing")
	case group != emsv1.GroupVersion.Group || !wanted:
		others[head.Kind]++
		return list, nil
	case head.APIVersion != emsv1.GroupVersion.String():
		return nil, fmt.Errorf("apiVersion: %q: want %q", head.APIVersion, emsv1.GroupVersion)
	case head.Metadata.Name == "":
		return nil, errors.New("metadata.name: missing")
	}
	m := manifest{Kind: head.Kind, Name: head.Metadata.Name, File: file, content: content}
	if head.Kind == "PoolMitigationConfig" {
		if m.Namespace = head.Metadata.Namespace; m.Namespace == "" {
			m.Namespace = namespace
		}
	}
	return append(list, m), nil
}
