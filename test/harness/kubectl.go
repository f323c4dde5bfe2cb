package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Kubectl runs the real kubectl, as an operator does.
type Kubectl struct {
	// Path is that of the program, Kubeconfig the file that it uses.
	Path, Kubeconfig string

	cacheDir string
}

// Run runs kubectl with arguments and returns what it prints. The error has what it prints as an error.
func (k *Kubectl) Run(ctx context.Context, arguments ...string) (string, error) {
	return k.run(ctx, nil, arguments...)
}

// Plugin runs the plugin as kubectl does, and returns what it prints, on both streams, and how it ended.
func (k *Kubectl) Plugin(ctx context.Context, plugin string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, plugin, arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig)
	output, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl mitigation %s: %w", strings.Join(arguments, " "), err)
	}
	return string(output), err
}

// PluginOutput is Plugin for programs: the standard output alone. What the plugin says else is part of the error.
func (k *Kubectl) PluginOutput(ctx context.Context, plugin string, arguments ...string) ([]byte, error) {
	return run(ctx, "", plugin, append(arguments, "--kubeconfig="+k.Kubeconfig)...)
}

// ApplyText applies manifests.
func (k *Kubectl) ApplyText(ctx context.Context, manifests []byte) (string, error) {
	return k.run(ctx, manifests, "apply", "-f", "-")
}

func (k *Kubectl) run(ctx context.Context, input []byte, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.Path, append([]string{"--cache-dir=" + k.cacheDir}, arguments...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
