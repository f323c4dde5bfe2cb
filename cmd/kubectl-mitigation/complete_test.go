//go:build !windows

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// offered is what the program offers a shell that asks it as the scripts do.
func offered(ctx context.Context, arguments ...string) []string {
	var out bytes.Buffer
	p := &program{stdout: &out, stderr: &bytes.Buffer{}, now: time.Now}
	p.run(ctx, append([]string{"__completeNoDesc"}, arguments...))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[:len(lines)-1]
}

func TestCompletionOfWords(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for name, tc := range map[string]struct{ arguments, want []string }{
		"a command":                       {[]string{"blo"}, []string{"block"}},
		"a command of two words":          {[]string{"rollout", "pro"}, []string{"promote"}},
		"a command of three words":        {[]string{"feed", "bundle", ""}, []string{"create", "verify"}},
		"a flag":                          {[]string{"block", "--orga"}, []string{"--organization"}},
		"a flag of kubectl":               {[]string{"block", "--cont"}, []string{"--context"}},
		"a form of output":                {[]string{"get", "-o", "x"}, []string{"xml"}},
		"a form of output, in one word":   {[]string{"get", "--output=j"}, []string{"json"}},
		"a word of the status":            {[]string{"get", "--status", "fa"}, []string{"Failed"}},
		"what can be listed":              {[]string{"get", "p"}, []string{"pools"}},
		"a shell":                         {[]string{"completion", "z"}, []string{"zsh"}},
		"nothing behind the last operand": {[]string{"completion", "zsh", ""}, []string{}},
		"nothing without a cluster":       {[]string{"block", ""}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := offered(t.Context(), tc.arguments...); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestScriptsOfShells(t *testing.T) {
	for _, name := range shells {
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &bytes.Buffer{}, now: time.Now}
		if code := p.run(t.Context(), []string{"completion", name}); code != 0 || !strings.Contains(out.String(), "kubectl-mitigation") {
			t.Errorf("%s: exit code %d:\n%s", name, code, &out)
		}
	}
	var errs bytes.Buffer
	p := &program{stdout: &bytes.Buffer{}, stderr: &errs, now: time.Now}
	if code := p.run(t.Context(), []string{"completion", "tcsh"}); code != exitUsage || !strings.Contains(errs.String(), "want one of bash, zsh, fish, powershell") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

// TestBash lets bash complete: by the script, and as kubectl does, by a program of another name.
func TestBash(t *testing.T) {
	s := newShell(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The name counts, and the test binary is the program only with a variable; so the link stands beside a script that sets it.
	folder := t.TempDir()
	for _, name := range []string{"kubectl-mitigation", completer} {
		if err := os.Symlink(self, filepath.Join(folder, name+".linked")); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/bash\n" + actAsProgram + "=1 exec -a " + name + " '" + filepath.Join(folder, name+".linked") + "' \"$@\"\n"
		if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
			t.Fatal(err)
		}
	}
	s.environment = append(s.environment, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+filepath.Join(folder, "none"))
	output, code := s.run(completer + " rollout pro 2>/dev/null")
	if code != 0 || !strings.HasPrefix(output, "promote\t") || !strings.HasSuffix(output, "\n:4\n") {
		t.Errorf("kubectl gets, with exit code %d:\n%s", code, output)
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	// What bash-completion brings is not needed for one word.
	output, code = s.run(`_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur="${COMP_WORDS[COMP_CWORD]}"; prev="${COMP_WORDS[COMP_CWORD-1]}"; }
__ltrim_colon_completions() { :; }
compopt() { :; }
source <(kubectl-mitigation completion bash)
COMP_WORDS=(kubectl-mitigation rollout pro) COMP_CWORD=2 COMP_LINE='kubectl-mitigation rollout pro' COMP_POINT=30 COMP_TYPE=9
__start_kubectl-mitigation
printf '%s\n' "${COMPREPLY[@]}"`)
	if code != 0 || strings.TrimSpace(output) != "promote" {
		t.Errorf("bash offers, with exit code %d:\n%s", code, output)
	}
}

var _ = Describe("Completion", func() {
	It("offers what is in the cluster", func(ctx SpecContext) {
		person := newTerminal(ctx, "carol")
		publishMitigations(ctx, "M77", "M78")
		for _, name := range []string{"mail", "map"} {
			pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: person.namespace}, Spec: emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeAudit}}
			Expect(env.Client.Create(ctx, pool)).To(Succeed())
		}
		server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: "web01", Namespace: person.namespace}, Spec: emsv1.PoolServerSpec{PoolName: "mail"}}
		Expect(env.Client.Create(ctx, server)).To(Succeed())
		offer := func(words ...string) []string {
			return offered(ctx, slices.Insert(words, 1, "--kubeconfig", person.kubeconfig)...)
		}

		Expect(offer("block", "m7")).To(Equal([]string{"M77", "M78"}))
		Expect(offer("block", "M77", "")).To(BeEmpty())
		Expect(offer("block", "M77", "--pool", "mai")).To(Equal([]string{"mail"}))
		Expect(offer("block", "M77", "--pool", person.namespace+"/ma")).To(Equal([]string{person.namespace + "/mail", person.namespace + "/map"}))
		Expect(offer("repair", "mail", "")).To(ConsistOf("map", "web01"))
		Expect(offer("get", "-A", "--server", person.namespace)).To(Equal([]string{person.namespace + "/web01"}))
		Expect(offer("get", "servers", "")).To(Equal([]string{"web01"}))
		Expect(offer("get", "pools", "mail", "")).To(Equal([]string{"map"}))
	})
})
