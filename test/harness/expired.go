package harness

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// EndedAt gives the token of a service account another time of its end, and signs it as the API server does. A token that the
// API server makes cannot be waited for: it lasts for ten minutes at least.
func (c *ControlPlane) EndedAt(token string, end time.Time) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("token: %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	begin := end.Add(-time.Hour).Unix()
	claims["iat"], claims["nbf"], claims["exp"] = begin, begin, end.Unix()
	if payload, err = json.Marshal(claims); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	key, err := c.tokenKey()
	if err != nil {
		return "", fmt.Errorf("token: key: %w", err)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	// RFC 7518, section 3.4: both numbers in 32 bytes.
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// tokenKey is what the API server signs tokens with.
func (c *ControlPlane) tokenKey() (*ecdsa.PrivateKey, error) {
	content, err := os.ReadFile(filepath.Join(c.dir, "keys", "tokens.key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T", parsed)
	}
	return key, nil
}
