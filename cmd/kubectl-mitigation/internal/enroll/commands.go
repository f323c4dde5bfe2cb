package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/internal/pause"
)

const (
	requestTimeout = 30 * time.Second
	// Requests are bounded by how many servers are worked on at once; the limit of client-go would make a thousand servers take half an hour.
	requestsPerSecond = 500
)

// Commands is the verb.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "enroll", Arguments: "[POOL/SERVER...]", Optional: true,
		Summary: "make servers members of their pools, and print for each the command that gets it its credential; or revoke that",
		Bind: func(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
			return bind(w, flags, pause.For)
		},
	}}
}

// request is what the flags say.
type request struct {
	world      cli.World
	connection *fleet.Connection
	pause      func(context.Context, time.Duration) error

	file, hostName, url, authority, output, dryRun, credential string
	expires, lifetime                                          time.Duration
	revoke, remove, again                                      bool
}

func bind(w cli.World, flags *pflag.FlagSet, pause func(context.Context, time.Duration) error) func(context.Context, []string) error {
	r := &request{world: w, connection: fleet.Bind(flags, fleet.OwnServer), pause: pause}
	flags.StringVarP(&r.file, "file", "f", "", "list of servers, a `file` that ends in .csv, .yaml or .json, with pool, server and hostName of each")
	flags.StringVar(&r.hostName, "host-name", "", "full `name` of the server in the network, for one server")
	flags.DurationVar(&r.expires, "expires", identity.DefaultBootstrap, "how long the printed command can be used, a `time` from 10m to 24h")
	flags.DurationVar(&r.lifetime, "max-lifetime", 0, "how long the credential lasts without renewal, for servers that are often off: a `time` up to 720h; 24h if 0")
	flags.StringVar(&r.credential, "credential", byToken, "`kind` of the credential that the servers get: token, or certificate where the cluster has config/certificates")
	flags.StringVar(&r.url, "server", "", "`URL` under which the servers reach the API server; that of the kubeconfig if absent")
	flags.StringVar(&r.authority, "ca-file", "", "PEM `file` with the certificates that the API server is trusted by; those of the kubeconfig if absent")
	flags.BoolVar(&r.again, "again", false, "also servers that are enrolled already: their present credential is revoked")
	flags.BoolVar(&r.revoke, "revoke", false, "end the credentials of the servers; what is in place there stays")
	flags.BoolVar(&r.remove, "remove", false, "with --revoke: remove the PoolServers and their ServiceAccounts, too")
	flags.StringVar(&r.dryRun, "dry-run", "none", "`mode`: none or client (change nothing, say or with -o print what would be made, without credentials)")
	flags.StringVarP(&r.output, "output", "o", "", "print in a `format`, json, yaml or name, not as commands")
	return r.run
}

func (r *request) run(ctx context.Context, operands []string) error {
	if err := r.check(operands); err != nil {
		return err
	}
	servers, err := r.servers(operands)
	if err != nil {
		return cli.UsageError{Err: err}
	}
	w, err := r.work()
	if err != nil {
		return cli.UsageError{Err: err}
	}
	switch {
	case r.dryRun != "none":
		return r.printPlan(ctx, w, servers)
	case r.revoke:
		done, err := w.revoke(ctx, servers, r.remove)
		for _, line := range done {
			fmt.Fprintln(r.world.Stdout, line)
		}
		return err
	}
	list, err := w.enroll(ctx, servers)
	return errors.Join(printEnrollments(r.world.Stdout, list, r.output), err)
}

// check finds out what is wrong with the flags before anything is asked of the cluster.
func (r *request) check(operands []string) error {
	if err := r.checkLives(); err != nil {
		return err
	}
	if err := checkCredential(r.credential, r.lifetime); err != nil {
		return err
	}
	switch {
	case len(operands) == 0 && r.file == "":
		return cli.Misused("POOL/SERVER, --file: want one of them")
	case r.hostName != "" && (len(operands) != 1 || r.file != ""):
		return cli.Misused("--host-name: is for one server; in a list each has its own")
	case !slices.Contains([]string{"", "json", "yaml", "name"}, r.output):
		return cli.Misused("--output: %q: want json, yaml or name", r.output)
	case r.dryRun != "none" && r.dryRun != "client":
		return cli.Misused("--dry-run: %q: want none or client; a server cannot check a token of what is not there yet", r.dryRun)
	case r.remove && !r.revoke:
		return cli.Misused("--remove: needs --revoke")
	case r.revoke && (r.again || r.lifetime != 0 || r.hostName != "" || r.output != ""):
		return cli.Misused("--revoke: goes with --remove, --file and --dry-run only")
	}
	return nil
}

