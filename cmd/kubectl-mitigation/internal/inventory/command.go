package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"mitigation.dev/ems/agent/journal/durable"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// What can be listed.
const (
	ofMitigations = "mitigations"
	ofServers     = "servers"
	ofPools       = "pools"
	ofFeeds       = "feeds"
)

var subjects = []string{ofMitigations, ofServers, ofPools, ofFeeds}

// subjectOf is what a word lists, in the singular too, or by the name that kubectl has for the resource. Empty if there is no such list.
func subjectOf(word string) string {
	return map[string]string{
		"Mitigation": ofMitigations, "PoolServer": ofServers, "PoolMitigationConfig": ofPools, "MitigationFeed": ofFeeds,
	}[cli.KindNamed(word)]
}

// Commands are get and export.
func Commands() []cli.Command {
	return []cli.Command{
		{
			Name: "get", Arguments: "[mitigations|servers|pools|feeds] [NAME...]", Optional: true,
			Summary: "list mitigations by pool, or by server with --server, --per-server; or servers, pools, feeds",
			Example: "kubectl mitigation get -A\nkubectl mitigation get --server web01\nkubectl mitigation get mitigations M1 --per-server --status Failed,Blocked -o wide\nkubectl mitigation get servers --pool mail",
			Completes: []cli.Completion{{Words: subjects}, {After: map[string]cli.Kind{
				ofMitigations: cli.Mitigations, ofServers: cli.Servers, ofPools: cli.Pools, ofFeeds: cli.Feeds,
			}}},
			Bind: bindGet,
		},
		{
			Name:    "export",
			Summary: "write where every mitigation stands into a file, in XML or CSV",
			Example: "kubectl mitigation export -A -o xml --file mitigations.xml\nkubectl mitigation export --per-server -o csv --file servers.csv",
			Bind:    bindExport,
		},
	}
}

// request is what the flags say.
type request struct {
	world      cli.World
	connection *fleet.Connection

	all       bool
	pools     cli.Names
	server    string
	perServer bool
	statuses  cli.Names
	selector  string
	output    string
	noHeaders bool
	file      string

	// subject and names come from the arguments.
	subject string
	names   []string

	namespace string
	keys      []types.NamespacedName
	matches   labels.Selector
}

func bind(w cli.World, flags *pflag.FlagSet) *request {
	r := &request{world: w, connection: fleet.Bind(flags, fleet.OwnServer), subject: ofMitigations}
	flags.BoolVarP(&r.all, "all-namespaces", "A", false, "pools and servers of all namespaces")
	flags.Var(&r.pools, "pool", "`names` of pools, NAME or NAMESPACE/NAME with commas between them; may be repeated; every pool if absent")
	flags.StringVar(&r.server, "server", "", "mitigations: those of this server, `[NAMESPACE/]NAME` of a PoolServer")
	flags.BoolVar(&r.perServer, "per-server", false, "mitigations: a row for each server, not for each pool")
	flags.Var(&r.statuses, "status", "mitigations: only `words` of the column STATUS, with commas between them; may be repeated")
	flags.StringVarP(&r.selector, "selector", "l", "", "`labels` of pools, of servers in lists of servers, of feeds in lists of feeds: key=value,key!=value")
	cli.OfKind(flags, "pool", cli.Pools)
	cli.OfKind(flags, "server", cli.Servers)
	cli.OneOf(flags, "status", allWords()...)
	return r
}

func bindGet(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	r := bind(w, flags)
	flags.StringVarP(&r.output, "output", "o", formTable, "`form`: table, wide, json, yaml, name, csv or xml")
	flags.BoolVar(&r.noHeaders, "no-headers", false, "table: leave the line of headings out")
	cli.OneOf(flags, "output", forms...)
	return func(ctx context.Context, operands []string) error {
		if !slices.Contains(forms, r.output) {
			return cli.Misused("--output: %q: want table, wide, json, yaml, name, csv or xml", r.output)
		}
		return r.run(ctx, operands)
	}
}

