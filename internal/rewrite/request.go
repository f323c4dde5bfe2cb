package rewrite

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Request is what the rules see of a request.
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
}

// SplitTarget makes a Request from a request target in origin form, such as
// /owa/?layout=light.
func SplitTarget(method, host, target string, headers http.Header) Request {
	path, query, _ := strings.Cut(target, "?")
	return Request{Method: method, Host: host, Path: path, RawQuery: query, Headers: headers}
}

// cookPath returns the path as HTTP.sys hands it to modules: decoded once, dot segments
// resolved, runs of slashes collapsed, with its leading slash.
func cookPath(raw string) (string, error) {
	if !strings.HasPrefix(raw, "/") {
		return "", fmt.Errorf("%w: path %q does not begin with a slash", ErrInvalidRequest, raw)
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

// percentDecode decodes one level. Escapes that are none stay as they are and set
// malformed.
func percentDecode(s string, plusIsBlank bool) (decoded string, malformed bool) {
	if !strings.ContainsAny(s, "%+") {
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

// header returns the value of the server variable HTTP_<name>. More than one header of a
// name is not supported: how IIS joins them is not documented for every header.
func (r *Request) header(name string) (string, error) {
	if name == "HOST" {
		return r.Host, nil
	}
	value, found := "", false
	for key, values := range r.Headers {
		if !strings.EqualFold(strings.ReplaceAll(key, "-", "_"), name) || len(values) == 0 {
			continue
		}
		if found || len(values) > 1 {
			return "", unsupported("several headers of one name in {HTTP_%s}", name)
		}
		value, found = values[0], true
	}
	return value, nil
}