func (r *request) checkLives() error {
	switch {
	case r.expires < identity.MinToken || r.expires > identity.MaxBootstrap:
		return cli.Misused("--expires: %v: want %v to %v", r.expires, identity.MinToken, identity.MaxBootstrap)
	case r.lifetime != 0 && (r.lifetime < identity.MinToken || r.lifetime > identity.MaxCeiling):
		return cli.Misused("--max-lifetime: %v: want %v to %v", r.lifetime, identity.MinToken, identity.MaxCeiling)
	}
	return nil
}

// servers are those of the operands and of the file.
func (r *request) servers(operands []string) ([]entry, error) {
	var servers []entry
	for _, text := range operands {
		e, err := parseOperand(text)
		if err != nil {
			return nil, err
		}
		e.HostName = r.hostName
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("--host-name: %w", err)
		}
		servers = append(servers, e)
	}
	if r.file != "" {
		listed, err := readList(r.file)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		if len(listed) == 0 {
			return nil, fmt.Errorf("--file: %s: has no servers", r.file)
		}
		servers = append(servers, listed...)
	}
	return servers, unique(servers)
}

// work opens the cluster.
func (r *request) work() (*work, error) {
	config, namespace, err := r.connection.Config()
	if err != nil {
		return nil, err
	}
	w := &work{expires: r.expires, lifetime: r.lifetime, again: r.again, certificates: r.credential == byCertificate, pause: r.pause, note: r.note}
	if !r.revoke {
		if err := r.address(w, config); err != nil {
			return nil, err
		}
	}
	config = rest.CopyConfig(config)
	config.Timeout, config.QPS, config.Burst = cmp.Or(config.Timeout, requestTimeout), requestsPerSecond, requestsPerSecond
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	w.api = api{client, namespace}
	return w, identity.CheckNamespace(namespace)
}

// address finds out how servers reach the API server, and by what they know it.
func (r *request) address(w *work, config *rest.Config) error {
	w.url = r.url
	if w.url == "" {
		base, _, err := rest.DefaultServerUrlFor(config)
		if err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
		w.url = strings.TrimSuffix(base.String(), "/")
		if config.ServerName != "" {
			return fmt.Errorf("--server: missing: the kubeconfig reaches the API server by another name than that of its certificate, %q; servers need a URL with a name that is in it", config.ServerName)
		}
	}
	if err := identity.CheckURL(w.url); err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	content, from := config.CAData, "kubeconfig"
	if r.authority != "" {
		from = "--ca-file"
		var err error
		if content, err = os.ReadFile(r.authority); err != nil {
			return fmt.Errorf("--ca-file: %w", err)
		}
	} else if config.CAFile != "" && len(content) == 0 {
		var err error
		if content, err = os.ReadFile(config.CAFile); err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
	}
	if len(content) == 0 {
		return errors.New("--ca-file: missing: the kubeconfig has no certificate of an authority, and servers believe no other than the one they are given")
	}
	var err error
	if w.authority, err = identity.ParseCA(content); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if local(w.url) {
		r.note("%s is this machine only: servers need another --server", w.url)
	}
	return nil
}

// local reports whether a URL is good on this machine alone.
func local(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// note tells something beside the result.
func (r *request) note(format string, arguments ...any) {
	fmt.Fprintf(r.world.Stderr, "note: "+format+"\n", arguments...)
}

// printPlan says what would be done, after the same look at the cluster.
func (r *request) printPlan(ctx context.Context, w *work, servers []entry) error {
	if !r.revoke {
		if err := w.checkPools(ctx, servers); err != nil {
			return err
		}
	}
	words := make([]string, len(servers))
	failed := each(ctx, servers, func(ctx context.Context, i int, e entry) error {
		agent, bootstrap, err := w.look(ctx, e)
		switch {
		case err != nil:
			return err
		case r.revoke:
			words[i] = "would be revoked"
		case agent && !bootstrap && !w.again:
			return errEnrolled
		case agent || bootstrap:
			words[i] = "would be enrolled anew"
		default:
			words[i] = "would be enrolled"
		}
		return nil
	})
	for i, e := range servers {
		if failed[i] != nil {
			continue
		}
		if err := r.printObjects(w, e, words[i]); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func (r *request) printObjects(w *work, e entry, words string) error {
	switch r.output {
	case "name":
		_, err := fmt.Fprintf(r.world.Stdout, "poolserver.ems.mitigation.dev/%s\n", e.Server)
		return err
	case "":
		_, err := fmt.Fprintf(r.world.Stdout, "%s: %s (dry run)\n", e, words)
		return err
	}
	server, account, lease, both := w.objects(e)
	for _, object := range []any{server, account, lease, both[0], both[1]} {
		if r.output == "yaml" {
			fmt.Fprintln(r.world.Stdout, "---")
		}
		if err := printValue(r.world.Stdout, object, r.output); err != nil {
			return err
		}
	}
	return nil
}
