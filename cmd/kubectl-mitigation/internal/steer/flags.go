package steer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
)

// Has says which of the shared flags a verb has, beside those that choose a cluster and say what is printed.
type Has struct {
	// Reason adds --reason and --owner, Expires --expires.
	Reason, Expires bool
	// Targets adds --pool and --organization, Configuration --configuration beside them.
	Targets, Configuration bool
	// Whole means the organisation where no pool is named.
	Whole bool
	// short adds -A to --organization.
	short bool
}

// WithShort has -A for --organization as well, for verbs that ask before they change every pool.
func (h Has) WithShort() Has {
	h.short = true
	return h
}

// Flags are the flags that the verbs have in common.
type Flags struct {
	Connection *fleet.Connection

	world         cli.World
	set           *pflag.FlagSet
	reason, owner string
	expires       string
	pools         cli.Names
	organization  bool
	configuration string
	dryRun        string
	output        string
	force         bool
	whole         bool
}

// BindFlags adds the flags.
func BindFlags(flags *pflag.FlagSet, w cli.World, has Has) *Flags {
	f := &Flags{Connection: fleet.Bind(flags), world: w, set: flags, whole: has.Whole}
	if has.Reason {
		flags.StringVar(&f.reason, "reason", "", "`text` that says why, for those who come across it later; required")
		flags.StringVar(&f.owner, "owner", "", "`name` of the person or team to ask; who you are to the cluster if absent")
	}
	if has.Expires {
		flags.StringVar(&f.expires, "expires", "", "when it stops counting: a `time` from now like 72h or 7d, or a moment like 2026-12-24T18:00:00Z; never if absent")
	}
	if has.Targets {
		flags.Var(&f.pools, "pool", "`names` of pools, NAME or NAMESPACE/NAME with commas between them; may be repeated")
		cli.OfKind(flags, "pool", cli.Pools)
		short := ""
		if has.short {
			short = "A"
		}
		flags.BoolVarP(&f.organization, "organization", short, false, "every pool, by the MitigationConfiguration named global")
	}
	if has.Configuration {
		flags.StringVar(&f.configuration, "configuration", "", "the pools that the MitigationConfiguration of this `name` chooses")
	}
	flags.StringVar(&f.dryRun, "dry-run", DryRunNone, "`mode`: none, client (send nothing, print with -o what would be applied) or server (let the server check, keep nothing)")
	flags.StringVarP(&f.output, "output", "o", "", "print the object in a `format`, yaml, json or name, not what was done")
	cli.OneOf(flags, "dry-run", DryRunNone, DryRunClient, DryRunServer)
	cli.OneOf(flags, "output", "yaml", "json", "name")
	flags.BoolVar(&f.force, "force-conflicts", false, "take over what another field manager says, such as a GitOps repository")
	return f
}

// Check finds out what is wrong with the flags before anything is asked of the cluster.
func (f *Flags) Check() error {
	if !slices.Contains([]string{DryRunNone, DryRunClient, DryRunServer}, f.dryRun) {
		return cli.Misused("--dry-run: %q: want none, client or server", f.dryRun)
	}
	if !slices.Contains([]string{"", "yaml", "json", "name"}, f.output) {
		return cli.Misused("--output: %q: want yaml, json or name", f.output)
	}
	chosen := 0
	for _, is := range []bool{len(f.pools) > 0, f.organization, f.configuration != ""} {
		if is {
			chosen++
		}
	}
	switch ways := f.ways(); {
	case ways != "" && chosen == 0 && !f.whole:
		return cli.Misused("%s: want one of them", ways)
	case chosen > 1:
		return cli.Misused("%s: want only one of them", ways)
	}
	if _, err := f.Expiry(); err != nil {
		return err
	}
	for _, text := range f.pools {
		if _, err := f.Connection.ParseKey(text, "", "--pool"); err != nil {
			return cli.UsageError{Err: err}
		}
	}
	return nil
}

func (f *Flags) ways() string {
	var ways []string
	for _, name := range []string{"pool", "organization", "configuration"} {
		if f.set.Lookup(name) != nil {
			ways = append(ways, "--"+name)
		}
	}
	return strings.Join(ways, ", ")
}

// Reason is the text of --reason; the API wants one.
func (f *Flags) Reason() (string, error) {
	if strings.TrimSpace(f.reason) == "" {
		return "", cli.Misused("--reason: missing: it is kept beside what you do, for those who come across it later")
	}
	return f.reason, nil
}

// Expiry is the time of --expires; zero if there is none.
func (f *Flags) Expiry() (time.Time, error) {
	if f.expires == "" {
		return time.Time{}, nil
	}
	moment, err := time.Parse(time.RFC3339, f.expires)
	if err != nil {
		length, err := parseDuration(f.expires)
		if err != nil {
			return time.Time{}, cli.Misused("--expires: %q: want a time from now like 72h or 7d, or a moment like 2026-12-24T18:00:00Z", f.expires)
		}
		moment = f.world.Now().Add(length)
	}
	if !moment.After(f.world.Now()) {
		return time.Time{}, cli.Misused("--expires: %q: has passed", f.expires)
	}
	return moment.UTC().Truncate(time.Second), nil
}

