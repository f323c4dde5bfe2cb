//go:build !windows

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/inventory/inventorytest"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/testenv"
)

// parity is the page that has a row for each cmdlet, parameter, script, event and file of the real services.
const parity = "docs/reference/parity.md"

// endpoint is that of the feed on the page; the test has one of its own.
const endpoint = "https://ems.contoso.com"

// row is one of the tables: what the real service has, what EMS has, and what shows it.
type row struct{ real, here, shown string }

var (
	parityRow    = regexp.MustCompile(`(?m)^\| (.+?) \| (.+?) \| (.+?) \|$`)
	codeSpan     = regexp.MustCompile("`([^`]+)`")
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
	hexText      = regexp.MustCompile(`[0-9a-f]{64}`)
	momentText   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	tookTime     = regexp.MustCompile(`in \d+(\.\d+)?m?s\.`)
)

func parityPage() (page string, rows []row) {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join(repository, parity))
	Expect(err).NotTo(HaveOccurred())
	for _, cells := range parityRow.FindAllStringSubmatch(string(content), -1) {
		if !strings.HasPrefix(cells[1], "---") && cells[3] != "shown by" {
			rows = append(rows, row{cells[1], cells[2], cells[3]})
		}
	}
	return string(content), rows
}

// examples are the commands of the page, and whether the row of a table may name them.
func examples(page string) []string {
	var commands []string
	for _, block := range consoleBlock.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			if command, is := strings.CutPrefix(line, "$ "); is {
				commands = append(commands, strings.TrimSpace(command))
			}
		}
	}
	return commands
}

var _ = Describe("The page of parity", Ordered, func() {
	It("has an example or a test for each row", func() {
		page, rows := parityPage()
		Expect(len(rows)).To(BeNumerically(">=", 40))
		commands := examples(page)
		Expect(strings.ToLower(page)).NotTo(ContainSubstring("planned for"))
		for _, r := range rows {
			if r.shown == "example" {
				spans := codeSpan.FindAllStringSubmatch(r.here, -1)
				Expect(spans).NotTo(BeEmpty(), r.here)
				Expect(slices.ContainsFunc(spans, func(s []string) bool { return slices.Contains(commands, s[1]) })).To(BeTrue(), "no example has a command of %q", r.here)
				continue
			}
			expectTest(r.shown)
		}
	})

	It("names everything that the reference of the real services has", func() {
		page, _ := parityPage()
		for _, name := range []string{
			"Get-Mitigations.ps1", "-Identity", "-ExportCSV", "Test-MitigationServiceConnectivity.ps1", "Rollback-Mitigation.ps1", "Get-MitigationDetails.ps1",
			"Set-OrganizationConfig", "Set-ExchangeServer", "-MitigationsEnabled", "-MitigationsBlocked", "MitigationsApplied", "Restart-Service MSExchangeMitigation",
			"-InternetWebProxy", "Search-AdminAuditLog", "-RingLevel", "Set-ExchangeFeature", "Get-ExchangeFeature",
			"Get-CsMitigation", "-ExportAsXml", "Set-CsMitigation", "-MitigationBlocked", "-MitigationApplied", "Set-CsMitigationConfiguration", "-PoolFqdn",
			"Test-CsMitigationServiceConnectivity", "Repair-CsMitigation", "1005", "1006", "1008", `V15\Logging\MitigationService`, "PING1", "-DataCollectionEnabled", "Get-CsMitigationTelemetryConfiguration", "Set-CsMitigationTelemetryConfiguration",
		} {
			Expect(page).To(ContainSubstring(name))
		}
	})

	It("shows what the commands print", func(ctx SpecContext) {
		page, _ := parityPage()
		folder := prepareParity(ctx)
		before, err := os.Getwd()
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Chdir(folder.dir)).To(Succeed())
		defer func() { Expect(os.Chdir(before)).To(Succeed()) }()
		written := consoleBlock.ReplaceAllStringFunc(page, func(block string) string {
			var out strings.Builder
			out.WriteString("```console\n")
			for _, command := range examples(block) {
				out.WriteString("$ " + command + "\n" + folder.runs(ctx, command))
			}
			return out.String() + "```"
		})
		if *update {
			Expect(os.Chdir(before)).To(Succeed())
			Expect(os.WriteFile(filepath.Join(repository, parity), []byte(written), 0o600)).To(Succeed())
			return
		}
		Expect(cmp.Diff(page, written)).To(BeEmpty(), "%s: run the test with -update: -page +output", parity)
	})
})

// expectTest expects a test that a row names, as "package.TestName".
func expectTest(shown string) {
	GinkgoHelper()
	for _, span := range codeSpan.FindAllStringSubmatch(shown, -1) {
		folder, name, found := strings.Cut(span[1], ".")
		Expect(found).To(BeTrue(), shown)
		files, err := filepath.Glob(filepath.Join(repository, folder, "*_test.go"))
		Expect(err).NotTo(HaveOccurred())
		Expect(slices.ContainsFunc(files, func(file string) bool {
			content, err := os.ReadFile(file)
			return err == nil && bytes.Contains(content, []byte("func "+name+"("))
		})).To(BeTrue(), "there is no test %s", span[1])
	}
	Expect(codeSpan.MatchString(shown)).To(BeTrue(), shown)
}

