package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// token has the form of those of an API server; it ends at 2033-05-18T03:33:20Z.
var token = "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":2000000000}`)) + ".c2ln"

func authority(t testing.TB) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ticket(t testing.TB) Ticket {
	return Ticket{
		URL: "https://api.contoso.example:6443", CA: []*x509.Certificate{authority(t)},
		Namespace: "pool-frontends", Pool: "frontends", Server: "fe01", Token: token, Lifetime: 7 * 24 * time.Hour,
	}
}

func TestTicketSurvivesTheWay(t *testing.T) {
	want := ticket(t)
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		t.Errorf("a shell could take a character of %q for something else", text)
	}
	for name, pasted := range map[string]string{
		"as it is": text, "with a line break": text + "\r\n", "in quotation marks": `"` + text + `" `, "piped by PowerShell": "\ufeff" + text + "\r\n",
	} {
		got, err := Decode(pasted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *x509.Certificate) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestTicketHidesItsToken(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, ticket(t)); strings.Contains(text, token) {
			t.Errorf("%s shows the token: %s", verb, text)
		}
	}
}

// wireOf gives the fields of a good ticket, to be spoilt.
func wireOf(t testing.TB) map[string]any {
	text, err := ticket(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	content, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, Prefix))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func encode(t testing.TB, fields map[string]any) string {
	content, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return Prefix + base64.RawURLEncoding.EncodeToString(content)
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := ticket(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		fields := wireOf(t)
		fields[name] = value
		return encode(t, fields)
	}
	ca := wireOf(t)["ca"].([]any)
	for name, tc := range map[string]struct {
		text string
		want error
		says string
	}{
		"nothing":                        {"", ErrNotATicket, ""},
		"another word":                   {"K10abc::server:secret", ErrNotATicket, ""},
		"another version":                {"EMS2." + strings.TrimPrefix(whole, Prefix), ErrNotATicket, ""},
		"the prefix alone":               {Prefix, ErrDamaged, "JSON"},
		"a part that was cut off":        {whole[:len(whole)-9], ErrDamaged, ""},
		"a character that was lost":      {whole[:40] + whole[41:], ErrDamaged, ""},
		"characters of another alphabet": {whole[:40] + "+" + whole[41:], ErrDamaged, "illegal base64"},
		"far too much":                   {Prefix + strings.Repeat("A", MaxEncoded), ErrDamaged, "characters"},
		"a second value":                 {Prefix + base64.RawURLEncoding.EncodeToString([]byte(`{} {}`)), ErrDamaged, "follows"},
		"a field that nobody knows":      {with("insecure", true), ErrDamaged, "version"},
		"no encryption":                  {with("url", "http://api.contoso.example"), ErrDamaged, "https"},
		"no host":                        {with("url", "https://:6443"), ErrDamaged, "https"},
		"a password in the URL":          {with("url", "https://me:hunter2@api.contoso.example"), ErrDamaged, "no user"},
		"a query":                        {with("url", "https://api.contoso.example/?x"), ErrDamaged, "query"},
		"no authority":                   {with("ca", []any{}), ErrDamaged, "certificates: 0"},
		"too many authorities":           {with("ca", slices.Repeat(ca, maxCertificates+1)), ErrDamaged, "certificates"},
		"an authority that is none":      {with("ca", []any{"AAAA"}), ErrDamaged, "certificate 1"},
		"a namespace with a dot":         {with("namespace", "a.b"), ErrDamaged, "namespace"},
		"no pool":                        {with("pool", ""), ErrDamaged, "pool"},
		"a path for a server":            {with("server", "../fe01"), ErrDamaged, "server"},
		"the ServiceAccount default":     {with("server", "default"), ErrDamaged, "default"},
		"a long name":                    {with("server", strings.Repeat("a", 300)), ErrDamaged, "aaa..."},
		"a line break in the token":      {with("token", token+"\r\nX: y"), ErrDamaged, "token"},
		"a token that is none":           {with("token", "secret"), ErrDamaged, "token"},
		"a life that is too short":       {with("lifetimeSeconds", 60), ErrDamaged, "lifetime"},
		"a life that has no end":         {with("lifetimeSeconds", int64(1)<<60), ErrDamaged, "lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(tc.text)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("Decode() = %v, want %v with %q", err, tc.want, tc.says)
			}
			for _, secret := range []string{token, "hunter2", "c2ln"} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for name, spoil := range map[string]func(*Ticket){
		"no encryption": func(t *Ticket) { t.URL = "http://a" },
		"no authority":  func(t *Ticket) { t.CA = nil },
		"no token":      func(t *Ticket) { t.Token = "" },
		"too long": func(t *Ticket) {
			t.Token = "a.b." + strings.Repeat("c", maxToken-4)
			t.URL += "/" + strings.Repeat("p", 1900)
			t.CA = slices.Repeat(t.CA, maxCertificates)
		},
	} {
		spoilt := ticket(t)
		spoil(&spoilt)
		text, err := spoilt.Encode()
		if err == nil && len(text) <= MaxEncoded && name != "too long" {
			t.Errorf("%s: was encoded", name)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
		if len(text) > MaxEncoded {
			t.Errorf("%s: %d characters", name, len(text))
		}
	}
}

func TestParseCA(t *testing.T) {
	c := authority(t)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	if got, err := ParseCA(append([]byte("comment\n"), block...)); err != nil || len(got) != 1 || !got[0].Equal(c) {
		t.Errorf("ParseCA() = %v, %v", got, err)
	}
	if back, err := ParseCA(ticket(t).CAPEM()); err != nil || len(back) != 1 {
		t.Errorf("ParseCA(CAPEM()) = %v, %v", back, err)
	}
	for name, content := range map[string][]byte{
		"nothing":          nil,
		"text":             []byte("hello"),
		"a key":            append(slices.Clone(block), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})...),
		"broken":           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"too many of them": slices.Repeat(block, maxCertificates+1),
	} {
		if _, err := ParseCA(content); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTokenExpiry(t *testing.T) {
	got, ok := TokenExpiry(token)
	if want := time.Unix(2_000_000_000, 0).UTC(); !ok || !got.Equal(want) {
		t.Errorf("TokenExpiry() = %v, %v, want %v", got, ok, want)
	}
	for _, text := range []string{"", "a.b", "a.b.c", "a.e30.c", "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":-1}`)) + ".c"} {
		if got, ok := TokenExpiry(text); ok {
			t.Errorf("TokenExpiry(%q) = %v", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	if AgentSecret("fe01") == BootstrapSecret("fe01") || User("ns", "fe01") != "system:serviceaccount:ns:fe01" {
		t.Error("the names of an identity are not those that the admission policies know")
	}
	for name, good := range map[string]bool{"fe01": true, "fe01.site": true, "": false, "FE01": false, "-a": false, "a..b": false, "a:b": false, "a/b": false, strings.Repeat("a", 64): false} {
		if got := CheckServer(name) == nil; got != good {
			t.Errorf("CheckServer(%q) = %v, want %v", name, got, good)
		}
	}
}

// FuzzDecode: whatever is pasted, Decode neither panics nor accepts what could not be written again.
func FuzzDecode(f *testing.F) {
	good, err := ticket(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(Prefix)
	f.Add(Prefix + "e30")
	f.Add("EMS1.eyJ1cmwiOiJodHRwczovL2EifQ")
	f.Add(encode(f, map[string]any{"url": "https://a", "ca": []any{"AAAA"}, "server": "x"}))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Decode(text)
		if err != nil {
			return
		}
		again, err := got.Encode()
		if err != nil {
			t.Fatalf("was read and cannot be written: %v", err)
		}
		if back, err := Decode(again); err != nil || back.String() != got.String() || back.Token != got.Token {
			t.Fatalf("%v became %v: %v", got, back, err)
		}
	})
}
