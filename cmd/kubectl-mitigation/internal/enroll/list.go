package enroll

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/agent/identity"
)

const (
	// maxFile is the size of the largest list: maxServers entries of 250 characters.
	maxFile = 5 << 20
	// maxServers is twice the largest fleet that was thought of.
	maxServers = 20_000
	// maxHostName is what the API takes.
	maxHostName = 255
)

// entry is a server of a list.
type entry struct {
	Pool     string `json:"pool"`
	Server   string `json:"server"`
	HostName string `json:"hostName,omitempty"`
}

func (e entry) String() string { return e.Pool + "/" + e.Server }

func (e entry) check() error {
	if err := errors.Join(identity.CheckPool(e.Pool), identity.CheckServer(e.Server)); err != nil {
		return err
	}
	if len(e.HostName) > maxHostName || strings.ContainsFunc(e.HostName, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("hostName: of %s: want a name of at most %d characters without blanks", e, maxHostName)
	}
	return nil
}

// parseOperand reads POOL/SERVER.
func parseOperand(text string) (entry, error) {
	pool, server, ok := strings.Cut(text, "/")
	if !ok {
		return entry{}, fmt.Errorf("%q: want POOL/SERVER", text)
	}
	e := entry{Pool: pool, Server: server}
	if err := e.check(); err != nil {
		return entry{}, fmt.Errorf("%q: want POOL/SERVER: %w", text, err)
	}
	return e, nil
}

// readList reads a file, CSV or YAML by its name.
func readList(name string) ([]entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxFile:
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxFile)
	}
	var entries []entry
	switch extension := strings.ToLower(filepath.Ext(name)); extension {
	case ".csv":
		entries, err = parseCSV(content)
	case ".yaml", ".yml", ".json":
		entries, err = parseYAML(content)
	default:
		err = fmt.Errorf("%q: want .csv, .yaml or .json", extension)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return entries, nil
}

// parseCSV reads a table with a first line that names the columns: pool, server, and maybe hostName.
func parseCSV(content []byte) ([]entry, error) {
	reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
	reader.TrimLeadingSpace, reader.Comment = true, '#'
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("first line: %w", err)
	}
	known := []string{"pool", "server", "hostName"}
	columns := map[string]int{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		at := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if at < 0 {
			return nil, fmt.Errorf("first line: column %q: want pool, server and hostName", name)
		}
		if _, twice := columns[known[at]]; twice {
			return nil, fmt.Errorf("first line: column %q: twice", name)
		}
		columns[known[at]] = i
	}
	if _, ok := columns["pool"]; !ok {
		return nil, errors.New("first line: no column pool: it names the columns pool, server and hostName")
	}
	if _, ok := columns["server"]; !ok {
		return nil, errors.New("first line: no column server: it names the columns pool, server and hostName")
	}
	var entries []entry
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if len(entries) == maxServers {
			return nil, fmt.Errorf("more than %d servers", maxServers)
		}
		field := func(name string) string {
			if i, ok := columns[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		e := entry{Pool: field("pool"), Server: field("server"), HostName: field("hostName")}
		if err := e.check(); err != nil {
			line, _ := reader.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		entries = append(entries, e)
	}
}

// parseYAML reads a list of servers.
func parseYAML(content []byte) ([]entry, error) {
	var entries []entry
	if err := yaml.UnmarshalStrict(content, &entries); err != nil {
		return nil, fmt.Errorf("want a list with pool, server and hostName: %w", err)
	}
	if len(entries) > maxServers {
		return nil, fmt.Errorf("%d servers: want at most %d", len(entries), maxServers)
	}
	for i, e := range entries {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return entries, nil
}

// unique refuses servers that come twice: all share a namespace, and with it their names.
func unique(entries []entry) error {
	seen := map[string]entry{}
	for _, e := range entries {
		if other, twice := seen[e.Server]; twice {
			return fmt.Errorf("%s and %s: a server can be named once", other, e)
		}
		seen[e.Server] = e
	}
	return nil
}
