package rewrite

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// expand gives a template its value; ok is false if a function failed.
func (e *evaluation) expand(t *template) (value string, ok bool, err error) {
	return e.expandParts(t.parts)
}

func (e *evaluation) expandParts(parts []part) (value string, ok bool, err error) {
	switch len(parts) {
	case 0:
		return "", true, nil
	case 1:
		return e.expandPart(&parts[0])
	}
	var out strings.Builder
	for i := range parts {
		text, ok, err := e.expandPart(&parts[i])
		if err != nil || !ok {
			return "", false, err
		}
		if out.Len()+len(text) > maxExpansion {
			return "", false, e.tooLong()
		}
		out.WriteString(text)
	}
	return out.String(), true, nil
}

func (e *evaluation) tooLong() error {
	return unsupported("a substitution gives more than %d bytes", maxExpansion)
}

func (e *evaluation) expandPart(p *part) (value string, ok bool, err error) {
	switch p.kind {
	case literalPart:
		return p.text, true, nil
	case variablePart:
		return e.variable(p.text), true, nil
	case ruleReference:
		if e.negated {
			if p.number == 0 && e.open(negatedMatchCaptures) {
				return e.negatedInput, true, nil
			}
			return "", true, nil
		}
		return e.captured(e.rule, p.number, "R")
	case conditionReference:
		return e.captured(e.condition, p.number, "C")
	case functionPart, mapPart:
	}
	argument, ok, err := e.expandParts(p.argument)
	if err != nil || !ok {
		return "", false, err
	}
	if p.kind == mapPart {
		if m := e.set.maps[p.text]; m != nil {
			return m.lookup(argument), true, nil
		}
		return "", false, unsupported("rewrite map %q is not defined here", p.text)
	}
	if p.blank && e.open(blankAfterColon) {
		return "", false, nil
	}
	value, ok = e.apply(p.function, argument)
	if len(value) > maxExpansion {
		return "", false, e.tooLong()
	}
	return value, ok, nil
}

// captured returns a back reference.
func (e *evaluation) captured(captures []string, number int, name string) (string, bool, error) {
	switch {
	case number < len(captures):
		return captures[number], true, nil
	case len(captures) > 0 && e.open(referenceOutOfRange):
		fault := Fault{Status: 500, SubStatus: subStatusInbound, Reason: fmt.Sprintf("{%s:%d} has no group", name, number)}
		return "", false, fault.Err()
	}
	return "", true, nil
}

func (e *evaluation) apply(f function, text string) (string, bool) {
	switch f {
	case toLower:
		return strings.ToLower(text), true
	case htmlEncode:
		return html.EscapeString(text), true
	case urlEncode:
		keep := unreserved
		if percentEncode(text, unreserved) != percentEncode(text, uriCharacter) && e.open(urlEncodeSet) {
			keep = uriCharacter
		}
		return percentEncode(text, keep), true
	case urlDecode:
	}
	if strings.Contains(text, "+") {
		e.touched |= plusInURLDecode
	}
	decoded, malformed := percentDecode(text, e.flipped&plusInURLDecode == 0)
	if !utf8.ValidString(decoded) {
		if e.open(decodedNotUTF8) {
			return "", false
		}
		decoded = latin1(decoded)
	}
	if again, _ := percentDecode(decoded, false); malformed || again != decoded {
		if e.open(doubleDecoding) {
			return "", false
		}
	}
	return decoded, true
}

