package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/iistree"
)

func TestWaitSaysWhatItSawLast(t *testing.T) {
	looks := 0
	err := Wait(t.Context(), 3*pollPause, "the moon", func(context.Context) (bool, string) {
		looks++
		return false, "a cloud"
	})
	if err == nil || !strings.Contains(err.Error(), "wait for the moon") || !strings.Contains(err.Error(), "seen last: a cloud") {
		t.Errorf("error %v", err)
	}
	if looks < 2 {
		t.Errorf("%d looks", looks)
	}
	if err := Wait(t.Context(), time.Minute, "nothing", func(context.Context) (bool, string) { return true, "" }); err != nil {
		t.Error(err)
	}
}

func TestSnapshotsTellWhatIsDifferent(t *testing.T) {
	before := Snapshot{"a": "one\ntwo\nthree", "b": "same", "c": "gone"}
	now := Snapshot{"a": "one\nTWO\nthree", "b": "same", "d": "new"}
	want := []string{"a: 13 bytes instead of 13, different from line 2 on", "c: is gone", "d: is new"}
	if diff := cmp.Diff(want, now.Differences(before)); diff != "" {
		t.Errorf("differences differ (-want +got):\n%s", diff)
	}
	if same := now.Differences(now); len(same) > 0 {
		t.Errorf("a snapshot differs from itself: %v", same)
	}
}

func TestEndpoint(t *testing.T) {
	e, err := newEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Down)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(e.CABundle)) {
		t.Fatal("the CA bundle holds no certificate")
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	get := func(tag string) (status int, body, newTag string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" {
			request.Header.Set("If-None-Match", tag)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err.Error(), ""
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(content), response.Header.Get("ETag")
	}

	if status, _, _ := get(""); status != http.StatusNotFound {
		t.Errorf("without a document: status %d", status)
	}
	e.Serve([]byte("document"))
	status, body, tag := get("")
	if status != http.StatusOK || body != "document" || tag == "" {
		t.Errorf("status %d, body %q, tag %q", status, body, tag)
	}
	if status, body, _ = get(tag); status != http.StatusNotModified || body != "" {
		t.Errorf("with the tag: status %d, body %q", status, body)
	}
	e.Serve([]byte("newer"))
	if status, _, _ = get(tag); status != http.StatusOK {
		t.Errorf("with an old tag: status %d", status)
	}
	if e.Requests() != 4 {
		t.Errorf("%d requests", e.Requests())
	}
	e.Down()
	if status, body, _ = get(""); status != 0 {
		t.Errorf("down: status %d, body %q", status, body)
	}
	if err := e.Up(); err != nil {
		t.Fatal(err)
	}
	if status, _, _ = get(""); status != http.StatusOK {
		t.Errorf("up again: status %d", status)
	}
}

func TestPublishedDocumentsVerifyUnderTheirTrustPolicyAndNoOther(t *testing.T) {
	publisher, err := NewPublisher()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewPublisher()
	if err != nil {
		t.Fatal(err)
	}
	document, err := publisher.Publish(PING1(), M1(), ECP1())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := xmlsig.Verify(document, compile(t, publisher.Trust()), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if signed.SignedAt.IsZero() {
		t.Error("the counter-signature was not accepted")
	}
	parsed, err := ocs.Parse(signed.Canonical)
	if err != nil || len(parsed.Configs) != 3 || len(parsed.Refused) > 0 || parsed.Sequence != 1 {
		t.Errorf("document %+v, %v", parsed, err)
	}
	if _, err := xmlsig.Verify(document, compile(t, stranger.Trust()), time.Now()); err == nil {
		t.Error("it verifies under the policy of another publisher")
	}
	tampered, err := Tamper(document)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := xmlsig.Verify(tampered, compile(t, publisher.Trust()), time.Now()); err == nil {
		t.Error("it verifies although it was tampered with")
	}
}

func compile(t *testing.T, policy emsv1.TrustPolicy) xmlsig.Policy {
	t.Helper()
	content, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	var same trust.Policy
	if err := yaml.UnmarshalStrict(content, &same); err != nil {
		t.Fatal(err)
	}
	compiled, err := same.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestRequestsMeetTheRulesOfTheFile(t *testing.T) {
	rules := func(inside string) string {
		return "            <rewrite>\n                <rules>" + inside + "</rules>\n            </rewrite>\n"
	}
	const abort = `<rule name="X" stopProcessing="true"><match url=".*" /><conditions>` +
		`<add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" /></conditions><action type="AbortRequest" /></rule>`
	tests := map[string]struct {
		rewrite  string
		target   string
		want     rewrite.Outcome
		wantRule string
		wantName []string
	}{
		"without a rewrite section everything passes": {target: ExploitRequest, want: rewrite.Passed},
		"a rule of the site aborts what it is for":    {rewrite: rules(abort), target: ExploitRequest, want: rewrite.Aborted, wantRule: "X", wantName: []string{"X"}},
		"a rule of the site lets the rest pass":       {rewrite: rules(abort), target: HarmlessRequest, want: rewrite.Passed, wantName: []string{"X"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := &Server{Name: "srv", Pool: Pool{FQDN: "pool.contoso.com"}, Root: t.TempDir()}
			if err := iistree.Write(s.Root, iistree.Options{CRLF: true, Sites: []iistree.Site{{Name: Site, Pool: "DefaultAppPool", Rewrite: tc.rewrite}}}); err != nil {
				t.Fatal(err)
			}
			got, err := s.Request(http.MethodGet, tc.target)
			if err != nil {
				t.Fatal(err)
			}
			names, err := s.RuleNames()
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != tc.want || got.Rule != tc.wantRule || !cmp.Equal(names, tc.wantName) {
				t.Errorf("%s of rules %q, want %s of %q", got, names, tc.want, tc.wantName)
			}
			if err := s.WriteConfig([]byte("<configuration>")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Request(http.MethodGet, tc.target); err == nil {
				t.Error("half a file is no error")
			}
		})
	}
}

func TestFindRoot(t *testing.T) {
	root, err := FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if _, err := FindRoot(); err == nil {
		t.Error("a folder outside of the repository is inside")
	}
}
