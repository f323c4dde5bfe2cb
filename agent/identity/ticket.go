package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"mitigation.dev/ems/internal/clientcert"
)

// Prefix begins every enrolment string; the number is the version of what follows.
const Prefix = "EMS1."

const (
	// MaxEncoded is the length of the longest enrolment string. Windows takes command lines of 32,767 characters; the rest is for the
	// path of the program and its flags.
	MaxEncoded = 32_000
	// maxCertificates are more than an authority has while it changes its key: the old one, the new one, and what is between.
	maxCertificates = 8
	// maxToken is ten times what a token of the API server has.
	maxToken = 16 << 10
	// maxURL is what programs commonly take.
	maxURL = 2048
)

// Errors of Decode that callers tell apart.
var (
	// ErrNotATicket means that the text is something else.
	ErrNotATicket = errors.New("not an enrolment string, which would begin with EMS1")
	// ErrDamaged means that the text begins like an enrolment string and is not whole.
	ErrDamaged = errors.New("the enrolment string is damaged: copy it again, all of it")
)

// Ticket is what an enrolment string says.
type Ticket struct {
	// URL of the API server; https, without a path beyond what the API server itself is reached under.
	URL string
	// CA are the certificates that the one of the API server must chain to.
	CA []*x509.Certificate
	// Namespace, Pool and Server say who the server is.
	Namespace, Pool, Server string
	// Token is the credential that is good for one exchange.
	Token string
	// Lifetime is how long a token the agent may ask for; zero means MaxToken, and with certificates the most that is approved.
	Lifetime time.Duration
	// Enrolment says that the agent gets client certificates, and names the enrolment in them; empty means tokens.
	Enrolment string
}

// wire is the JSON of a ticket.
type wire struct {
	URL       string   `json:"url"`
	CA        [][]byte `json:"ca"`
	Namespace string   `json:"namespace"`
	Pool      string   `json:"pool"`
	Server    string   `json:"server"`
	Token     string   `json:"token"`
	// LifetimeSeconds is left out for MaxToken.
	LifetimeSeconds int64 `json:"lifetimeSeconds,omitempty"`
	// Enrolment is left out for tokens.
	Enrolment string `json:"enrolment,omitempty"`
}

// String keeps the token out of logs.
func (t Ticket) String() string { return fmt.Sprintf("%s/%s at %s", t.Namespace, t.Server, t.URL) }

// GoString keeps the token out of logs.
func (t Ticket) GoString() string { return t.String() }

// Encode writes the enrolment string.
func (t Ticket) Encode() (string, error) {
	if err := t.check(); err != nil {
		return "", fmt.Errorf("enrolment string: %w", err)
	}
	w := wire{URL: t.URL, Namespace: t.Namespace, Pool: t.Pool, Server: t.Server, Token: t.Token, LifetimeSeconds: int64(t.Lifetime / time.Second), Enrolment: t.Enrolment}
	for _, c := range t.CA {
		w.CA = append(w.CA, c.Raw)
	}
	content, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("enrolment string: %w", err)
	}
	text := Prefix + base64.RawURLEncoding.EncodeToString(content)
	if len(text) > MaxEncoded {
		return "", fmt.Errorf("enrolment string: %d characters: no command line takes more than %d: name fewer certificates", len(text), MaxEncoded)
	}
	return text, nil
}

