package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/test/docs/walk"
)

// notRun are commands of the pages that a control plane without nodes, registry and Windows cannot run.
var notRun = map[string]string{
	"kubectl -n ems-system roll":  "there are no nodes, on which the manager could start; make demo starts it beside them",
	"skopeo copy":                 "there is no registry; hack/release reads the image as an engine does, and starts it",
	`.\Install-EmsAgent.ps1`:      "Windows",
	"kubectl wait --for=conditio": "there are no servers; docs/quickstart.md waits for some",
}

// readEveryKind reads the objects of all kinds, as a manager does all the time. Here none runs. An API server whose storage of a kind is opened
// by the deletion of that kind finds it not ready, and may look again only minutes later.
func (c *cluster) readEveryKind(t *testing.T) {
	t.Helper()
	kinds := strings.Fields(must(t)(c.kubectl(t, "", "api-resources", "--api-group=ems.mitigation.dev", "--output=name")))
	if len(kinds) == 0 {
		t.Fatal("there are no kinds to delete")
	}
	for _, kind := range kinds {
		const tries = 20
		for try := 1; ; try++ {
			_, err := c.kubectl(t, "", "get", kind, "--all-namespaces")
			if err == nil {
				break
			}
			if try == tries {
				t.Fatal(err)
			}
		}
	}
}

// TestThePages runs the commands of docs/operations/install.md and docs/operations/upgrade.md, one after the other on one cluster.
func TestThePages(t *testing.T) {
	c := startCluster(t)
	if _, err := os.Stat(filepath.Join(root, "bin", "tools", "kustomize")); err != nil {
		t.Skip("needs kustomize, which make tools builds")
	}
	// Beside the reader lie a release and the sources.
	folder := t.TempDir()
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	release := exec.CommandContext(t.Context(), "go", "run", "./hack/release", "-only", "manifests", "-version", "v1.0.0",
		"-image", "registry.contoso.example/ems-manager", "-out", filepath.Join(folder, "dist"))
	release.Dir, release.Env = absolute, append(os.Environ(), "SOURCE_DATE_EPOCH=1778774400")
	if output, err := release.CombinedOutput(); err != nil {
		t.Fatalf("make the release: %v\n%s", err, output)
	}
	if err := os.Symlink(filepath.Join(absolute, "config"), filepath.Join(folder, "dist", "config")); err != nil {
		t.Fatal(err)
	}
	kubectl, err := filepath.Abs(assets())
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	shell, err := walk.Open(t.Context(), filepath.Join(folder, "dist"), append(os.Environ(),
		"PATH="+filepath.Dir(programPath(t))+string(os.PathListSeparator)+kubectl+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+c.kubeconfig, "HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Close() })

	// The upgrade comes before the last two commands of the installation, which remove everything.
	install, upgrade := commands(t, "docs/operations/install.md"), commands(t, "docs/operations/upgrade.md")
	last := len(install) - 2
	ran := 0
	for i, command := range append(append(append([]string{}, install[:last]...), upgrade...), install[last:]...) {
		if reasonNotToRun(command) != "" {
			continue
		}
		if i == last+len(upgrade) {
			c.readEveryKind(t)
		}
		output, exit, err := shell.Run(t.Context(), command, 4*time.Minute)
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
		if exit != 0 {
			t.Fatalf("%s: exit code %d\n%s", command, exit, output)
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("only %d commands were run", ran)
	}
	if left := must(t)(c.kubectl(t, "", "get", "crd", "-o", "name")); strings.Contains(left, "mitigation.dev") {
		t.Errorf("the last command deletes the kinds; there are still\n%s", left)
	}
}

func commands(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	page, err := walk.Parse(path, string(content))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range page.Blocks {
		for _, command := range block.Commands {
			all = append(all, command.Text)
		}
	}
	return all
}

func reasonNotToRun(command string) string {
	for start, reason := range notRun {
		if strings.HasPrefix(command, start) {
			return reason
		}
	}
	return ""
}
