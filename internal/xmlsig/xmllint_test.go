package xmlsig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestCanonicalFormsAreThoseOfXmllint compares both canonicalisations with libxml2's over documents that nobody chose. Comments
// are left out: xmllint keeps them.
func TestCanonicalFormsAreThoseOfXmllint(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not on PATH")
	}
	// A thousand files for each process, so that the names fit a command line everywhere.
	const wanted, batch = 4000, 1000
	folder := t.TempDir()
	texts, scans := documents(t, wanted, false)
	files := make([]string, 0, wanted)
	shapes := 0
	for i, text := range texts {
		// The input and not the normalised copy: xmllint normalises by itself.
		path := filepath.Join(folder, fmt.Sprintf("%d.xml", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
		if root := mustParse(t, scans[i].document); ofTwoNamespaces(root) || undoesUnused(root) {
			shapes++
		}
	}
	if shapes < wanted/20 {
		t.Fatalf("%d documents have the shapes that the other oracle gets wrong, want more", shapes)
	}
	for option, method := range map[string]Canonicalization{"--exc-c14n": ExclusiveC14N, "--c14n": InclusiveC14N} {
		for from := 0; from < wanted; from += batch {
			names, batchScans := files[from:from+batch], scans[from:from+batch]
			compareWithXmllint(t, xmllint, option, method, names, batchScans)
		}
	}
	t.Logf("%d documents compared, %d of them with shapes that goxmldsig gets wrong", len(files), shapes)
}

// compareWithXmllint has all files in one process: the outputs follow each other, and each begins where the one before ended.
func compareWithXmllint(t *testing.T, xmllint, option string, method Canonicalization, files []string, scans []*scan) {
	t.Helper()
	var complaints bytes.Buffer
	command := exec.CommandContext(t.Context(), xmllint, slices.Concat([]string{option, "--nonet"}, files)...)
	command.Stderr = &complaints
	theirs, err := command.Output()
	if err != nil {
		t.Fatalf("xmllint %s: %v\n%s", option, err, complaints.String())
	}
	for _, scanned := range scans {
		ours, err := canonicalRoot(mustParse(t, scanned.document), nil, method, scanned.canonicalBytes)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(theirs, ours) {
			t.Fatalf("%s of %q:\nours   %q\ntheirs %q", option, scanned.document, ours, theirs[:min(len(theirs), len(ours)+100)])
		}
		theirs = bytes.TrimPrefix(theirs[len(ours):], []byte("\n"))
	}
	if len(theirs) > 0 {
		t.Errorf("%s: %d bytes more than ours", option, len(theirs))
	}
}
