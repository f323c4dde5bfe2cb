package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Programs are the paths of the programs that the harness runs.
type Programs struct {
	// Manager, Agent and Plugin (kubectl-mitigation) are ours.
	Manager, Agent, Plugin string
	// Etcd, APIServer and Kubectl are those of Kubernetes.
	Etcd, APIServer, Kubectl string
}

// FindRoot returns the folder of the repository that the working directory is in.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "controlplane", "ensure.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("repository: the working directory is not inside of it")
		}
		dir = parent
	}
}

// FindControlPlane finds the programs of Kubernetes: in the folder that KUBEBUILDER_ASSETS names, or in bin/k8s.
func (p *Programs) FindControlPlane(root string) error {
	built := filepath.Join(root, "bin", "k8s")
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = built
	}
	p.Etcd, p.APIServer = filepath.Join(assets, "etcd"), filepath.Join(assets, "kube-apiserver")
	for _, path := range []string{p.Etcd, p.APIServer} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("control plane: %w; run `make controlplane`", err)
		}
	}
	for _, path := range []string{filepath.Join(assets, "kubectl"), filepath.Join(built, "kubectl")} {
		if _, err := os.Stat(path); err == nil {
			p.Kubectl = path
			return nil
		}
	}
	var err error
	if p.Kubectl, err = exec.LookPath("kubectl"); err != nil {
		return fmt.Errorf("control plane: no kubectl in %s, %s or the PATH; run `make controlplane`", assets, built)
	}
	return nil
}

// SetBuilt says that our programs are in a folder, and tells whether they are.
func (p *Programs) SetBuilt(dir string) bool {
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	p.Manager, p.Agent = filepath.Join(dir, "manager"+suffix), filepath.Join(dir, "ems-agent"+suffix)
	p.Plugin = filepath.Join(dir, "kubectl-mitigation"+suffix)
	for _, path := range []string{p.Manager, p.Agent, p.Plugin} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// Build builds our programs into a folder, with the settings of "go test", so that what tests have compiled is used
// again.
func (p *Programs) Build(ctx context.Context, root, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "./cmd/manager", "./cmd/ems-agent", "./cmd/kubectl-mitigation")
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, output)
	}
	if !p.SetBuilt(dir) {
		return fmt.Errorf("build the programs: they are not in %s", dir)
	}
	return nil
}
