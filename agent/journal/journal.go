package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/journal/durable"
)

const (
	// Version of the record format.
	Version = 1
	// MaxRecordBytes allows a body with two copies of a 16 MiB configuration file in base64 (4/3 each, 43 MiB) and some
	// names beside them. Real records have a few kilobytes.
	MaxRecordBytes = 48 << 20
	// MaxRecords of one kind: a document has at most 256 mitigations, and a server follows a handful of feeds.
	MaxRecords = 4096

	recordSuffix   = ".json"
	corruptSuffix  = ".json.corrupt"
	resolvedSuffix = ".json.corrupt.resolved"
)

var (
	// ErrCorrupt means that a record is damaged.
	ErrCorrupt = errors.New("record is damaged")
	// ErrNewer means that a record was written by a newer version of this program, and must not be touched.
	ErrNewer = errors.New("record has a newer format")
)

// Store is a folder of records. Its functions may be called from several goroutines.
type Store struct {
	dir string
	fs  durable.FS

	// believed are records whose bytes were found in order, by path. A record is read from the disk each time; while its bytes are the
	// same, only its body is decoded.
	mu       sync.Mutex
	believed map[string]believed
}

// believed is a record whose checksum was right.
type believed struct {
	data []byte // as they stand in the file
	name string
	body json.RawMessage
}

// maxBelieved is the size of records that are remembered. Those of the agent have a few kilobytes; one with much of a configuration file
// in it is not worth a second copy in memory.
const maxBelieved = 32 << 10

// envelope is a record as it stands in its file.
type envelope struct {
	Version int             `json:"version"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name"`
	SHA256  string          `json:"sha256"` // of the body in compact form
	Body    json.RawMessage `json:"body"`
}

// Open opens a store and makes its folder when it is missing.
func Open(dir string, fs durable.FS) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Store{dir: dir, fs: fs, believed: map[string]believed{}}, nil
}

// Put writes a record, which is on the disk when Put returns. Names that differ only in letter case are one record.
func (s *Store) Put(kind, name string, body any) error {
	data, err := encode(kind, name, body)
	if err != nil {
		return fmt.Errorf("journal: %s %q: %w", kind, name, err)
	}
	if err := durable.WriteFile(s.fs, s.file(kind, name, recordSuffix), data); err != nil {
		return fmt.Errorf("journal: %s %q: %w", kind, name, err)
	}
	return nil
}

// Delete removes a record. One that does not exist is no error.
func (s *Store) Delete(kind, name string) error {
	path := s.file(kind, name, recordSuffix)
	err := s.fs.Remove(path)
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("journal: %s %q: %w", kind, name, err)
	}
	s.doubt(path)
	return nil
}