// Decode reads an enrolment string. Blanks, line breaks and quotation marks around it, and the mark that PowerShell puts in front of
// what it pipes, are no part of it. Errors never quote what it says, which may be a secret.
func Decode(text string) (Ticket, error) {
	text = strings.Trim(strings.TrimPrefix(text, "\ufeff"), " \t\r\n\"'")
	encoded, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return Ticket{}, ErrNotATicket
	}
	if len(text) > MaxEncoded {
		return Ticket{}, fmt.Errorf("%w: more than %d characters", ErrDamaged, MaxEncoded)
	}
	content, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var w wire
	if err := decoder.Decode(&w); err != nil {
		// The error of the decoder can quote what it read.
		return Ticket{}, fmt.Errorf("%w: not the JSON of this version", ErrDamaged)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Ticket{}, fmt.Errorf("%w: something follows", ErrDamaged)
	}
	if w.LifetimeSeconds < 0 || w.LifetimeSeconds > int64(MaxCeiling/time.Second) {
		return Ticket{}, fmt.Errorf("%w: lifetime out of range", ErrDamaged)
	}
	t := Ticket{URL: w.URL, Namespace: w.Namespace, Pool: w.Pool, Server: w.Server, Token: w.Token, Lifetime: time.Duration(w.LifetimeSeconds) * time.Second, Enrolment: w.Enrolment}
	if len(w.CA) > maxCertificates {
		return Ticket{}, fmt.Errorf("%w: more than %d certificates", ErrDamaged, maxCertificates)
	}
	for i, raw := range w.CA {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return Ticket{}, fmt.Errorf("%w: certificate %d: %w", ErrDamaged, i+1, err)
		}
		t.CA = append(t.CA, c)
	}
	if err := t.check(); err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return t, nil
}

// tokenForm is that of a JWT; a token goes into a header.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}$`)

func (t Ticket) check() error {
	var problems []error
	if err := CheckURL(t.URL); err != nil {
		problems = append(problems, err)
	}
	if len(t.CA) == 0 || len(t.CA) > maxCertificates {
		problems = append(problems, fmt.Errorf("certificates: %d: want 1 to %d", len(t.CA), maxCertificates))
	}
	problems = append(problems, CheckNamespace(t.Namespace), CheckPool(t.Pool), CheckServer(t.Server), CheckToken(t.Token))
	if t.Lifetime != 0 && (t.Lifetime < MinToken || t.Lifetime > MaxCeiling) {
		problems = append(problems, fmt.Errorf("lifetime: %v: want %v to %v", t.Lifetime, MinToken, MaxCeiling))
	}
	if t.Enrolment != "" {
		problems = append(problems, clientcert.CheckEnrolment(t.Enrolment))
		if t.Lifetime > clientcert.MaxLife {
			problems = append(problems, fmt.Errorf("lifetime: %v: want at most %v for certificates", t.Lifetime, clientcert.MaxLife))
		}
	}
	return errors.Join(problems...)
}

// CheckToken reports whether a text cannot be a token of an API server. The error does not quote it.
func CheckToken(text string) error {
	if len(text) > maxToken || !tokenForm.MatchString(text) {
		return errors.New("token: not one of an API server")
	}
	return nil
}

// CheckURL reports what is wrong with the URL of an API server. Only https will do, and nothing that could carry a secret.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL || err != nil || u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("URL: %q: want https://HOST[:PORT]", clip(text))
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("URL: %q: want no user, query or fragment", u.Redacted())
	}
	return nil
}

// CAPEM gives the certificates as programs take them.
func (t Ticket) CAPEM() []byte {
	var out []byte
	for _, c := range t.CA {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// ParseCA reads certificates in PEM. Other blocks are refused: a private key has no place here.
func ParseCA(content []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("certificates of the authority: block %q: want CERTIFICATE only", clip(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificates of the authority: number %d: %w", len(certificates)+1, err)
		}
		certificates, content = append(certificates, c), rest
	}
	if len(certificates) == 0 {
		return nil, errors.New("certificates of the authority: none in PEM")
	}
	if len(certificates) > maxCertificates {
		return nil, fmt.Errorf("certificates of the authority: %d: want at most %d", len(certificates), maxCertificates)
	}
	return certificates, nil
}

// TokenExpiry is what a token says of its own end, unchecked: good for messages and for nothing else.
func TokenExpiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return time.Time{}, false
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err := json.Unmarshal(content, &claims); err != nil || claims.Exp <= 0 || claims.Exp > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(claims.Exp, 0).UTC(), true
}
