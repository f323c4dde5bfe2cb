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

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/metricsfile"
)

// Options of an agent.
type Options struct {
	// Kubeconfig is the file that says how to reach the API server, and as whom. Empty: as the server was enrolled.
	Kubeconfig string
	// Namespace, Pool and Server say who the server is in the cluster; the enrolment says it, too.
	Namespace, Pool, Server string
	// IISRoot is the root of the drive that IIS is installed on.
	IISRoot string
	// StateDir is the agent's own folder. Who can write to it decides what is on the server.
	StateDir string
	// TrustFile is the trust policy of the server.
	TrustFile string
	// AppCmd is the path of appcmd.exe. Empty: its usual place below IISRoot on Windows, drivers.NoAppCmd elsewhere.
	AppCmd string
	// Facts are what the operator says of the server; FactsFile is a file that says it.
	Facts     facts.Facts
	FactsFile string
	// Proxy is how the API server is reached, as cluster.ParseProxy takes it.
	Proxy string
	// MetricsFile is where metrics are written for a textfile collector. Empty: nowhere.
	MetricsFile string
	// Log receives what the agent does. Default: nothing.
	Log logr.Logger
	// Ready is called once the agent works. Default: nothing.
	Ready func()
	// Shared says that other agents run in the same process, as thousands do in a simulation. The agent then leaves the loggers of the
	// process alone, does not keep others from its state folder, which would take an open file for each, and notices changes of
	// configuration files by the interval: a user may watch no more than a hundred-odd folders.
	Shared bool
	// Turns are those of the agents that share processors. Nil: no pass waits.
	Turns *Turns
	// Events receives what administrators of the server have to know; it is called on changes alone. Default: nothing.
	Events func(id eventlog.ID, message string)
}

// Paths are where an agent finds what it needs.
type Paths struct{ IISRoot, StateDir, TrustFile string }

// DefaultPaths gives the usual paths on this system. Only Windows has some.
func DefaultPaths() Paths { return defaultPaths(runtime.GOOS, os.Getenv) }

func defaultPaths(goos string, getenv func(string) string) Paths {
	if goos != "windows" {
		return Paths{}
	}
	paths := Paths{IISRoot: `C:\`}
	if data := getenv("ProgramData"); data != "" {
		own := strings.TrimRight(data, `\`) + `\EMS\`
		paths.StateDir, paths.TrustFile = own+"state", own+"trust.yaml"
	}
	return paths
}

// BindFlags declares the flags of all options, with the defaults of this system.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	o.bindFlags(flags, runtime.GOOS, os.Getenv)
}

// BindConnectionFlags declares the flags that say how the API server is reached, and as whom.
func (o *Options) BindConnectionFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "file that says how to reach the API server, for tests (default: as the server was enrolled)")
	flags.StringVar(&o.Namespace, "namespace", "", "namespace of the pool (default: that of the enrolment)")
	flags.StringVar(&o.Pool, "pool", "", "name of the pool's PoolMitigationConfig (default: that of the enrolment)")
	flags.StringVar(&o.Server, "server", "", "name of the server's PoolServer (default: that of the enrolment; with -kubeconfig the host name, short and in lower case)")
	flags.StringVar(&o.Proxy, "proxy", "", "HTTP proxy on the way to the API server, http://HOST:PORT, or "+cluster.NoProxy+" (default: what HTTPS_PROXY and NO_PROXY of the environment say)")
}

func (o *Options) bindFlags(flags *flag.FlagSet, goos string, getenv func(string) string) {
	paths := defaultPaths(goos, getenv)
	o.BindConnectionFlags(flags)
	flags.StringVar(&o.IISRoot, "iis-root", paths.IISRoot, "root of the drive that IIS is installed on")
	flags.StringVar(&o.StateDir, "state-dir", paths.StateDir, "folder for the agent's journal, plan and documents; only administrators may write there")
	flags.StringVar(&o.TrustFile, "trust-file", paths.TrustFile, "trust policy: which signers this server believes")
	flags.StringVar(&o.AppCmd, "appcmd", "", "path of appcmd.exe (default on Windows: its usual place below -iis-root), or "+drivers.NoAppCmd+" (default elsewhere): application pools and services are kept in files below -iis-root")
	flags.StringVar(&o.Facts.Product, "product", "", "product on the server: "+strings.Join(facts.Products, ", "))
	flags.StringVar(&o.Facts.Role, "role", "", "role of the server within the product")
	flags.StringVar(&o.Facts.Build, "build", "", "build of the product, four numbers: 15.2.2562.43")
	flags.StringVar(&o.FactsFile, "facts-file", "", "YAML file with product, role and build")
	flags.StringVar(&o.MetricsFile, "metrics-file", "", "file for metrics, ending with "+metricsfile.Ending+", in the folder that the textfile collector of windows_exporter or node_exporter reads (default: none are written)")
}

// Validate completes the options and reports every one that is missing or wrong.
func (o *Options) Validate() error {
	var problems []error
	if o.Kubeconfig == "" && o.StateDir != "" {
		problems = append(problems, o.takeIdentity())
	} else if o.Server == "" {
		name, err := facts.HostName()
		if err != nil {
			problems = append(problems, fmt.Errorf("-server: not given: %w", err))
		}
		o.Server = name
	}
	for _, required := range []struct{ name, value string }{
		{"namespace", o.Namespace},
		{"pool", o.Pool},
		{"iis-root", o.IISRoot},
		{"state-dir", o.StateDir},
		{"trust-file", o.TrustFile},
	} {
		if required.value == "" && (o.Kubeconfig != "" || !isIdentity(required.name)) {
			problems = append(problems, fmt.Errorf("-%s: required", required.name))
		}
	}
	if _, err := cluster.ParseProxy(o.Proxy); err != nil {
		problems = append(problems, fmt.Errorf("-proxy: %w", err))
	}
	if o.MetricsFile != "" && !strings.HasSuffix(o.MetricsFile, metricsfile.Ending) {
		problems = append(problems, fmt.Errorf("-metrics-file: %q: collectors read files that end with %s", o.MetricsFile, metricsfile.Ending))
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

// isIdentity reports whether the enrolment of the server says what a flag says.
func isIdentity(name string) bool { return name == "namespace" || name == "pool" }

// configDir is the folder with the configuration files of IIS.
func (o *Options) configDir() string {
	return filepath.Join(o.IISRoot, "Windows", "System32", "inetsrv", "config")
}