// Load reads every record of a kind, by name. Damaged ones are set aside under another name, from where Damaged lists
// them. A record of a newer format is an error, which wraps ErrNewer: nothing must be done without knowing it.
func Load[T any](s *Store, kind string) (map[string]T, error) {
	files, err := s.list(kind, recordSuffix)
	if err != nil {
		return nil, err
	}
	records := make(map[string]T, len(files))
	for _, file := range files {
		path := filepath.Join(s.dir, file)
		var name string
		var body T
		if name, err = s.read(path, kind, &body); err == nil {
			records[name] = body
			continue
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, durable.ErrTooLarge) {
			return nil, fmt.Errorf("journal: %s: %w", file, err)
		}
		if err := s.setAside(path, strings.TrimSuffix(path, recordSuffix)+corruptSuffix); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// read reads one record. Errors of what stands in it wrap ErrCorrupt or ErrNewer.
func (s *Store) read(path, kind string, body any) (name string, err error) {
	data, err := s.fs.Read(path, MaxRecordBytes)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	known, ok := s.believed[path]
	s.mu.Unlock()
	if !ok || !bytes.Equal(known.data, data) {
		known = believed{data: data}
		if known.name, known.body, err = unwrap(data, kind); err != nil {
			return "", err
		}
		if s.file(kind, known.name, recordSuffix) != path {
			return "", fmt.Errorf("%w: it says that its name is %q", ErrCorrupt, known.name)
		}
	}
	if err := json.Unmarshal(known.body, body); err != nil {
		return "", fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(data) <= maxBelieved {
		s.mu.Lock()
		s.believed[path] = known
		s.mu.Unlock()
	}
	return known.name, nil
}

// doubt forgets what was believed of a file that is gone.
func (s *Store) doubt(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.believed, path)
}

// Damaged lists the names, in lower case, of records of a kind that were set aside and not resolved since.
func (s *Store) Damaged(kind string) ([]string, error) {
	files, err := s.list(kind, corruptSuffix)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(files))
	for _, f := range files {
		encoded := strings.TrimSuffix(strings.TrimPrefix(f, kind+"-"), corruptSuffix)
		if name, err := decodeName(encoded); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Resolve ends the state of damage of a name, after its content was established again. The damaged file is kept.
func (s *Store) Resolve(kind, name string) error {
	return s.setAside(s.file(kind, name, corruptSuffix), s.file(kind, name, resolvedSuffix))
}

func (s *Store) setAside(from, to string) error {
	s.doubt(from)
	if err := s.fs.Replace(from, to); err != nil {
		return fmt.Errorf("journal: set aside %s: %w", filepath.Base(from), err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("journal: set aside %s: %w", filepath.Base(from), err)
	}
	return nil
}

// list gives the file names of a kind in order.
func (s *Store) list(kind, suffix string) ([]string, error) {
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var files []string
	for _, name := range names {
		if strings.HasPrefix(name, kind+"-") && strings.HasSuffix(name, suffix) {
			files = append(files, name)
		}
	}
	if len(files) > MaxRecords {
		return nil, fmt.Errorf("journal: %d records of kind %q: more than the limit of %d", len(files), kind, MaxRecords)
	}
	sort.Strings(files)
	return files, nil
}

func (s *Store) names() ([]string, error) {
	if fs, ok := s.fs.(durable.Lister); ok {
		return fs.Names(s.dir)
	}
	entries, err := os.ReadDir(s.dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (s *Store) file(kind, name, suffix string) string {
	return filepath.Join(s.dir, kind+"-"+encodeName(name)+suffix)
}

// encodeName makes a file name of a record name: lower case, since Windows does not tell the cases apart, and %XX for
// all but letters, digits, dot and hyphen. A name never begins a path, and the prefix keeps it from being a device.
func encodeName(name string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(name)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func decodeName(encoded string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(encoded); i++ {
		if encoded[i] != '%' {
			b.WriteByte(encoded[i])
			continue
		}
		if i+2 >= len(encoded) {
			return "", fmt.Errorf("name %q: cut off", encoded)
		}
		c, err := hex.DecodeString(encoded[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("name %q: %w", encoded, err)
		}
		b.Write(c)
		i += 2
	}
	return b.String(), nil
}

func encode(kind, name string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	data, err := json.Marshal(envelope{Version: Version, Kind: kind, Name: name, SHA256: hex.EncodeToString(sum[:]), Body: raw})
	if err != nil {
		return nil, err
	}
	if len(data) >= MaxRecordBytes {
		return nil, fmt.Errorf("%d bytes: more than the limit of %d", len(data), MaxRecordBytes)
	}
	return append(data, '\n'), nil
}

// unwrap takes a record out of its envelope. All errors but ErrNewer wrap ErrCorrupt.
func unwrap(data []byte, kind string) (name string, body json.RawMessage, err error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if e.Version > Version {
		return "", nil, fmt.Errorf("%w: %d, this program knows %d", ErrNewer, e.Version, Version)
	}
	if e.Version < 1 || e.Kind != kind {
		return "", nil, fmt.Errorf("%w: version %d, kind %q", ErrCorrupt, e.Version, e.Kind)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, e.Body); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if sum := sha256.Sum256(compact.Bytes()); hex.EncodeToString(sum[:]) != e.SHA256 {
		return "", nil, fmt.Errorf("%w: the checksum does not match", ErrCorrupt)
	}
	return e.Name, e.Body, nil
}
