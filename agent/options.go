package agent

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/go-logr/logr"

	"mitigation.dev/ems/agent/facts"
)

// Options of an agent.
type Options struct {
	// Kubeconfig is the file that says how to reach the API server, and as whom.
	Kubeconfig string
	// Namespace, Pool and Server say who the server is in the cluster.
	Namespace, Pool, Server string
	// IISRoot is the root of the drive that IIS is installed on.
	IISRoot string
	// StateDir is the agent's own folder. Who can write to it decides what is on the server.
	StateDir string
	// TrustFile is the trust policy of the server.
	TrustFile string
	// AppCmd is the path of appcmd.exe. Empty: its usual place below IISRoot on Windows, NoAppCmd elsewhere.
	AppCmd string
	// Facts are what the operator says of the server; FactsFile is a file that says it.
	Facts     facts.Facts
	FactsFile string
	// Log receives what the agent does. Default: nothing.
	Log logr.Logger
}

// NoAppCmd instead of a path keeps application pools in a file below IISRoot, for machines without IIS.
const NoAppCmd = "none"

// BindFlags declares the flags of all options, with the defaults of this system.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	o.bindFlags(flags, runtime.GOOS, os.Getenv)
}

func (o *Options) bindFlags(flags *flag.FlagSet, goos string, getenv func(string) string) {
	var root, stateDir, trustFile, kubeconfig string
	if goos == "windows" {
		root = `C:\`
		if data := getenv("ProgramData"); data != "" {
			own := strings.TrimRight(data, `\`) + `\EMS\`
			stateDir, trustFile, kubeconfig = own+"state", own+"trust.yaml", own+"kubeconfig"
		}
	}
	flags.StringVar(&o.Kubeconfig, "kubeconfig", kubeconfig, "file that says how to reach the API server")
	flags.StringVar(&o.Namespace, "namespace", "", "namespace of the pool")
	flags.StringVar(&o.Pool, "pool", "", "name of the pool's PoolMitigationConfig")
	flags.StringVar(&o.Server, "server", "", "name of the server's PoolServer (default: the host name, short and in lower case)")
	flags.StringVar(&o.IISRoot, "iis-root", root, "root of the drive that IIS is installed on")
	flags.StringVar(&o.StateDir, "state-dir", stateDir, "folder for the agent's journal, plan and documents; only administrators may write there")
	flags.StringVar(&o.TrustFile, "trust-file", trustFile, "trust policy: which signers this server believes")
	flags.StringVar(&o.AppCmd, "appcmd", "", "path of appcmd.exe (default on Windows: its usual place below -iis-root), or "+NoAppCmd+" (default elsewhere): application pools are kept in a file below -iis-root")
	flags.StringVar(&o.Facts.Product, "product", "", "product on the server: "+strings.Join(facts.Products, ", "))
	flags.StringVar(&o.Facts.Role, "role", "", "role of the server within the product")
	flags.StringVar(&o.Facts.Build, "build", "", "build of the product, four numbers: 15.2.2562.43")
	flags.StringVar(&o.FactsFile, "facts-file", "", "YAML file with product, role and build")
}

// Validate completes the options and reports every one that is missing or wrong.
func (o *Options) Validate() error {
	var problems []error
	if o.Server == "" {
		name, err := facts.HostName()
		if err != nil {
			problems = append(problems, fmt.Errorf("-server: not given: %w", err))
		}
		o.Server = name
	}
	for _, required := range []struct{ name, value string }{
		{"kubeconfig", o.Kubeconfig},
		{"namespace", o.Namespace},
		{"pool", o.Pool},
		{"iis-root", o.IISRoot},
		{"state-dir", o.StateDir},
		{"trust-file", o.TrustFile},
	} {
		if required.value == "" {
			problems = append(problems, fmt.Errorf("-%s: required", required.name))
		}
	}
	if _, err := facts.Parse(o.Facts); err != nil {
		problems = append(problems, fmt.Errorf("-product, -role, -build: %w", err))
	}
	for _, file := range []struct{ name, value string }{{"kubeconfig", o.Kubeconfig}, {"facts-file", o.FactsFile}} {
		if file.value == "" {
			continue
		}
		if _, err := os.Stat(file.value); err != nil {
			problems = append(problems, fmt.Errorf("-%s: %w", file.name, err))
		}
	}
	return errors.Join(problems...)
}

// configDir is the folder with the configuration files of IIS.
func (o *Options) configDir() string {
	return filepath.Join(o.IISRoot, "Windows", "System32", "inetsrv", "config")
}

// appCmd is the path of appcmd.exe, empty for none.
func (o *Options) appCmd(goos string) string {
	switch {
	case o.AppCmd == NoAppCmd || o.AppCmd == "" && goos != "windows":
		return ""
	case o.AppCmd == "":
		return filepath.Join(o.IISRoot, "Windows", "System32", "inetsrv", "appcmd.exe")
	}
	return o.AppCmd
}
