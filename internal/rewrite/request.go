package rewrite

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Request is what the rules see of a request. The rules never change it.
type Request struct {
	// Method is the request method, such as GET.
	Method string
	// Host is the value of the Host header.
	Host string
	// Path is the path as the client sent it, percent-encoding included. It begins with
	// a slash.
	Path string
	// RawQuery is the query as sent, without the question mark.
	RawQuery string
	// Headers holds the request headers other than Host.
	Headers http.Header
	// TLS tells that the request came by HTTPS.
	TLS bool
	// Port is the port that it came to; 0 means 443 with TLS, else 80.
	Port int
	// RemoteAddr is the IP address of the client; empty means that it is not known.
	RemoteAddr string
	// Variables gives values to further server variables, by name in upper case.
	Variables map[string]string
}

// SplitTarget makes a Request from a request target in origin form, such as
// /owa/?layout=light.
func SplitTarget(method, host, target string, headers http.Header) Request {
	path, query, _ := strings.Cut(target, "?")
	return Request{Method: method, Host: host, Path: path, RawQuery: query, Headers: headers}
}

func (r *Request) target() string { return joinQuery(r.Path, r.RawQuery) }

func (r *Request) port() string {
	switch {
	case r.Port != 0:
		return strconv.Itoa(r.Port)
	case r.TLS:
		return "443"
	}
	return "80"
}

// origin returns scheme and host as the client wrote them.
func (r *Request) origin() string {
	if r.TLS {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func joinQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// cookPath returns the path as HTTP.sys hands it to modules: decoded once, dot segments
// resolved, runs of slashes collapsed, with its leading slash.
func cookPath(raw string) (string, error) {
	if !strings.HasPrefix(raw, "/") {
		return "", fmt.Errorf("%w: path %q does not begin with a slash", ErrInvalidRequest, raw)
	}
	if plainPath(raw) {
		return raw, nil
	}
	decoded, malformed := percentDecode(raw, false)
	if malformed {
		return "", fmt.Errorf("%w: path %q has a broken percent encoding", ErrInvalidRequest, raw)
	}
	if strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' }) {
		return "", fmt.Errorf("%w: path %q has a control character", ErrInvalidRequest, raw)
	}
	if !utf8.ValidString(decoded) {
		return "", unsupported("path %q is not UTF-8 when decoded", raw)
	}
	var segments []string
	pieces := strings.Split(strings.ReplaceAll(decoded, `\`, "/"), "/")
	for _, piece := range pieces {
		switch piece {
		case "", ".":
		case "..":
			if len(segments) == 0 {
				return "", unsupported("path %q leaves the root", raw)
			}
			segments = segments[:len(segments)-1]
		default:
			segments = append(segments, piece)
		}
	}
	path := "/" + strings.Join(segments, "/")
	last := pieces[len(pieces)-1]
	if len(segments) > 0 && (last == "" || last == "." || last == "..") {
		path += "/"
	}
	return path, nil
}

// plainPath reports whether cooking leaves the path alone, as it does nearly always.
func plainPath(raw string) bool {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c < ' ', c == '%', c == '\\', c >= utf8.RuneSelf:
			return false
		case c == '/' && i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.'):
			return false
		}
	}
	return true
}

// percentDecode decodes one level. Escapes that are none stay as they are and set
// malformed.
func percentDecode(s string, plusIsBlank bool) (decoded string, malformed bool) {
	if !strings.Contains(s, "%") && (!plusIsBlank || !strings.Contains(s, "+")) {
		return s, false
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' && isHex(s[i+1:], 2):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		case c == '%':
			malformed = true
			out = append(out, c)
		case c == '+' && plusIsBlank:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return string(out), malformed
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}

// percentEncode writes everything but the characters that keep accepts as %XX of UTF-8.
func percentEncode(s string, keep func(byte) bool) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; keep(c) {
			out.WriteByte(c)
		} else {
			out.WriteByte('%')
			out.WriteByte(digits[c>>4])
			out.WriteByte(digits[c&15])
		}
	}
	return out.String()
}

// unreserved are the characters that RFC 3986 never encodes.
func unreserved(c byte) bool {
	return isLetter(c) || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// uriCharacter are those that may stand in a URI at all.
func uriCharacter(c byte) bool {
	return unreserved(c) || strings.IndexByte(":/?#[]@!$&'()*+,;=", c) >= 0
}

// headerValues returns the values of the header whose server variable is HTTP_<name>.
// Underscores of the variable may stand for dashes or underscores of the header.
func headerValues(headers http.Header, name string) []string {
	first, others := "", []string(nil)
	found := false
	for key := range headers {
		switch {
		case len(key) != len(name) || !sameHeader(key, name):
		case !found:
			first, found = key, true
		default:
			others = append(others, key)
		}
	}
	if len(others) == 0 {
		return headers[first]
	}
	// In an order that does not change from call to call.
	keys := slices.Sorted(slices.Values(append([]string{first}, others...)))
	var values []string
	for _, key := range keys {
		values = append(values, headers[key]...)
	}
	return values
}

// sameHeader compares a header's name with the upper-case rest of a variable's name of
// the same length.
func sameHeader(header, name string) bool {
	for i := 0; i < len(header); i++ {
		c := header[i]
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case c == '-':
			c = '_'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
