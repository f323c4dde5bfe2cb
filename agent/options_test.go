package agent

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, goos string, arguments ...string) Options {
	t.Helper()
	flags := flag.NewFlagSet("ems-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var o Options
	o.bindFlags(flags, goos, func(name string) string { return map[string]string{"ProgramData": `C:\ProgramData`}[name] })
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptionsHaveDefaultsOnWindows(t *testing.T) {
	o := parse(t, "windows")
	for name, got := range map[string][2]string{
		"iis-root":   {o.IISRoot, `C:\`},
		"state-dir":  {o.StateDir, `C:\ProgramData\EMS\state`},
		"trust-file": {o.TrustFile, `C:\ProgramData\EMS\trust.yaml`},
		"kubeconfig": {o.Kubeconfig, ""},
	} {
		if got[0] != got[1] {
			t.Errorf("-%s = %q, want %q", name, got[0], got[1])
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	complete := []string{"-kubeconfig", kubeconfig, "-namespace", "pool", "-pool", "frontends", "-iis-root", "/iis", "-state-dir", "/state", "-trust-file", "/trust.yaml"}
	for name, tc := range map[string]struct {
		arguments []string
		want      []string
	}{
		"complete options are valid":                   {arguments: complete},
		"every missing option is named":                {want: []string{"-iis-root: required", "-state-dir: required", "-trust-file: required"}},
		"without enrolment, the server has to be said": {arguments: []string{"-kubeconfig", kubeconfig}, want: []string{"-namespace: required", "-pool: required"}},
		"a server that is not enrolled":                {arguments: append(slices.Clone(complete), "-kubeconfig", "", "-state-dir", t.TempDir()), want: []string{"kubectl mitigation enroll"}},
		"a wrong product is named":                     {arguments: append(complete, "-product", "Exchange"), want: []string{`"Exchange"`}},
		"a wrong build is named":                       {arguments: append(complete, "-build", "15.2"), want: []string{`"15.2"`}},
		"a missing kubeconfig is named":                {arguments: append(complete, "-kubeconfig", kubeconfig+".none"), want: []string{"kubeconfig.none"}},
		"metrics are where collectors look":            {arguments: append(complete, "-metrics-file", "ems.txt"), want: []string{"-metrics-file", ".prom"}},
		"a missing facts file is named":                {arguments: append(complete, "-facts-file", kubeconfig+".facts"), want: []string{"kubeconfig.facts"}},
		"a server need not be said":                    {arguments: complete},
		"a server that is said is taken":               {arguments: append(complete, "-server", "fe01")},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, "linux", tc.arguments...)
			said := o.Server
			err := o.Validate()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("Validate() = %v, want problems: %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Validate() = %q, want it to contain %q", err, want)
				}
			}
			if err == nil && (o.Server == "" || said != "" && o.Server != said) {
				t.Errorf("server = %q, want %q or the host name", o.Server, said)
			}
		})
	}
}
