package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"time"

	"mitigation.dev/ems/internal/timestamp"
	"mitigation.dev/ems/internal/xmlsig"
)

const (
	// defaultAuthorityTimeout bounds a request to a time-stamping authority, everything included.
	defaultAuthorityTimeout = 30 * time.Second
	// maxTokenAge is how far before our clock the time of a new token may lie.
	maxTokenAge = 10 * time.Minute
	// nonceBits is the size of the number that the authority has to repeat (RFC 3161, section 2.4.1, wants a large one).
	nonceBits = 64
	// maxAuthorityHeader bounds the headers of an answer, as internal/fetch does.
	maxAuthorityHeader = 64 << 10
)

// imprintAlgorithm is SHA-256.
var imprintAlgorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue}

// Authority is a time-stamping authority that is asked over HTTP (RFC 3161, section 3.4).
type Authority struct {
	// URL is absolute, http or https: tokens are signed, so that most authorities do without TLS.
	URL string
	// Proxy is the HTTP proxy on the way; nil: none. Environment variables are not looked at.
	Proxy *url.URL
	// Roots are the trust anchors of its tokens.
	Roots []*x509.Certificate
	// Timeout bounds a request, everything included; 30 seconds if zero.
	Timeout time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Timestamp gets a token for message and verifies it, and that it was made for this request.
func (a Authority) Timestamp(ctx context.Context, message []byte) ([]byte, error) {
	token, err := a.timestamp(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("time-stamping authority %q: %w", a.URL, err)
	}
	return token, nil
}

func (a Authority) timestamp(ctx context.Context, message []byte) ([]byte, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), nonceBits))
	if err != nil {
		return nil, err
	}
	reply, err := a.ask(ctx, message, nonce)
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(reply)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	verified, err := timestamp.Verify(token, message, timestamp.Options{Roots: a.Roots, Now: now, ClockSkew: xmlsig.ClockSkew})
	switch {
	case err != nil:
		return nil, err
	case verified.Nonce == nil:
		return nil, errors.New("token without our nonce: it may have been made for an earlier request")
	case verified.Nonce.Cmp(nonce) != 0:
		return nil, errors.New("token with another nonce: it was made for another request")
	}
	if age := now.Sub(verified.Time); age > maxTokenAge {
		return nil, fmt.Errorf("token states %s, %s ago: one of the clocks is wrong", stamp(verified.Time), age.Round(time.Second))
	}
	return token, nil
}

func (a Authority) ask(ctx context.Context, message []byte, nonce *big.Int) ([]byte, error) {
	digest := sha256.Sum256(message)
	type imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hashed    []byte
	}
	query, err := asn1.Marshal(struct {
		Version int
		Imprint imprint
		Nonce   *big.Int
		// CertReq asks for the certificates, which a verifier needs.
		CertReq bool
	}{Version: 1, Imprint: imprint{imprintAlgorithm, digest[:]}, Nonce: nonce, CertReq: true})
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, defaultAuthorityTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, a.URL, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/timestamp-query")
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAuthorityHeader}
	if a.Proxy != nil {
		transport.Proxy = http.ProxyURL(a.Proxy)
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: want 200", answer.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "application/timestamp-reply" {
		return nil, fmt.Errorf("content type %q: want application/timestamp-reply", answer.Header.Get("Content-Type"))
	}
	reply, err := io.ReadAll(io.LimitReader(answer.Body, timestamp.MaxTokenBytes+1))
	if err != nil {
		return nil, err
	}
	if len(reply) > timestamp.MaxTokenBytes {
		return nil, fmt.Errorf("reply of more than %d bytes", timestamp.MaxTokenBytes)
	}
	return reply, nil
}

// tokenOf reads a TimeStampResp (RFC 3161, section 2.4.2).
func tokenOf(reply []byte) ([]byte, error) {
	der, err := timestamp.ToDER(reply)
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	var response struct {
		Status struct {
			Status int
			Text   []asn1.RawValue `asn1:"optional"`
			Fail   asn1.BitString  `asn1:"optional"`
		}
		Token asn1.RawValue `asn1:"optional"`
	}
	rest, err := asn1.Unmarshal(der, &response)
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	if len(rest) > 0 {
		return nil, errors.New("reply: bytes behind it")
	}
	// 0 is granted, 1 granted with modifications; all others come without a token.
	if response.Status.Status != 0 && response.Status.Status != 1 {
		texts := make([]string, 0, len(response.Status.Text))
		for _, text := range response.Status.Text {
			texts = append(texts, string(text.Bytes))
		}
		return nil, fmt.Errorf("reply: refused with status %d: %q", response.Status.Status, texts)
	}
	if len(response.Token.FullBytes) == 0 {
		return nil, errors.New("reply: no token")
	}
	return response.Token.FullBytes, nil
}