// parseDuration knows days beside what Go knows.
func parseDuration(text string) (time.Duration, error) {
	const day, maxDays = 24 * time.Hour, 100_000 // 100,000 days fit into a duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > maxDays {
			return 0, fmt.Errorf("%q: not a number of days", text)
		}
		return time.Duration(n) * day, nil
	}
	return time.ParseDuration(text)
}

// Options are those of a change.
func (f *Flags) Options() Options { return Options{DryRun: f.dryRun, ForceConflicts: f.force} }

// Session is a cluster that a verb works with.
type Session struct {
	*Client
	// Config is that of the client.
	Config *rest.Config
	// Namespace is meant where none is named.
	Namespace string

	flags *Flags
}

// Pools reports whether the flags name pools.
func (f *Flags) Pools() bool { return len(f.pools) > 0 }

// Open makes ready for the cluster of the flags.
func (f *Flags) Open() (*Session, error) {
	config, namespace, err := f.Connection.Config()
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	client, err := NewClient(config)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	return &Session{client, config, namespace, f}, nil
}

// Targets are the objects that the flags name.
func (s *Session) Targets() ([]Target, error) {
	f := s.flags
	switch {
	case f.organization, f.whole && len(f.pools) == 0:
		return []Target{Global}, nil
	case f.configuration != "":
		return []Target{{Name: f.configuration}}, nil
	}
	var targets []Target
	for _, text := range f.pools {
		key, err := f.Connection.ParseKey(text, s.Namespace, "--pool")
		if err != nil {
			return nil, cli.UsageError{Err: err}
		}
		if target := (Target{key.Namespace, key.Name}); !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// Owner is that of the flags, or who the user is to the cluster, or in the kubeconfig if the cluster does not say.
func (s *Session) Owner(ctx context.Context) string {
	if s.flags.owner != "" {
		return s.flags.owner
	}
	name, err := s.WhoAmI(ctx)
	if err != nil || name == "" {
		name = cutOwner(s.flags.Connection.User())
	}
	return name
}

// Each changes one target after the other and prints what became of each: "pool... M1 blocked". A target that fails does not keep the
// others from being changed; the errors come together.
func (s *Session) Each(ctx context.Context, targets []Target, done string, edit func(Target, *Document) error) error {
	var failed []error
	for _, target := range targets {
		outcome, err := s.Change(ctx, target, func(d *Document) error { return edit(target, d) }, s.flags.Options())
		if err == nil {
			err = s.flags.Print(target, outcome, done)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Print prints what became of a change in the form that the flags ask for.
func (f *Flags) Print(target Target, outcome Outcome, done string) error {
	switch f.output {
	case "name":
		_, err := fmt.Fprintln(f.world.Stdout, target)
		return err
	case "yaml", "json":
		return printObject(f.world.Stdout, outcome.Object, f.output)
	}
	if !outcome.Changed {
		done += " already"
	}
	switch f.dryRun {
	case DryRunClient:
		done += " (dry run)"
	case DryRunServer:
		done += " (server dry run)"
	}
	where := ""
	if target.Namespace != "" {
		where = " in namespace " + target.Namespace
	}
	_, err := fmt.Fprintf(f.world.Stdout, "%s%s: %s\n", target, where, done)
	return err
}

// printObject leaves out who owns which field, as kubectl does.
func printObject(w io.Writer, object map[string]any, form string) error {
	object, _ = clone(object).(map[string]any)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	content, err := json.MarshalIndent(object, "", "    ")
	if err != nil {
		return err
	}
	if form == "yaml" {
		if content, err = yaml.JSONToYAML(content); err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "---\n%s", content)
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", content)
	return err
}

// Note tells something beside the result.
func (f *Flags) Note(format string, arguments ...any) {
	fmt.Fprintf(f.world.Stderr, "note: "+format+"\n", arguments...)
}

// idForm is the pattern of the API for ids.
var idForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[0-9]+)*$`)

const maxID = 63

// ParseID reads the id of a mitigation, or of a part of one.
func ParseID(text string) (emsv1.MitigationID, error) {
	if len(text) > maxID || !idForm.MatchString(text) {
		return "", cli.Misused("%q: not an id of a mitigation: want a letter, letters and digits, and for parts numbers behind dots: M1, M1.2, PING1", text)
	}
	return emsv1.MitigationID(text), nil
}

// One is the only operand.
func One(operands []string, what string) (string, error) {
	if len(operands) != 1 {
		return "", cli.Misused("%s: want one, not %d", what, len(operands))
	}
	return operands[0], nil
}
