package requests

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/internal/rewrite/accesslog"
)

const (
	// maxRead bounds what one Count reads of a folder. It is 3,000 requests with lines of 350 bytes, and nobody asks for many
	// more within the seconds between two looks.
	maxRead = 1 << 20
	// maxHead is how far into a file its fields are looked for. IIS writes four lines before the first request.
	maxHead = 8 << 10
	// maxTail is in how much of a file's end the last line is looked for: two blocks of zero bytes, and a line.
	maxTail = 192 << 10
	// maxNames bounds the names that are read of a folder: 11 years of hourly logs.
	maxNames = 100_000
	// maxFamilies bounds the ways of naming that are followed; IIS has six.
	maxFamilies = 8
	// maxFiles bounds the files that one Count opens in a folder, so that years of empty ones are walked in several.
	maxFiles = 32
)

// Cursor is how far the logs of a folder have been counted. It is plain JSON.
type Cursor struct {
	Folder string `json:"folder"`
	// Since is the moment from which on requests count.
	Since time.Time `json:"since"`
	// Files holds for each way of naming the file that is read now.
	Files map[string]Position `json:"files,omitempty"`
	// Counted requests so far.
	Counted int64 `json:"counted,omitempty"`
}

// Position is a place in a file.
type Position struct {
	Name   string `json:"name"`
	Offset int64  `json:"offset,omitempty"`
}

// Seen is what was counted.
type Seen struct {
	// Requests since Begin, in all folders.
	Requests int64
	// Log says whether there is a log file at all.
	Log bool
	// Problem says what could not be read; empty if nothing.
	Problem string
}

// Begin notes where the logs of the folders end. Requests that were served before now and are written later do not count.
func Begin(folders []string, now time.Time) []Cursor {
	cursors := make([]Cursor, 0, len(folders))
	for _, folder := range folders {
		c := Cursor{Folder: folder, Since: now.UTC().Truncate(time.Second), Files: map[string]Position{}}
		// A folder that is not there yet has nothing to skip. One that cannot be read is told about by Count.
		names, _ := logNames(folder)
		for family, list := range families(names) {
			last := list[len(list)-1].name
			end, _ := endOf(filepath.Join(folder, last))
			c.Files[family] = Position{Name: last, Offset: end}
		}
		cursors = append(cursors, c)
	}
	return cursors
}

// Count counts what was logged since the cursors were made and gives cursors for the next time. It stops early once it has
// counted enough; then the total is at least that. Cursors from a damaged disk count nothing that cannot be.
func Count(cursors []Cursor, enough int64) ([]Cursor, Seen) {
	var seen Seen
	next := make([]Cursor, 0, len(cursors))
	for _, c := range cursors {
		seen.Requests += max(0, c.Counted)
	}
	for _, old := range cursors {
		c := Cursor{Folder: old.Folder, Since: old.Since, Counted: max(0, old.Counted), Files: make(map[string]Position, len(old.Files))}
		maps.Copy(c.Files, old.Files)
		there, err := c.advance(enough - seen.Requests + c.Counted)
		seen.Requests += c.Counted - max(0, old.Counted)
		seen.Log = seen.Log || there
		if err != nil && seen.Problem == "" {
			seen.Problem = err.Error()
		}
		next = append(next, c)
	}
	return next, seen
}

// advance reads on until enough requests are counted.
func (c *Cursor) advance(enough int64) (there bool, err error) {
	names, err := logNames(c.Folder)
	if err != nil {
		return false, err
	}
	left := reader{bytes: maxRead, files: maxFiles}
	found := families(names)
	for _, family := range slices.Sorted(maps.Keys(found)) {
		at, known := c.Files[family]
		if !known || at.Name == "" || filepath.Base(at.Name) != at.Name || at.Offset < 0 {
			// A family that was not there before is new from its first file on.
			at = Position{Name: found[family][0].name}
		}
		from, _ := newLogFile(at.Name)
		for _, file := range found[family] {
			if file.compare(from) < 0 {
				continue
			}
			if c.Counted >= enough || left.files == 0 || left.bytes <= 0 {
				break
			}
			if file.name != at.Name {
				at = Position{Name: file.name}
			}
			n, end, all, readErr := left.count(filepath.Join(c.Folder, file.name), at.Offset, c.Since)
			c.Counted += n
			at.Offset = end
			if readErr != nil || !all {
				err = cmp.Or(err, readErr)
				break
			}
		}
		c.Files[family] = at
	}
	return len(names) > 0, err
}

// reader is what may still be read.
type reader struct {
	bytes int64
	files int
}

// count counts the complete lines of a file from an offset on, says where it ended, and whether that was all of the file.
func (r *reader) count(path string, from int64, since time.Time) (requests, end int64, all bool, err error) {
	r.files--
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, from, true, nil // cleaned away between the list and now
	}
	fail := func(err error) (int64, int64, bool, error) { return 0, from, false, fmt.Errorf("access log: %w", err) }
	if err != nil {
		return fail(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if from > info.Size() {
		from = 0 // another file of the same name
	}
	head := make([]byte, min(maxHead, from))
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(head))), head); err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, from, r.bytes))
	if err != nil {
		return fail(err)
	}
	all = int64(len(data)) < r.bytes
	lines := complete(data)
	if len(lines) == 0 && len(data) == maxRead {
		lines = data // no line is that long; it is passed over
	}
	r.bytes -= int64(len(data))
	return entries(fieldsOf(head), lines, since), from + int64(len(lines)), all, nil
}

// complete cuts data off behind its last complete line: what follows is not yet written, or written with zero bytes.
func complete(data []byte) []byte {
	data = bytes.TrimRight(data, "\x00")
	return data[:bytes.LastIndexByte(data, '\n')+1]
}

// fieldsOf gives the directive that names the fields of a log.
func fieldsOf(head []byte) []byte {
	at := bytes.LastIndex(head, []byte("#Fields:"))
	if at < 0 {
		return nil
	}
	line, _, whole := bytes.Cut(head[at:], []byte("\n"))
	if !whole {
		return nil
	}
	return append(bytes.Clone(line), '\n')
}

// entries counts requests that are not the agent's own, and not from before. A line that cannot be read was a request all the
// same, and one without a time is taken for a new one.
func entries(fields, lines []byte, since time.Time) (n int64) {
	if len(lines) == 0 {
		return 0
	}
	r := accesslog.NewReader(io.MultiReader(bytes.NewReader(fields), bytes.NewReader(lines)))
	for {
		entry, err := r.Next()
		switch {
		case err == nil:
			old := !entry.When.IsZero() && entry.When.Before(since)
			if !old && entry.Request().Headers.Get("User-Agent") != health.UserAgent {
				n++
			}
		case errors.Is(err, accesslog.ErrMalformed):
			n++
		default: // the end; reading from memory has no other errors
			return n
		}
	}
}

// endOf gives the offset behind the last complete line of a file.
func endOf(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	from := max(0, info.Size()-maxTail)
	tail := make([]byte, info.Size()-from)
	n, err := f.ReadAt(tail, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return from + int64(len(complete(tail[:n]))), nil
}

// logNames lists the log files of a folder; none if the folder is not there.
func logNames(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("access logs: %w", err)
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("access logs: %w", err)
	}
	var logs []string
	for _, name := range names {
		if strings.EqualFold(filepath.Ext(name), ".log") {
			logs = append(logs, name)
		}
	}
	return logs, nil
}
