package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// tokens signs tokens as the TokenRequest API of the API server does.
type tokens struct {
	issuer string
	key    *ecdsa.PrivateKey
}

// readTokens reads the key that the API server signs with.
func readTokens(file, issuer string) (*tokens, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key of tokens: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("key of tokens: %s: no PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key of tokens: %s: %w", file, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key of tokens: %s: %T, want ECDSA", file, key)
	}
	return &tokens{issuer: issuer, key: ec}, nil
}

// object names an object in a token.
type object struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// sign makes a token of a ServiceAccount that is bound to a Secret, in the compact form of RFC 7515 with ES256 of RFC 7518.
func (t *tokens) sign(namespace string, account, secret object, now time.Time, life time.Duration) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": t.issuer, "aud": []string{t.issuer}, "sub": "system:serviceaccount:" + namespace + ":" + account.Name,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(life).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": account, "secret": secret},
	})
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	content := encode([]byte(`{"alg":"ES256"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(content))
	r, s, err := ecdsa.Sign(rand.Reader, t.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	const length = 32 // of each number, for P-256
	signature := make([]byte, 2*length)
	r.FillBytes(signature[:length])
	s.FillBytes(signature[length:])
	return content + "." + encode(signature), nil
}