func bindExport(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	r := bind(w, flags)
	flags.StringVarP(&r.output, "output", "o", formXML, "`form`: xml or csv")
	flags.StringVar(&r.file, "file", "", "`file` that is written, at once when all has been read; the standard output if absent")
	cli.OneOf(flags, "output", files...)
	return func(ctx context.Context, operands []string) error {
		if !slices.Contains(files, r.output) {
			return cli.Misused("--output: %q: want xml or csv; get prints the other forms", r.output)
		}
		return r.run(ctx, operands)
	}
}

func (r *request) run(ctx context.Context, operands []string) error {
	if err := r.read(operands); err != nil {
		return err
	}
	config, namespace, err := r.connection.Config()
	if err != nil {
		return cli.UsageError{Err: err}
	}
	if err := r.place(namespace); err != nil {
		return err
	}
	reader, err := fleet.NewReader(config)
	if err != nil {
		return cli.UsageError{Err: err}
	}
	o, err := r.look(ctx, reader)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	missing, count, err := r.print(&out, o)
	if err != nil {
		return err
	}
	if r.file != "" {
		if err := durable.WriteFile(durable.OS{}, filepath.Clean(r.file), out.Bytes()); err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		fmt.Fprintf(r.world.Stdout, "%s: %d %s\n", r.file, count, plural("row", count))
	} else if _, err := r.world.Stdout.Write(out.Bytes()); err != nil {
		return err
	}
	return missing
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// read judges the arguments and the flags, before the cluster is asked for anything.
func (r *request) read(operands []string) error {
	if len(operands) > 0 {
		if r.subject = subjectOf(operands[0]); r.subject == "" {
			return cli.Misused("%q: want one of %s, and names behind it", operands[0], strings.Join(subjects, ", "))
		}
		r.names = operands[1:]
	}
	if err := r.fit(); err != nil {
		return err
	}
	words, unknown := parseWords(r.statuses)
	if unknown != "" {
		return cli.Misused("--status: %q: want words of %s", unknown, strings.Join(allWords(), ", "))
	}
	r.statuses = words
	var err error
	if r.matches, err = labels.Parse(r.selector); err != nil {
		return cli.Misused("--selector: %w", err)
	}
	return r.place("")
}

// fit finds flags that do not go together.
func (r *request) fit() error {
	mitigations := r.subject == ofMitigations
	switch {
	case r.all && (len(r.pools) > 0 || r.server != ""):
		return cli.Misused("--all-namespaces, --pool, --server: want one of them")
	case r.server != "" && len(r.pools) > 0:
		return cli.Misused("--pool, --server: want one of them")
	case r.server != "" && r.selector != "":
		return cli.Misused("--selector, --server: want one of them")
	case !mitigations && (r.server != "" || r.perServer || len(r.statuses) > 0):
		return cli.Misused("--server, --per-server, --status: are for mitigations, not for %s", r.subject)
	case r.subject == ofFeeds && (r.all || len(r.pools) > 0):
		return cli.Misused("--all-namespaces, --pool: feeds are of no namespace")
	case r.all && r.connection.Namespace() != "":
		return cli.Misused("--all-namespaces, --namespace: want one of them")
	}
	return nil
}

// place says of which namespace and of which pools or server things are.
func (r *request) place(fallback string) error {
	r.namespace, r.keys = fallback, nil
	if r.all {
		r.namespace = ""
	}
	for _, named := range []struct {
		flag  string
		texts []string
	}{{"--pool", r.pools}, {"--server", []string{r.server}}} {
		for _, text := range named.texts {
			if text == "" {
				continue
			}
			key, err := r.connection.ParseKey(text, fallback, named.flag)
			if err != nil {
				return cli.UsageError{Err: err}
			}
			r.keys = append(r.keys, key)
		}
	}
	return nil
}

// namespaces are those that are read.
func (r *request) namespaces() []string {
	if len(r.keys) == 0 {
		return []string{r.namespace}
	}
	var all []string
	for _, key := range r.keys {
		if !slices.Contains(all, key.Namespace) {
			all = append(all, key.Namespace)
		}
	}
	return all
}

// look reads what the rows are made of, and nothing else.
func (r *request) look(ctx context.Context, reader fleet.Reader) (*objects, error) {
	o := &objects{plans: map[types.NamespacedName]*emsv1.MitigationPlan{}}
	if r.subject == ofFeeds {
		var feeds emsv1.MitigationFeedList
		if err := read(ctx, reader, "mitigationfeeds", "", &feeds); err != nil {
			return nil, err
		}
		o.feeds = slices.DeleteFunc(feeds.Items, func(f emsv1.MitigationFeed) bool { return !r.matches.Matches(labels.Set(f.Labels)) })
		return o, nil
	}
	if r.subject == ofMitigations {
		var known emsv1.MitigationList
		err := read(ctx, reader, "mitigations", "", &known)
		if apierrors.IsForbidden(err) {
			fmt.Fprintf(r.world.Stderr, "note: types, descriptions and severities are not shown: %v\n", err)
		} else if err != nil {
			return nil, err
		}
		o.mitigations = known.Items
	}
	for _, namespace := range r.namespaces() {
		if err := r.lookIn(ctx, reader, namespace, o); err != nil {
			return nil, err
		}
	}
	return o, r.found(o)
}

// byServer says that rows are about servers.
func (r *request) byServer() bool { return r.subject == ofServers || r.perServer || r.server != "" }

func (r *request) lookIn(ctx context.Context, reader fleet.Reader, namespace string, o *objects) error {
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	var servers emsv1.PoolServerList
	if r.server == "" && r.subject != ofServers {
		if err := read(ctx, reader, "poolmitigationconfigs", namespace, &pools); err != nil {
			return err
		}
	}
	if r.subject == ofMitigations {
		if err := read(ctx, reader, "mitigationplans", namespace, &plans); err != nil {
			return err
		}
	}
	switch {
	case r.server != "":
		var server emsv1.PoolServer
		if err := reader.Get(ctx, "poolservers", r.keys[0], &server); err != nil {
			return fmt.Errorf("--server: %s: %w", r.keys[0], err)
		}
		servers.Items = append(servers.Items, server)
	case r.byServer():
		if err := read(ctx, reader, "poolservers", namespace, &servers); err != nil {
			return err
		}
	}
	for i := range plans.Items {
		p := &plans.Items[i]
		o.plans[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p
	}
	r.choose(pools.Items, servers.Items, o)
	return nil
}

// choose keeps what --pool and --selector choose. Labels are those of servers only where servers are listed.
func (r *request) choose(pools []emsv1.PoolMitigationConfig, servers []emsv1.PoolServer, o *objects) {
	wanted := func(namespace, pool string) bool {
		return len(r.pools) == 0 || slices.Contains(r.keys, types.NamespacedName{Namespace: namespace, Name: pool})
	}
	chosen := map[types.NamespacedName]bool{}
	for i := range pools {
		p := &pools[i]
		if wanted(p.Namespace, p.Name) && r.matches.Matches(labels.Set(p.Labels)) {
			o.pools, chosen[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = append(o.pools, *p), true
		}
	}
	matches := func(s *emsv1.PoolServer) bool {
		switch {
		case r.server != "" || r.selector == "":
			return true
		case r.subject == ofServers:
			return r.matches.Matches(labels.Set(s.Labels))
		default:
			return chosen[types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.PoolName}]
		}
	}
	for i := range servers {
		if s := &servers[i]; wanted(s.Namespace, s.Spec.PoolName) && matches(s) {
			o.servers = append(o.servers, *s)
		}
	}
}

// found says which of the pools that were named are not there.
func (r *request) found(o *objects) error {
	if len(r.pools) == 0 || r.subject == ofServers || r.selector != "" {
		return nil
	}
	var missing []error
	for _, key := range r.keys {
		if !slices.ContainsFunc(o.pools, func(p emsv1.PoolMitigationConfig) bool { return p.Namespace == key.Namespace && p.Name == key.Name }) {
			missing = append(missing, fmt.Errorf("pool %s: there is none", key))
		}
	}
	return errors.Join(missing...)
}

func read(ctx context.Context, reader fleet.Reader, resource, namespace string, into runtime.Object) error {
	if err := reader.List(ctx, resource, namespace, into); err != nil {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	return nil
}

// print prints the rows; what was named and is not there comes back as missing.
func (r *request) print(out *bytes.Buffer, o *objects) (missing error, count int, err error) {
	to := output{w: out, form: r.output, heads: !r.noHeaders, style: terminal.Detect(r.world.Stdout, r.getenv), now: r.world.Now()}
	several := r.all || len(r.namespaces()) > 1
	switch {
	case r.subject == ofFeeds:
		rows, absent := named(r.names, o.feedRows(), "feed", func(f FeedRow) []string { return []string{f.Feed} })
		return absent, len(rows), r.show(to, len(rows), func() error { return write(to, feedList(to.now), rows) })
	case r.subject == ofPools:
		rows, absent := named(r.names, o.poolRows(), "pool", func(p PoolRow) []string { return []string{p.Pool, p.Namespace + "/" + p.Pool, p.FQDN} })
		return absent, len(rows), r.show(to, len(rows), func() error { return write(to, poolList(several), rows) })
	case r.subject == ofServers:
		rows, absent := named(r.names, o.serverRows(), "server", func(s ServerRow) []string { return []string{s.Server, s.Namespace + "/" + s.Server} })
		return absent, len(rows), r.show(to, len(rows), func() error { return write(to, serverList(several), rows) })
	case r.byServer():
		rows, absent := named(r.names, o.serverMitigations(), "mitigation", func(m ServerMitigation) []string { return []string{m.ID} })
		rows = withStatus(rows, r.statuses, func(m ServerMitigation) string { return m.Status })
		return absent, len(rows), r.show(to, len(rows), func() error { return write(to, serverMitigationList(several), rows) })
	default:
		rows, absent := named(r.names, o.poolMitigations(), "mitigation", func(m PoolMitigation) []string { return []string{m.ID} })
		rows = withStatus(rows, r.statuses, func(m PoolMitigation) string { return m.Status })
		return absent, len(rows), r.show(to, len(rows), func() error { return write(to, poolMitigationList(several), rows) })
	}
}

// show prints a list, and of an empty table that it is empty.
func (r *request) show(to output, rows int, list func() error) error {
	if rows > 0 || to.form != formTable && to.form != formWide {
		return list()
	}
	where := fmt.Sprintf(" in namespace %q; -A looks at all namespaces", r.namespace)
	if r.subject == ofFeeds || r.all || len(r.keys) > 0 {
		where = ""
	}
	_, err := fmt.Fprintf(r.world.Stderr, "no %s found%s\n", r.subject, where)
	return err
}

func (r *request) getenv(name string) string {
	if r.world.Getenv == nil {
		return os.Getenv(name)
	}
	return r.world.Getenv(name)
}

// named keeps the rows of names, in any case; missing says of which names there is none.
func named[T any](names []string, rows []T, what string, of func(T) []string) (kept []T, missing error) {
	if len(names) == 0 {
		return rows, nil
	}
	kept = []T{}
	found := map[string]bool{}
	for _, row := range rows {
		for _, name := range names {
			if slices.ContainsFunc(of(row), func(own string) bool { return strings.EqualFold(own, name) }) {
				kept, found[name] = append(kept, row), true
				break
			}
		}
	}
	var absent []error
	for _, name := range names {
		if !found[name] {
			absent = append(absent, fmt.Errorf("%s %q: there is none among what is listed", what, name))
		}
	}
	return kept, errors.Join(absent...)
}

func withStatus[T any](rows []T, wanted []string, of func(T) string) []T {
	if len(wanted) == 0 {
		return rows
	}
	return slices.DeleteFunc(rows, func(row T) bool { return !slices.Contains(wanted, of(row)) })
}
