package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/identity"
)

func TestEnrollExplainsWrongUsage(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments []string
		stdin     string
		want      string
	}{
		"no string":                        {arguments: []string{"-state-dir", "s"}, want: "-token: required"},
		"nothing on the standard input":    {arguments: []string{"-state-dir", "s", "-token", "-"}, want: "-token: required"},
		"something else":                   {arguments: []string{"-state-dir", "s", "-token", "K10secret"}, want: "not an enrolment string"},
		"something else by standard input": {arguments: []string{"-state-dir", "s", "-token", "-"}, stdin: "K10secret\r\n", want: "not an enrolment string"},
		"a string that was cut":            {arguments: []string{"-state-dir", "s", "-token", "EMS1.secret"}, want: "copy it again"},
		"the string without its flag":      {arguments: []string{"-state-dir", "s", "EMS1.secret"}, want: "arguments without a flag"},
		"no folder":                        {arguments: []string{"-state-dir", "", "-token", "EMS1.secret"}, want: "-state-dir: required"},
		"a proxy with a password":          {arguments: []string{"-state-dir", "s", "-token", "EMS1.x", "-proxy", "http://me:secret@proxy"}, want: "-proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := runEnroll(tc.arguments, strings.NewReader(tc.stdin), &stdout, &stderr); got != exitUsage {
				t.Errorf("exit code %d, want %d", got, exitUsage)
			}
			if !strings.Contains(stderr.String(), tc.want) || strings.Contains(stderr.String(), "secret") {
				t.Errorf("errors = %q, want %q and no secret", &stderr, tc.want)
			}
		})
	}
}

// The API server of this test takes every token. On another host name the string is refused before it is asked.
func TestEnroll(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := `{"spec":{"poolName":"frontends"}}`
		if r.Method == http.MethodPost {
			answer = `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"expirationSeconds":3600},"status":{"token":"a.b.c","expirationTimestamp":"2026-11-22T04:00:00Z"}}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	text, err := identity.Ticket{URL: server.URL, CA: []*x509.Certificate{server.Certificate()}, Namespace: "pool-a", Pool: "frontends", Server: "fe01.a", Token: "x.y.z"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, step := range []struct {
		arguments []string
		exit      int
		want      string
	}{
		{nil, exitFailure, "for another server"},
		{[]string{"-server", "fe01.a"}, 0, "Enrolled as pool-a/fe01.a of pool frontends at " + server.URL},
		{[]string{"-server", "fe01.a"}, 0, "already"},
	} {
		var stdout, stderr bytes.Buffer
		got := runEnroll(append([]string{"-state-dir", dir, "-token", "-", "-proxy", "none"}, step.arguments...), strings.NewReader(text+"\r\n"), &stdout, &stderr)
		if got != step.exit || !strings.Contains(stdout.String()+stderr.String(), step.want) {
			t.Errorf("exit code %d, output %q, errors %q, want %d and %q", got, &stdout, &stderr, step.exit, step.want)
		}
		if strings.Contains(stdout.String()+stderr.String(), "x.y.z") || strings.Contains(stdout.String()+stderr.String(), "a.b.c") {
			t.Errorf("a token is shown: %s%s", &stdout, &stderr)
		}
	}
}