// latin1 reads every byte as one character.
func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := 0; i < len(s); i++ {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// variable returns the value of a server variable; the name is in upper case.
func (e *evaluation) variable(name string) string {
	for _, v := range slices.Backward(e.variables) {
		if v.Name == name {
			return v.Value
		}
	}
	if value, ok := e.ofURL(name); ok {
		return value
	}
	r := e.request
	if value, ok := r.Variables[name]; ok {
		return value
	}
	if value, ok := e.site.options.Variables[name]; ok {
		return value
	}
	if value, ok := e.ofConnection(name); ok {
		return value
	}
	if header, ok := strings.CutPrefix(name, "HTTP_"); ok {
		return e.header(header)
	}
	if e.response != nil && strings.HasPrefix(name, "RESPONSE_") {
		return e.response.variable(name)
	}
	if !standardVariables[name] {
		// A variable that nobody has set.
		return ""
	}
	e.unknown = true
	if e.open(unknownVariable) {
		return "{" + name + "}"
	}
	return ""
}

// ofURL has the variables that follow the URL of the request.
func (e *evaluation) ofURL(name string) (string, bool) {
	switch name {
	case "REQUEST_URI":
		return e.requestURI(), true
	case "QUERY_STRING":
		return e.query, true
	case "URL", "PATH_INFO", "SCRIPT_NAME", "URL_PATH_INFO":
		return e.path, true
	case "UNENCODED_URL", "HTTP_URL":
		return e.request.target(), true
	case "HTTP_X_ORIGINAL_URL":
		if e.rewritten {
			return joinQuery(e.cooked, e.request.RawQuery), true
		}
	case "REQUEST_FILENAME", "SCRIPT_FILENAME", "PATH_TRANSLATED":
		if e.site.options.Files != nil {
			return e.physicalPath(), true
		}
	}
	return "", false
}

func (e *evaluation) requestURI() string {
	path, query := e.path, e.query
	if e.rewritten && e.open(requestURIAfterRewrite) {
		path, query = e.cooked, e.request.RawQuery
	}
	if path == e.cooked && path != e.request.Path && e.open(requestURIEncoding) {
		path = e.request.Path
	}
	return joinQuery(path, query)
}

// ofConnection has the variables of the request that rules do not change.
func (e *evaluation) ofConnection(name string) (string, bool) {
	r := e.request
	switch name {
	case "REQUEST_METHOD", "HTTP_METHOD":
		return r.Method, true
	case "HTTP_HOST":
		return r.Host, true
	case "SERVER_NAME":
		host := r.Host
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			host = host[:i]
		}
		return host, true
	case "SERVER_PORT":
		return r.port(), true
	case "SERVER_PORT_SECURE":
		if r.TLS {
			return "1", true
		}
		return "0", true
	case "HTTPS":
		if r.TLS {
			return "ON", true
		}
		return "OFF", true
	case "REMOTE_ADDR", "REMOTE_HOST":
		return r.RemoteAddr, r.RemoteAddr != ""
	case "SERVER_PROTOCOL", "HTTP_VERSION":
		return "HTTP/1.1", true
	case "GATEWAY_INTERFACE":
		return "CGI/1.1", true
	case "CONTENT_TYPE":
		return e.header("CONTENT_TYPE"), true
	case "CONTENT_LENGTH":
		return e.header("CONTENT_LENGTH"), true
	}
	return "", false
}

// header returns the value of a request header, by the name of its server variable.
func (e *evaluation) header(name string) string {
	values := headerValues(e.request.Headers, name)
	switch {
	case len(values) == 0:
		return ""
	case len(values) == 1:
		return values[0]
	case e.open(repeatedHeader):
		return values[0]
	}
	separator := ", "
	if name == "COOKIE" {
		separator = "; "
	}
	return strings.Join(values, separator)
}

// variable returns a server variable of the response, such as RESPONSE_CONTENT_TYPE.
func (r *Response) variable(name string) string {
	if name == "RESPONSE_STATUS" {
		return strconv.Itoa(r.Status)
	}
	header, _ := strings.CutPrefix(name, "RESPONSE_")
	return strings.Join(headerValues(r.Header, header), ", ")
}

// standardVariables are the variables of iis/web-dev-reference/server-variables.md that the
// server knows and this package may not.
var standardVariables = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(`ALL_HTTP ALL_RAW APPL_MD_PATH APPL_PHYSICAL_PATH APP_POOL_CONFIG
		APP_POOL_ID AUTH_PASSWORD AUTH_TYPE AUTH_USER CACHE_URL CERT_COOKIE CERT_FLAGS CERT_ISSUER CERT_KEYSIZE
		CERT_SECRETKEYSIZE CERT_SERIALNUMBER CERT_SERVER_ISSUER CERT_SERVER_SUBJECT CERT_SUBJECT
		CRYPT_CIPHER_ALG_ID CRYPT_HASH_ALG_ID CRYPT_KEYEXCHANGE_ALG_ID CRYPT_PROTOCOL DOCUMENT_ROOT FORWARDED_URL
		HTTPS_KEYSIZE HTTPS_SECRETKEYSIZE HTTPS_SERVER_ISSUER HTTPS_SERVER_SUBJECT INSTANCE_ID INSTANCE_META_PATH
		INSTANCE_NAME LOCAL_ADDR LOGON_USER MANAGED_PIPELINE_MODE PATH_TRANSLATED REMOTE_ADDR REMOTE_HOST
		REMOTE_PORT REMOTE_USER REQUEST_FILENAME REQUEST_FLAGS SCRIPT_FILENAME SCRIPT_TRANSLATED SERVER_ADDR
		SERVER_SOFTWARE SSI_EXEC_DISABLED UNMAPPED_REMOTE_USER`) {
		names[name] = true
	}
	return names
}()
