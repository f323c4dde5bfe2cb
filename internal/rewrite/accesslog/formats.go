package accesslog

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// column is a field of the W3C format.
type column struct {
	kind columnKind
	// header is the name of a request header.
	header string
}

type columnKind uint8

const (
	otherColumn columnKind = iota
	dateColumn
	timeColumn
	siteColumn
	methodColumn
	stemColumn
	queryColumn
	hostColumn
	clientColumn
	portColumn
	statusColumn
	subStatusColumn
	headerColumn
)

// columns are the fields that are used, by the names that #Fields gives them.
var columns = map[string]columnKind{
	"date": dateColumn, "time": timeColumn, "s-sitename": siteColumn, "cs-method": methodColumn,
	"cs-uri-stem": stemColumn, "cs-uri-query": queryColumn, "cs-host": hostColumn, "cs(host)": hostColumn,
	"c-ip": clientColumn, "s-port": portColumn, "sc-status": statusColumn, "sc-substatus": subStatusColumn,
}

// directive reads a line that begins with "#".
func (r *Reader) directive(text string) error {
	name, value, _ := strings.Cut(text, ":")
	switch {
	case strings.EqualFold(name, "#Date"):
		r.date, _, _ = strings.Cut(strings.TrimSpace(value), " ")
	case strings.EqualFold(name, "#Fields"):
		names := strings.Fields(value)
		if len(names) > maxFields {
			return r.malformed("%d fields, allowed are %d", len(names), maxFields)
		}
		r.columns = r.columns[:0]
		for _, name := range names {
			lower := strings.ToLower(name)
			c := column{kind: columns[lower]}
			if header, ok := strings.CutPrefix(lower, "cs("); ok && c.kind == otherColumn && strings.HasSuffix(header, ")") {
				c = column{kind: headerColumn, header: http.CanonicalHeaderKey(strings.TrimSuffix(header, ")"))}
			}
			r.columns = append(r.columns, c)
		}
	}
	return nil
}

// w3c reads a line of the W3C extended format: fields with one blank between them, "-" for
// what is missing, and "+" for a blank.
func (r *Reader) w3c(e *Entry, text string) error {
	if len(r.columns) == 0 {
		return r.malformed("no #Fields before it")
	}
	date, clock, rest := r.date, "", text
	for i, c := range r.columns {
		value, tail, more := strings.Cut(rest, " ")
		if more != (i < len(r.columns)-1) {
			return r.malformed("%d fields are announced, and it has another number", len(r.columns))
		}
		rest = tail
		switch {
		case c.kind == dateColumn:
			date = value
		case c.kind == timeColumn:
			clock = value
		case value != "-" && !e.set(c, value):
			return r.malformed("field %d is no number: %q", i+1, value)
		}
	}
	if clock != "" {
		when, err := time.Parse(time.DateTime, date+" "+clock)
		if err != nil {
			return r.malformed("time %q", date+" "+clock)
		}
		e.When = when
	}
	return r.check(e)
}

// set keeps a value; it reports whether it is one.
func (e *Entry) set(c column, value string) bool {
	switch c.kind {
	case siteColumn:
		e.Site = value
	case methodColumn:
		e.method = value
	case stemColumn:
		e.path = value
	case queryColumn:
		e.query = value
	case hostColumn:
		e.host = value
	case clientColumn:
		e.client = value
	case portColumn:
		return number(&e.port, value)
	case statusColumn:
		return number(&e.Status, value)
	case subStatusColumn:
		return number(&e.SubStatus, value)
	case headerColumn:
		if e.headers == nil {
			e.headers = make(http.Header, 4)
		}
		e.headers[c.header] = []string{strings.ReplaceAll(value, "+", " ")}
	case otherColumn, dateColumn, timeColumn:
	}
	return true
}

func number(into *int, text string) bool {
	value, err := strconv.ParseUint(text, 10, 31)
	*into = int(value) //nolint:gosec // 31 bits
	return err == nil
}

// check refuses what cannot have been a request.
func (r *Reader) check(e *Entry) error {
	if !strings.HasPrefix(e.path, "/") {
		return r.malformed("path %q does not begin with a slash", first(e.path))
	}
	if e.method == "" {
		e.method = http.MethodGet
	}
	return nil
}

// shownLength is how much of a line a message repeats.
const shownLength = 64

func first(text string) string {
	if len(text) <= shownLength {
		return text
	}
	return strings.ToValidUTF8(text[:shownLength], "") + "..."
}

// iisColumns is how many columns the IIS format has: client, user, date, time, service, server,
// address, duration, bytes received, bytes sent, status, Windows status, method, target,
// parameters. A comma follows the last one too.
const iisColumns = 15

// iis reads a line of the IIS format. Its time is that of the server, in a form that depends
// on the country, and is not read.
func (r *Reader) iis(e *Entry, text string) error {
	values := strings.SplitN(strings.TrimSuffix(strings.TrimSpace(text), ","), ",", iisColumns)
	if len(values) != iisColumns {
		return r.malformed("%d columns, the IIS format has %d", len(values), iisColumns)
	}
	for i, value := range values {
		values[i] = strings.TrimSpace(value)
	}
	set := func(kind columnKind, value string) bool { return value == "-" || e.set(column{kind: kind}, value) }
	if !set(statusColumn, values[10]) {
		return r.malformed("status %q", first(values[10]))
	}
	set(clientColumn, values[0])
	set(siteColumn, values[4])
	set(methodColumn, values[12])
	set(stemColumn, values[13])
	set(queryColumn, values[14])
	return r.check(e)
}

// request reads a line such as "GET /path?query", "/path?query", or either with an absolute
// URL. The path is as a client sends it.
func (r *Reader) request(e *Entry, text string) error {
	parts := strings.Fields(text)
	if len(parts) == 3 && strings.HasPrefix(parts[2], "HTTP/") {
		parts = parts[:2]
	}
	if len(parts) == 2 {
		e.method, parts = parts[0], parts[1:]
	}
	if len(parts) != 1 {
		return r.malformed("it is no request such as GET /path?query")
	}
	target := parts[0]
	if scheme, rest, ok := strings.Cut(target, "://"); ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		if strings.EqualFold(scheme, "https") {
			e.port = 443
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		e.host, target = rest[:end], rest[end:]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	e.path, e.query, _ = strings.Cut(target, "?")
	return r.check(e)
}
