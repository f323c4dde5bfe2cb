package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/journal/durable"
)

var received = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)

// newAuthority gives a certificate in PEM.
func newAuthority(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

func newCredential(t testing.TB, token string) Credential {
	return Credential{
		Identity: Identity{URL: "https://api.contoso.example:6443", CA: newAuthority(t), Namespace: "pool-frontends", Pool: "frontends", Server: "fe01"},
		Grant:    Grant{Token: token, Expires: received.Add(25 * time.Hour), Life: 24 * time.Hour},
		Received: received, Asked: 24 * time.Hour, Exchanged: "ab12", Confirmed: true,
	}
}

func TestStoreKeepsACredential(t *testing.T) {
	dir := t.TempDir()
	store := Open(dir)
	if _, err := store.Load(); !errors.Is(err, ErrNone) {
		t.Errorf("Load() of nothing = %v, want ErrNone", err)
	}
	want := newCredential(t, "a.b.c")
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := Open(dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	want = newCredential(t, "d.e.f")
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Load(); err != nil || got.Token != "d.e.f" {
		t.Errorf("Load() = %v, %v, want the second token", got.Token, err)
	}
}

func TestStoreKeepsOthersOut(t *testing.T) {
	dir := t.TempDir()
	store := Open(dir)
	if err := store.Save(newCredential(t, "aaaaaaaaaaaaaaaaaaaaaaaa.b.c")); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "credential")
	file := filepath.Join(folder, fileName)
	if runtime.GOOS == "windows" {
		// Rights cannot be read back under Wine; that the token is sealed can.
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("aaaaaaaa")) || bytes.Contains(data, []byte("YWFhYWFh")) {
			t.Errorf("the token stands in the file as it is: %s", data)
		}
		return
	}
	for _, name := range []string{folder, file} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Save(newCredential(t, "d.e.f")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{folder: 0o700, file: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

func TestStoreRefusesALinkForAFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	dir, other := t.TempDir(), t.TempDir()
	if err := os.Symlink(other, filepath.Join(dir, "credential")); err != nil {
		t.Fatal(err)
	}
	if err := Open(dir).Save(newCredential(t, "a.b.c")); err == nil {
		t.Error("a link was followed")
	}
}

func TestStoreReportsDamage(t *testing.T) {
	dir := t.TempDir()
	store := Open(dir)
	if err := store.Save(newCredential(t, "a.b.c")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "credential", fileName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, by string) []byte { return bytes.Replace(whole, []byte(old), []byte(by), 1) }
	for name, data := range map[string][]byte{
		"an empty file":         nil,
		"half of it":            whole[:len(whole)/2],
		"another version":       replace(`"version": 1`, `"version": 2`),
		"no encryption":         replace("https://", "http://"),
		"another authority":     replace("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"),
		"no server":             replace(`"fe01"`, `""`),
		"an endless life":       replace(`"lifeSeconds": 86400`, `"lifeSeconds": 9223372036`),
		"no life":               replace(`"lifeSeconds": 86400`, `"lifeSeconds": 0`),
		"a token that is none":  replace(`"sealed": "`, `"sealed": "AAAA`),
		"more than it can have": bytes.Repeat([]byte(" "), maxFile+1),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := store.Load(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Load() = %v, %v, want ErrDamaged", name, c, err)
		}
	}
}

func TestReplaceLeavesWhatAnotherStored(t *testing.T) {
	store := Open(t.TempDir())
	if err := store.Replace("a.b.c", newCredential(t, "d.e.f")); !errors.Is(err, ErrNone) {
		t.Errorf("Replace() of nothing = %v, want ErrNone", err)
	}
	if err := store.Save(newCredential(t, "a.b.c")); err != nil {
		t.Fatal(err)
	}
	if err := store.Replace("x.y.z", newCredential(t, "d.e.f")); !errors.Is(err, ErrReplaced) {
		t.Errorf("Replace() of another = %v, want ErrReplaced", err)
	}
	if err := store.Replace("a.b.c", newCredential(t, "d.e.f")); err != nil {
		t.Error(err)
	}
	if got, err := store.Load(); err != nil || got.Token != "d.e.f" {
		t.Errorf("Load() = %v, %v", got.Token, err)
	}
}

func TestStoreWaitsForAnother(t *testing.T) {
	dir := t.TempDir()
	store := Open(dir)
	if err := store.Save(newCredential(t, "a.b.c")); err != nil {
		t.Fatal(err)
	}
	unlock, err := durable.Lock(filepath.Join(dir, "credential", lockName))
	if err != nil {
		t.Fatal(err)
	}
	saved := make(chan error, 1)
	next := newCredential(t, "d.e.f")
	go func() { saved <- store.Save(next) }()
	select {
	case err := <-saved:
		t.Errorf("saved although another was at it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	unlock()
	if err := <-saved; err != nil {
		t.Error(err)
	}
}

func TestCredentialHidesItsToken(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, newCredential(t, "secret.secret.secret")); strings.Contains(text, "secret") {
			t.Errorf("%s shows the token: %s", verb, text)
		}
	}
}
