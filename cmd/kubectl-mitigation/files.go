package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// documentMode lets a server of another user read the document: it is public.
const documentMode = 0o644

// readFile reads a whole file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) { return durable.OS{}.Read(name, limit) }

// readDocument reads at most one byte more than a document may have, so that the verifier is the one to say that it is too
// large: among several documents, that is the verdict on one of them.
func readDocument(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, xmlsig.MaxDocumentBytes+1))
}

func writeDocument(name string, document []byte) error {
	_, err := os.Stat(name)
	isNew := errors.Is(err, os.ErrNotExist)
	if err := durable.WriteFile(durable.OS{}, name, document); err != nil {
		return err
	}
	if isNew {
		return os.Chmod(name, documentMode)
	}
	return nil
}

// readPolicy reads the policy of one feed; without a name, the file must have one feed only.
func readPolicy(file, feed string) (publish.Policy, error) {
	policy, _, err := readNamedPolicy(file, feed)
	return policy, err
}

// readNamedPolicy returns the name of the feed as well.
func readNamedPolicy(file, feed string) (policy publish.Policy, name string, err error) {
	content, err := readFile(file, trust.MaxFileBytes)
	if err != nil {
		return publish.Policy{}, "", fmt.Errorf("trust file: %w", err)
	}
	parsed, err := trust.ParseFile(content)
	if err != nil {
		return publish.Policy{}, "", fmt.Errorf("%s: %w", file, err)
	}
	names := slices.Sorted(maps.Keys(parsed.Feeds))
	if feed == "" && len(names) == 1 {
		feed = names[0]
	}
	chosen, ok := parsed.Feeds[feed]
	if !ok {
		return publish.Policy{}, "", misused("--feed: %q: %s has %s", feed, file, strings.Join(names, ", "))
	}
	compiled, err := chosen.Compile()
	if err != nil {
		return publish.Policy{}, "", fmt.Errorf("%s: trust file: feed %q: %w", file, feed, err)
	}
	return publish.Policy{Policy: compiled, AcceptUndated: chosen.AcceptsUndated()}, feed, nil
}

// parseProxy reads the URL of a proxy; nil if there is none. The text is not repeated, since it may hold a password.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Scheme != "http" && proxy.Scheme != "https" || proxy.Hostname() == "" {
		return nil, misused("--proxy: want the form http://host:port")
	}
	return proxy, nil
}

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

func checkOutput(output string) error {
	if output != outputText && output != outputJSON {
		return misused("--output: %q: want %s or %s", output, outputText, outputJSON)
	}
	return nil
}

func printJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
