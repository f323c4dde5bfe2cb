package local

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
)

// Command is one of the commands.
type Command string

// The commands.
const (
	CommandApply  Command = "apply"
	CommandRevert Command = "revert"
	CommandStatus Command = "status"
	CommandDiff   Command = "diff"
)

// Options of a command.
type Options struct {
	// Document is the signed document, TrustFile the trust policy that it has to satisfy. Apply and Diff need both; with
	// them Status also says what of the document is missing.
	Document, TrustFile string
	// Feed names the policy in the trust file. It may be empty if the file has only one.
	Feed string
	// IISRoot is the root of the drive that IIS is installed on.
	IISRoot string
	// StateDir is the folder for journal, documents and memory: that of the agent's service, if there is one.
	StateDir string
	// Facts are what the operator says of the server; FactsFile is a file that says it.
	Facts     facts.Facts
	FactsFile string
	// Only limits Apply, Revert and Diff to mitigations: these ids, and those that begin with one of them and a dot.
	Only []string
	// WebConfig puts rules of sites into their web.config instead of applicationHost.config.
	WebConfig bool
	// DryRun does everything but the change.
	DryRun bool

	// Pools and Services control application pools and services. Required.
	Pools    control.PoolController
	Services control.ServiceController
	// Registry reads facts from the setup of the server; nil for none.
	Registry func() (facts.Facts, error)
	// Clock is the real one if nil.
	Clock clock.Clock
	Log   logr.Logger
}

// Validate reports everything that is missing or wrong for a command.
func (o *Options) Validate(command Command) error {
	var problems []error
	required := map[string]string{"iis-root": o.IISRoot, "state-dir": o.StateDir}
	if command == CommandApply || command == CommandDiff || o.Document != "" {
		required["document"], required["trust"] = o.Document, o.TrustFile
	}
	for _, name := range []string{"document", "trust", "iis-root", "state-dir"} {
		if value, ok := required[name]; ok && value == "" {
			problems = append(problems, fmt.Errorf("--%s: required", name))
		}
	}
	for _, id := range o.Only {
		if !ocs.ValidID(id) {
			problems = append(problems, fmt.Errorf("--only: %q: not the id of a mitigation, such as M1", id))
		}
	}
	if command == CommandStatus && len(o.Only) > 0 {
		problems = append(problems, errors.New("--only: status shows everything"))
	}
	if _, err := facts.Parse(o.Facts); err != nil {
		problems = append(problems, fmt.Errorf("--product, --role, --build: %w", err))
	}
	return errors.Join(problems...)
}

// selects reports whether --only leaves a mitigation in.
func (o *Options) selects(id string) bool {
	return len(o.Only) == 0 || slices.ContainsFunc(o.Only, func(only string) bool { return policy.Covers(only, id) })
}
