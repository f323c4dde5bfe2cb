package accesslog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"mitigation.dev/ems/internal/rewrite"
)

const (
	// MaxLine is the longest line that is read, in bytes: HTTP.sys takes 16 KB of request line
	// and 16 KB of headers, which logging may encode threefold, less what is never logged.
	MaxLine = 64 << 10
	// maxFields is how many fields a log may have. IIS knows 22, and an administrator can add
	// headers and server variables.
	maxFields = 128
)

var (
	// ErrMalformed is wrapped by errors about one line.
	ErrMalformed = errors.New("malformed log line")
	// ErrEncoding is wrapped when the log is compressed, or in UTF-16. IIS writes UTF-8 or the
	// code page of the server, and what an editor or an archive has made of it would look like
	// a log without requests.
	ErrEncoding = errors.New("log cannot be read")
)

// Entry is one request of a log.
type Entry struct {
	// Line is the number of the line, counted from 1.
	Line int
	// When is the time as it was logged, in UTC for the W3C format; zero if it is not known.
	When time.Time
	// Site is the name of the site as it was logged, such as W3SVC1.
	Site string
	// Status and SubStatus are those of the answer; 0 if they are not known.
	Status, SubStatus int

	method, path, query, host, client string
	port                              int
	headers                           http.Header
}

// Request is what the rules would have seen of the request, as far as the log tells.
func (e *Entry) Request() rewrite.Request {
	return rewrite.Request{
		Method: e.method, Host: e.host, Path: escape(e.path), RawQuery: e.query, Headers: e.headers,
		Port: e.port, TLS: e.port == 443, RemoteAddr: e.client,
	}
}

// escape makes the path of a request out of a logged one, which is decoded.
func escape(path string) string {
	plain := true
	for i := 0; i < len(path) && plain; i++ {
		plain = path[i] > ' ' && path[i] < 0x7f && path[i] != '%' && path[i] != '?' && path[i] != '#'
	}
	if plain {
		return path
	}
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]), c > ' ' && c < 0x7f && c != '%' && c != '?' && c != '#':
			out.WriteByte(c)
		default:
			out.WriteByte('%')
			out.WriteByte(digits[c>>4])
			out.WriteByte(digits[c&15])
		}
	}
	return out.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// format is how the lines of a log are read.
type format uint8

const (
	unknownFormat format = iota
	w3c
	iis
	requests
)

// Reader reads the entries of a log. It is for one goroutine.
type Reader struct {
	in     *bufio.Reader
	line   int
	offset int64
	format format
	// columns are those of the W3C format, by #Fields.
	columns []column
	// date is that of the directive #Date, for logs whose lines have a time only.
	date string
}

// NewReader returns a reader. The format shows in the first line that is not empty.
func NewReader(in io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, MaxLine)}
}

// Offset is how many bytes have been read.
func (r *Reader) Offset() int64 { return r.offset }

// Next returns the next entry, and io.EOF after the last one. After an error that wraps
// ErrMalformed reading can go on; others, such as ErrEncoding, are for good.
func (r *Reader) Next() (Entry, error) {
	for {
		text, err := r.read()
		if err != nil {
			return Entry{}, err
		}
		if text == "" {
			continue
		}
		if r.format == unknownFormat {
			r.format = detect(text)
		}
		if r.format == w3c && text[0] == '#' {
			if err := r.directive(text); err != nil {
				return Entry{}, err
			}
			continue
		}
		entry := Entry{Line: r.line}
		switch r.format {
		case w3c:
			err = r.w3c(&entry, text)
		case iis:
			err = r.iis(&entry, text)
		case requests, unknownFormat:
			err = r.request(&entry, text)
		}
		if err != nil {
			return Entry{}, err
		}
		return entry, nil
	}
}

// read returns the next line without its end and without zero bytes around it.
func (r *Reader) read() (string, error) {
	if r.line == 0 {
		if err := r.encoding(); err != nil {
			return "", err
		}
	}
	line, err := r.in.ReadSlice('\n')
	r.offset += int64(len(line))
	r.line++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		blank := len(trim(line)) == 0
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.in.ReadSlice('\n')
			r.offset += int64(len(line))
			blank = blank && len(trim(line)) == 0
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if blank {
			return "", nil
		}
		return "", r.malformed("longer than %d bytes", MaxLine)
	case errors.Is(err, io.EOF):
		if len(line) == 0 {
			return "", io.EOF
		}
	case err != nil:
		return "", err
	}
	if r.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\uFEFF"))
	}
	return string(trim(line)), nil
}

// encoding refuses a log whose first bytes say that it is no text that can be read here.
func (r *Reader) encoding() error {
	// An error comes again when the first line is read.
	start, _ := r.in.Peek(4)
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return fmt.Errorf("%w: it is compressed with gzip: unpack it first, as by \"gzip -dc\"", ErrEncoding)
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return fmt.Errorf("%w: it is a ZIP archive: unpack it first", ErrEncoding)
	case bytes.HasPrefix(start, []byte{0xff, 0xfe}), bytes.HasPrefix(start, []byte{0xfe, 0xff}),
		len(start) == 4 && start[0] != 0 && start[1] == 0 && start[2] != 0 && start[3] == 0,
		len(start) == 4 && start[0] == 0 && start[1] != 0 && start[2] == 0 && start[3] != 0:
		return fmt.Errorf("%w: it is in UTF-16: convert it to UTF-8 first", ErrEncoding)
	}
	return nil
}

// trim takes the line end and zero bytes away.
func trim(line []byte) []byte { return bytes.Trim(line, "\x00\r\n") }

func (r *Reader) malformed(format string, args ...any) error {
	return fmt.Errorf("%w %d: %s", ErrMalformed, r.line, fmt.Sprintf(format, args...))
}

// detect tells the format by the first line.
func detect(text string) format {
	switch {
	case text[0] == '#':
		return w3c
	case strings.Count(text, ",") >= iisColumns-1:
		return iis
	}
	return requests
}
