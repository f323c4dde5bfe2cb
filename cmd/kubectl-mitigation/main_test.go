package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/internal/version"
)

// actAsProgram makes the test binary behave as the program, so that shell scripts can call it.
const actAsProgram = "EMS_TEST_ACT_AS_KUBECTL_MITIGATION"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	repository = "../.."
	guide      = "docs/guides/publish-your-own.md"
)

func TestCommandsAnswerMisuse(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments              string
		wantExit               int
		wantOutput, wantErrors string
	}{
		"no command shows what there is":           {wantExit: 2, wantErrors: "feed verify"},
		"help is no failure":                       {arguments: "--help", wantOutput: "feed verify"},
		"help of a command lists its flags":        {arguments: "feed sign --help", wantOutput: "--sign-command"},
		"half a command":                           {arguments: "feed", wantExit: 2, wantErrors: "feed bundle create"},
		"a mistyped command":                       {arguments: "blok M1 --pool x", wantExit: 2, wantErrors: `unknown command "blok". Did you mean block?`},
		"a mistyped command of two words":          {arguments: "rollout statsu", wantExit: 2, wantErrors: "Did you mean rollout status?"},
		"a branch explains itself":                 {arguments: "rollout --help", wantOutput: "rollout promote "},
		"an unknown command":                       {arguments: "feed sing", wantExit: 2, wantErrors: `unknown command "feed sing"`},
		"the version":                              {arguments: "version", wantOutput: version.String()},
		"the version takes nothing":                {arguments: "version x", wantExit: 2, wantErrors: `argument "x": not expected`},
		"an unknown flag":                          {arguments: "version --colour", wantExit: 2, wantErrors: "unknown flag: --colour"},
		"sign without a folder":                    {arguments: "feed sign", wantExit: 2, wantErrors: "--in: required"},
		"sign without a key":                       {arguments: "feed sign --in a --out b --certs c", wantExit: 2, wantErrors: "--key, --sign-command, --pkcs12: want one of them"},
		"sign with two keys":                       {arguments: "feed sign --in a --out b --certs c --key d --sign-command e", wantExit: 2, wantErrors: "want one of them"},
		"sign with a key and PKCS#12":              {arguments: "feed sign --in a --out b --key d --pkcs12 e", wantExit: 2, wantErrors: "want one of them"},
		"sign with PKCS#12 and no password":        {arguments: "feed sign --in ../../config/samples/publish/mitigations --out b --pkcs12 e --sequence 1", wantExit: 2, wantErrors: "EMS_PKCS12_PASSWORD"},
		"sign with a password for nothing":         {arguments: "feed sign --in a --out b --certs c --key d --password-file e --sequence 1", wantExit: 2, wantErrors: "--password-file: needs --pkcs12"},
		"sign with a proxy for nothing":            {arguments: "feed sign --in a --out b --certs c --key d --sequence 1 --proxy http://p:1", wantExit: 2, wantErrors: "--proxy: needs --tsa"},
		"serve with fewer than no places":          {arguments: "feed serve --document a --tls-cert b --tls-key c --max-waiting -1", wantExit: 2, wantErrors: "--max-waiting: -1"},
		"half a command of three words":            {arguments: "feed bundle", wantExit: 2, wantErrors: "feed bundle create"},
		"bundle nothing":                           {arguments: "feed bundle create --trust a", wantExit: 2, wantErrors: "--document, --trust, --out: all are required"},
		"verify no bundle":                         {arguments: "feed bundle verify --trust a", wantExit: 2, wantErrors: "FILE: missing"},
		"verify two bundles":                       {arguments: "feed bundle verify --trust a b c", wantExit: 2, wantErrors: "FILE: 2 given"},
		"verify a bundle without a policy":         {arguments: "feed bundle verify a", wantExit: 2, wantErrors: "--trust: required"},
		"sign without a sequence":                  {arguments: "feed sign --in a --out b --certs c --key d", wantExit: 2, wantErrors: "an old document could be replayed"},
		"sign with a sequence below one":           {arguments: "feed sign --in a --out b --certs c --key d --sequence -1", wantExit: 2, wantErrors: "--sequence: -1"},
		"sign for no time":                         {arguments: "feed sign --in a --out b --certs c --key d --sequence 1 --expires-in 0s", wantExit: 2, wantErrors: "--expires-in: 0s"},
		"sign with half an authority":              {arguments: "feed sign --in a --out b --certs c --key d --sequence 1 --tsa x", wantExit: 2, wantErrors: "--tsa, --tsa-cert: want both"},
		"sign with a feed but no policy":           {arguments: "feed sign --in a --out b --certs c --key d --sequence 1 --feed x", wantExit: 2, wantErrors: "--feed: needs --trust"},
		"sign what is not there":                   {arguments: "feed sign --in no-such-folder --out b --certs c --key d --sequence 1", wantExit: 1, wantErrors: "no-such-folder"},
		"verify without documents":                 {arguments: "feed verify --trust x", wantExit: 2, wantErrors: "DOCUMENT...: missing"},
		"verify without a policy":                  {arguments: "feed verify x", wantExit: 2, wantErrors: "--trust: required"},
		"verify in an unknown form":                {arguments: "feed verify x --trust y -o yaml", wantExit: 2, wantErrors: `--output: "yaml"`},
		"verify under a policy that is not there":  {arguments: "feed verify x --trust no-such-file", wantExit: 2, wantErrors: "no-such-file"},
		"verify under what is no policy":           {arguments: "feed verify x --trust doc.go", wantExit: 2, wantErrors: "doc.go: trust file: "},
		"lint what is not there":                   {arguments: "feed lint no-such-file", wantExit: 2, wantErrors: "no-such-file"},
		"lint what is no mitigation":               {arguments: "feed lint main.go", wantExit: 1, wantOutput: "main.go: error: document: "},
		"serve without a certificate":              {arguments: "feed serve --document x", wantExit: 2, wantErrors: "--tls-cert"},
		"serve at a path that is none":             {arguments: "feed serve --document x --tls-cert x --tls-key x --path y", wantExit: 2, wantErrors: `--path: "y"`},
		"serve with a certificate that is missing": {arguments: "feed serve --document x --tls-cert x --tls-key x", wantExit: 1, wantErrors: "certificate for TLS"},
		"test-connectivity without a URL":          {arguments: "test-connectivity --trust x", wantExit: 2, wantErrors: "--url, --trust: both are required"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := &program{stdout: &stdout, stderr: &stderr, now: time.Now}
			if got := p.run(t.Context(), strings.Fields(tc.arguments)); got != tc.wantExit {
				t.Errorf("exit code = %d, want %d", got, tc.wantExit)
			}
			if !strings.Contains(stdout.String(), tc.wantOutput) || !strings.Contains(stderr.String(), tc.wantErrors) {
				t.Errorf("output = %q, errors = %q, want %q and %q", &stdout, &stderr, tc.wantOutput, tc.wantErrors)
			}
		})
	}
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)\n```$")

// shell runs scripts in a folder with "kubectl mitigation" being this program.
type shell struct {
	t           *testing.T
	folder      string
	environment []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, needed := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not on PATH", needed)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	kubectl := fmt.Sprintf("#!/bin/sh\nshift\n%s=1 exec '%s' \"$@\"\n", actAsProgram, self)
	if err := os.WriteFile(filepath.Join(programs, "kubectl"), []byte(kubectl), 0o700); err != nil {
		t.Fatal(err)
	}
	return &shell{t: t, folder: t.TempDir(), environment: append(os.Environ(),
		"PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "EMS_SOURCE="+source)}
}

func (s *shell) command(ctx context.Context, script string) *exec.Cmd {
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	command.Dir, command.Env = s.folder, s.environment
	command.WaitDelay = 5 * time.Second
	return command
}

// run returns what a script prints and its exit code.
func (s *shell) run(script string) (output string, code int) {
	s.t.Helper()
	command := s.command(s.t.Context(), script)
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		s.t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}

// start runs a script until the test ends, and waits until it listens.
func (s *shell) start(script, address string) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	var output bytes.Buffer
	// exec: the signal has to reach the program, not a shell in front of it.
	command := s.command(ctx, "exec "+script)
	command.Stdout, command.Stderr = &output, &output
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		stop()
		_ = command.Wait()
		if command.ProcessState.ExitCode() != 0 || !strings.Contains(output.String(), "msg=Stopping") {
			s.t.Errorf("%s: %s, output:\n%s", script, command.ProcessState, &output)
		}
	})
	NewWithT(s.t).Eventually(func() error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			err = connection.Close()
		}
		return err
	}).WithTimeout(30 * time.Second).Should(Succeed())
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestGuide runs every command of the guide, then looks at what is left behind with eyes of its own.
func TestGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it starts some twenty processes")
	}
	text, err := os.ReadFile(filepath.Join(repository, guide))
	if err != nil {
		t.Fatal(err)
	}
	s, address := newShell(t), freeAddress(t)
	last, blocks := "", shellBlock.FindAllSubmatch(text, -1)
	for _, block := range blocks {
		script := strings.ReplaceAll(string(block[1]), "127.0.0.1:8443", address)
		if strings.Contains(script, "feed serve") {
			s.start(script, address)
			continue
		}
		output, code := s.run(script)
		if code != 0 {
			t.Fatalf("exit code %d of:\n%s\n%s", code, script, output)
		}
		last = output
	}
	if len(blocks) < 10 {
		t.Errorf("only %d blocks were found", len(blocks))
	}
	const success = "Result: Success.\nMessage: The Mitigation Service endpoint is accessible from this computer.\n"
	if !strings.HasPrefix(last, success) || !strings.Contains(string(text), success) {
		t.Errorf("the guide ends with:\n%s", last)
	}

	output, code := s.run("kubectl mitigation feed verify -o json mitigations.xml --trust trust.yaml --feed contoso")
	var reports []publish.Report
	if err := json.Unmarshal([]byte(output), &reports); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, output)
	}
	if len(reports) != 1 || reports[0].Sequence != 4 || len(reports[0].Mitigations) != 3 || reports[0].File != "mitigations.xml" {
		t.Errorf("reports = %+v", reports)
	}
	for name, tc := range map[string]struct {
		script, want string
		wantExit     int
	}{
		"a changed document is refused": {
			"sed s/powershell/p0wershell/ mitigations.xml > changed.xml; kubectl mitigation feed verify --trust trust.yaml mitigations.xml changed.xml",
			"changed.xml: refused\n  Class:       digest mismatch", 1,
		},
		"a bundle that was changed on the way is refused": {
			"sed s/document-sha256:./document-sha256:x/ contoso.bundle.yaml > changed.yaml; kubectl mitigation feed bundle verify changed.yaml --trust trust.yaml",
			"changed.yaml: bundle: ", 1,
		},
		"a bundle under another policy is refused": {
			"sed 's/commonName: [^}]*/commonName: Other/' trust.yaml > other.yaml; kubectl mitigation feed bundle verify contoso.bundle.yaml --trust other.yaml -o json",
			`"class": "signer not trusted"`, 1,
		},
		"PKCS#12 with another password": {
			"EMS_PKCS12_PASSWORD=x kubectl mitigation feed sign --in mitigations --out no.xml --pkcs12 signing.p12 --sequence 9",
			"signing.p12: PKCS#12: the password does not fit", 1,
		},
		"a key that is none": {
			"kubectl mitigation feed sign --in mitigations --out no.xml --key root.pem --certs chain.pem --sequence 9", "root.pem: key: no private key in PEM", 1,
		},
		"one of several documents is too large": {
			"head -c 2000000 /dev/zero > large.xml; kubectl mitigation feed verify --trust trust.yaml large.xml mitigations.xml",
			"large.xml: refused\n  Class:       document too large", 1,
		},
		"a policy that is none is misuse": {
			"echo word > word.yaml; kubectl mitigation feed verify --trust word.yaml mitigations.xml", "word.yaml: trust file: not a list of fields in YAML", 2,
		},
		"a bundle that is none": {
			"kubectl mitigation feed bundle verify mitigations.xml --trust trust.yaml", "mitigations.xml: bundle: not a list of fields in YAML", 1,
		},
		"a revocation list that is none": {
			"kubectl mitigation feed bundle create --document mitigations.xml --trust trust.yaml --crl root.crl --crl mitigations.xml --out no.yaml",
			"--crl: mitigations.xml: revocation lists: list 1", 1,
		},
		"another feed is misuse": {"kubectl mitigation feed verify --trust trust.yaml --feed other mitigations.xml", `--feed: "other": trust.yaml has contoso`, 2},
		"a document that cannot be trusted does not replace the one before": {
			"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout o.key -out o.pem -subj /CN=Other 2>/dev/null; before=$(cat mitigations.xml)\n" +
				"kubectl mitigation feed sign --in mitigations --out mitigations.xml --key o.key --certs chain.pem --sequence 9 || code=$?\n" +
				`test "$before" = "$(cat mitigations.xml)" || exit 9; exit $code`,
			"none belongs to the key", 1,
		},
		"an endpoint with another certificate fails": {
			"kubectl mitigation test-connectivity --url https://" + address + "/mitigations.xml --ca root.pem --trust trust.yaml",
			"Result: Failed.\nMessage: Unable to connect to the Mitigation Service endpoint from this computer.\n", 1,
		},
		"a page that is not there fails": {
			"kubectl mitigation test-connectivity --url https://" + address + "/ --ca tls.pem --trust trust.yaml -o json", `"success": false`, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			output, code := s.run(tc.script)
			if code != tc.wantExit || !strings.Contains(output, tc.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tc.wantExit, tc.want, output)
			}
		})
	}
}
