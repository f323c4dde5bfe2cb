package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/eventlog"
)

var expires = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

// enrol makes a state folder that of pool-a/fe01.
func enrol(t *testing.T) (stateDir string) {
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
	stateDir = t.TempDir()
	err = credential.Open(stateDir).Save(credential.Credential{
		Identity: credential.Identity{
			URL: "https://127.0.0.1:1", CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), Namespace: "pool-a", Pool: "frontends", Server: "fe01",
		},
		Grant: credential.Grant{Token: "a.b.c", Expires: expires, Life: 24 * time.Hour}, Received: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return stateDir
}

func TestTheEnrolmentSaysWhoTheServerIs(t *testing.T) {
	complete := []string{"-iis-root", "/iis", "-trust-file", "/trust.yaml", "-state-dir", enrol(t)}
	for name, tc := range map[string]struct {
		arguments []string
		want      string
	}{
		"nothing has to be said":     {},
		"the same may be said":       {arguments: []string{"-namespace", "pool-a", "-pool", "frontends", "-server", "fe01"}},
		"another pool is a mistake":  {arguments: []string{"-pool", "backends"}, want: `-pool: "backends", but the server was enrolled as "frontends"`},
		"another name is a mistake":  {arguments: []string{"-server", "fe02"}, want: `-server: "fe02"`},
		"another place is a mistake": {arguments: []string{"-namespace", "pool-b"}, want: `-namespace: "pool-b"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, "linux", append(slices.Clip(complete), tc.arguments...)...)
			err := o.Validate()
			if (err == nil) != (tc.want == "") || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
			if o.Namespace != "pool-a" || o.Pool != "frontends" || o.Server != "fe01" {
				t.Errorf("the server is %s/%s of %s", o.Namespace, o.Server, o.Pool)
			}
		})
	}
}

// An API server that is away is no reason not to start.
func TestTheConnectionOfAnEnrolledServerNeedsNoNetwork(t *testing.T) {
	got, err := connect(Options{StateDir: enrol(t)})
	if err != nil || got.Connection == nil || got.keep == nil || !got.expiry().Equal(expires) {
		t.Fatalf("connect() = %v, %v", got, err)
	}
	if _, err := connect(Options{StateDir: t.TempDir()}); err == nil {
		t.Error("a server that is not enrolled was connected")
	}
}

func TestTheEventLogHearsOfTheCredential(t *testing.T) {
	var heard []string
	o := Options{Events: func(id eventlog.ID, message string) { heard = append(heard, fmt.Sprint(id, message)) }}
	tell := o.tellOfCredential()
	tell(true, "new")
	tell(false, "gone")
	if want := fmt.Sprint(eventlog.CredentialRenewed, "new", "|", eventlog.CredentialProblem, "gone"); strings.Join(heard, "|") != want {
		t.Errorf("heard %q, want %q", heard, want)
	}
	(&Options{}).tellOfCredential()(true, "nobody listens")
}
