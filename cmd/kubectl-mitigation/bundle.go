package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/internal/publish"
)

// managerNamespace is that of the manager in config/default.
const managerNamespace = "ems-system"

// Names of the files that a bundle is taken apart into.
const (
	extractedDocument = "document.xml"
	extractedLists    = "crls.pem"
	extractedPatch    = "feed-crls-patch.yaml"
)

type bundleFlags struct {
	document, trust, feed, name, namespace, out string
	lists                                       []string
}

func bindBundleCreate(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var f bundleFlags
	flags.StringVar(&f.document, "document", "", "signed `document`; it is verified before anything is written")
	bindTrust(flags, &f.trust, &f.feed)
	flags.StringArrayVar(&f.lists, "crl", nil, "`file` with revocation lists, in PEM or DER, to go along; may be repeated")
	flags.StringVar(&f.name, "name", "", "`name` of the ConfigMap; that of the feed with -document behind it if absent")
	flags.StringVar(&f.namespace, "namespace", managerNamespace, "`namespace` of the manager")
	flags.StringVar(&f.out, "out", "", "`file` that the bundle is written to")
	return func(context.Context, []string) error {
		if f.document == "" || f.trust == "" || f.out == "" {
			return misused("--document, --trust, --out: all are required")
		}
		return p.createBundle(f)
	}
}

func (p *program) createBundle(f bundleFlags) error {
	policy, feed, err := readNamedPolicy(f.trust, f.feed)
	if err != nil {
		return usageError{Err: err}
	}
	bundle := publish.Bundle{Feed: feed, Name: f.name, Namespace: f.namespace}
	if bundle.Name == "" {
		bundle.Name = feed + "-document"
	}
	if bundle.Document, err = readDocument(f.document); err != nil {
		return misused("document: %w", err)
	}
	files := make([]publish.ListFile, 0, len(f.lists))
	for _, name := range f.lists {
		content, err := readFile(name, publish.MaxRevocationBytes+1)
		if err != nil {
			return misused("--crl: %w", err)
		}
		files = append(files, publish.ListFile{Name: name, Content: content})
	}
	if bundle.RevocationLists, err = publish.RevocationLists(files...); err != nil {
		return fmt.Errorf("--crl: %w", err)
	}
	report, err := bundle.Report(policy, p.now())
	if err != nil {
		return err
	}
	content, err := bundle.Encode(report)
	if err != nil {
		return err
	}
	if err := writeDocument(f.out, content); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	fmt.Fprintf(p.stdout, "%s: %s", f.out, report.Text())
	return nil
}

func bindBundleVerify(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var file, feed, extract, output string
	bindTrust(flags, &file, &feed)
	flags.StringVar(&extract, "extract", "", "`directory` to write "+extractedDocument+" to, and with revocation lists "+extractedLists+" and "+extractedPatch)
	bindOutput(flags, &output)
	return func(_ context.Context, operands []string) error {
		switch {
		case file == "":
			return misused("--trust: required")
		case len(operands) != 1:
			return misused("FILE: %d given: want one", len(operands))
		}
		if err := checkOutput(output); err != nil {
			return err
		}
		policy, err := readPolicy(file, feed)
		if err != nil {
			return usageError{Err: err}
		}
		content, err := readFile(operands[0], publish.MaxBundleBytes+1)
		if err != nil {
			return misused("bundle: %w", err)
		}
		return p.verifyBundle(operands[0], content, policy, extract, output)
	}
}

func (p *program) verifyBundle(name string, content []byte, policy publish.Policy, extract, output string) error {
	bundle, err := publish.ReadBundle(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	report, err := bundle.Report(policy, p.now())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if output == outputJSON {
		if err := printJSON(p.stdout, report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.stdout, "%s: %s", name, report.Text())
	}
	if !report.Document.Valid {
		return errRefused
	}
	if extract == "" {
		return nil
	}
	return extractBundle(bundle, extract)
}

func extractBundle(bundle publish.Bundle, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // all of it is public
		return fmt.Errorf("extract: %w", err)
	}
	files := []struct {
		name    string
		content []byte
	}{{extractedDocument, bundle.Document}}
	if len(bundle.RevocationLists) > 0 {
		patch, err := bundle.RevocationPatch()
		if err != nil {
			return err
		}
		files = append(files, struct {
			name    string
			content []byte
		}{extractedLists, bundle.RevocationLists}, struct {
			name    string
			content []byte
		}{extractedPatch, patch})
	}
	for _, f := range files {
		if err := writeDocument(filepath.Join(folder, f.name), f.content); err != nil {
			return fmt.Errorf("extract: %w", err)
		}
	}
	return nil
}