// parityFolder is where a person tries the page out.
type parityFolder struct {
	dir, kubeconfig, url string
}

// clearFleet removes what other specs left behind, and would stand in the lists of a whole cluster, too.
func clearFleet(ctx context.Context) {
	GinkgoHelper()
	for _, list := range []client.ObjectList{
		&emsv1.PoolMitigationConfigList{}, &emsv1.MitigationPlanList{}, &emsv1.PoolServerList{}, &emsv1.MitigationList{}, &emsv1.MitigationFeedList{}, &emsv1.MitigationConfigurationList{},
	} {
		Expect(env.Client.List(ctx, list)).To(Succeed())
		Expect(meta.EachListItem(list, func(object runtime.Object) error { return env.Client.Delete(ctx, object.(client.Object)) })).To(Succeed()) //nolint:forcetypeassert // it is one
	}
}

// prepareParity makes the fleet of the page, and the files and the endpoint that it names.
func prepareParity(ctx context.Context) *parityFolder {
	GinkgoHelper()
	namespaces := []string{"frontends", "branches"}
	for _, name := range namespaces {
		Expect(client.IgnoreAlreadyExists(env.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))).To(Succeed())
	}
	clearFleet(ctx)
	f := &parityFolder{dir: GinkgoT().TempDir(), kubeconfig: terminalIn("frontends", "alice", "system:masters").kubeconfig}
	publisher, err := harness.NewPublisher()
	Expect(err).NotTo(HaveOccurred())
	fleet := inventorytest.New()
	fleet.Feeds[0].Spec.Trust = publisher.Trust()
	for i := range fleet.Feeds {
		create(ctx, &fleet.Feeds[i])
	}
	for i := range fleet.Mitigations {
		create(ctx, &fleet.Mitigations[i])
	}
	for i := range fleet.Pools {
		create(ctx, &fleet.Pools[i])
	}
	for i := range fleet.Plans {
		create(ctx, &fleet.Plans[i])
	}
	for i := range fleet.Servers {
		create(ctx, &fleet.Servers[i])
	}

	// The examples write it.
	global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Client.Delete(ctx, global))).To(Succeed()) })

	trust, err := yaml.Marshal(map[string]any{"apiVersion": "ems.mitigation.dev/trust/v1", "feeds": map[string]any{"contoso": publisher.Trust()}})
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(f.dir, "trust.yaml"), trust, 0o600)).To(Succeed())
	document, err := publisher.Publish(ocs.Config{ID: "PING1", Revision: 1, Description: "Heartbeat probe. Changes nothing.", Actions: []ocs.Action{{ID: "PING1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: "DoNothing"}}})
	Expect(err).NotTo(HaveOccurred())
	f.serve(document)
	return f
}

// serve serves a document over HTTPS.
func (f *parityFolder) serve(document []byte) {
	GinkgoHelper()
	certificate, key, root, err := harness.ServerCertificate()
	Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(certificate, key)
	Expect(err).NotTo(HaveOccurred())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mitigations.xml" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		_, _ = w.Write(document)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	DeferCleanup(server.Close)
	f.url = server.URL
	Expect(os.WriteFile(filepath.Join(f.dir, "tls.pem"), root, 0o600)).To(Succeed())
}

// create makes an object with its status, until the test ends.
func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	whole, ok := object.DeepCopyObject().(client.Object)
	Expect(ok).To(BeTrue())
	Expect(env.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Client.Delete(ctx, object))).To(Succeed()) })
	whole.SetResourceVersion(object.GetResourceVersion())
	if _, plan := object.(*emsv1.MitigationPlan); !plan {
		Expect(env.Client.Status().Update(ctx, whole)).To(Succeed())
	}
}

// runs types a command of the page and returns what it prints, as the page shows it.
func (f *parityFolder) runs(ctx context.Context, command string) string {
	GinkgoHelper()
	if !strings.HasPrefix(command, "kubectl mitigation ") {
		shell := exec.CommandContext(ctx, "sh", "-c", command)
		shell.Env = append(os.Environ(), "KUBECONFIG="+f.kubeconfig, "PATH="+testenv.AssetsDirectory()+string(os.PathListSeparator)+os.Getenv("PATH"))
		output, err := shell.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s: %s", command, output)
		return string(output)
	}
	words := splitWords(strings.ReplaceAll(strings.TrimPrefix(command, "kubectl mitigation "), endpoint, f.url))
	if words[0] != "test-connectivity" {
		words = append(words, "--kubeconfig", f.kubeconfig)
	}
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs, now: func() time.Time { return inventorytest.Morning }}
	if words[0] == "test-connectivity" {
		// The document was signed just now.
		p.now = time.Now
	}
	code := p.run(ctx, words)
	Expect(code).To(BeZero(), "%s: %s%s", command, &out, &errs)
	text := strings.ReplaceAll(errs.String()+out.String(), f.url, endpoint)
	if words[0] == "test-connectivity" {
		// Its keys, and so its digests and times, are new with every run.
		text = tookTime.ReplaceAllString(text, "in 12ms.")
		text = momentText.ReplaceAllString(hexText.ReplaceAllString(text, "0123…cdef"), "2026-05-15T08:00:00Z")
	}
	return text
}

// splitWords reads the words of a command line with single quotes.
func splitWords(line string) []string {
	var words []string
	for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(word, "'"))
	}
	return words
}
