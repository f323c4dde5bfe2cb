package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/simulate"
)

// Summary says what the command is for, in one line.
const Summary = "say what URL Rewrite rules do with requests, before they stand on a server"

// maxFileBytes bounds configuration files, as package rewrite does: 16 MB are a server with some thousand sites.
const maxFileBytes = 16 << 20

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

// UsageError is an error in how the command was called.
type UsageError struct{ Err error }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Err }

func misused(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Command holds the flags.
type Command struct {
	rules, config, site, document, mitigation string
	webConfigs, requests, headers             list
	log, output                               string
	trace                                     bool
	examples                                  int

	// server and look are for programs that know a cluster.
	server string
	look   Look
}

// Question is what a Look is asked for.
type Question struct {
	// Server and Mitigation are those of the flags.
	Server, Mitigation string
	// WithConfiguration says that the user gives configuration files, so that more than the mitigation is evaluated.
	WithConfiguration bool
}

// Found is a mitigation as a server gets it.
type Found struct {
	Config ocs.Config
	// Text comes before the results, View stands beside them in JSON.
	Text string
	View any
}

// Look finds out what a mitigation is on a server.
type Look func(ctx context.Context, q Question) (Found, error)

// list is a flag that may be given several times.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ", ") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// Bind adds the flags.
func Bind(flags *flag.FlagSet) *Command {
	c := &Command{}
	flags.StringVar(&c.rules, "rules", "", "`file` with a rewrite element; its rules come before all others")
	flags.StringVar(&c.config, "config", "", "applicationHost.config, the `file` of a server")
	flags.Var(&c.webConfigs, "web-config", "`PATH=FILE`: the web.config of a folder of the site, / for the site itself; may be repeated")
	flags.StringVar(&c.site, "site", ocs.DefaultTarget, "`name` of the site")
	flags.StringVar(&c.document, "document", "", "mitigation document, a `file` whose signature is not looked at")
	flags.StringVar(&c.mitigation, "mitigation", "", "`id` of the mitigation in --document; its rules come first, as an agent installs them")
	flags.Var(&c.requests, "request", "`request` such as 'GET /path?query' or a URL; may be repeated")
	flags.StringVar(&c.log, "requests", "", "`file` with an access log (W3C or IIS format) or with one request per line; - is the standard input")
	flags.Var(&c.headers, "header", "`header` of all requests, as 'Name: value'; may be repeated")
	flags.BoolVar(&c.trace, "trace", false, "tell how every rule and condition was evaluated; with --requests, for the examples")
	flags.IntVar(&c.examples, "examples", 3, "with --requests: `number` of requests that are shown of each kind")
	flags.StringVar(&c.output, "output", outputText, "`form` of the output: text or json")
	flags.StringVar(&c.output, "o", outputText, "`form` of the output, short for --output")
	return c
}

// BindServer adds the flag that takes the mitigation from a server.
func (c *Command) BindServer(flags *flag.FlagSet, look Look) {
	c.look = look
	flags.Lookup("mitigation").Usage = "`id` of the mitigation in --document or of --server; its rules come first, as an agent installs them"
	flags.StringVar(&c.server, "server", "", "`[NAMESPACE/]NAME` of a PoolServer: --mitigation as the plan of its pool has it, out of the cluster and verified")
}

// Server returns the server that was asked for; empty if none was.
func (c *Command) Server() string { return c.server }

func (c *Command) check() error {
	switch {
	case c.server != "" && c.document != "":
		return misused("--document, --server: want one of them")
	case c.server != "" && c.mitigation == "":
		return misused("--server: needs --mitigation")
	case c.rules == "" && c.config == "" && len(c.webConfigs) == 0 && c.mitigation == "":
		return misused("--rules, --config, --web-config, --mitigation: want at least one of them")
	case c.look != nil && c.mitigation != "" && c.document == "" && c.server == "":
		return misused("--mitigation: needs --document or --server")
	case c.server == "" && (c.document == "") != (c.mitigation == ""):
		return misused("--document, --mitigation: want both or none")
	case (len(c.requests) == 0) == (c.log == ""):
		return misused("--request, --requests: want one of them")
	case c.examples < 0:
		return misused("--examples: %d: want 0 or more", c.examples)
	case c.output != outputText && c.output != outputJSON:
		return misused("--output: %q: want %s or %s", c.output, outputText, outputJSON)
	}
	return nil
}

// Run does it. Results go to stdout, progress and what IIS will refuse to stderr.
func (c *Command) Run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	headers := http.Header{}
	for _, text := range c.headers {
		if err := simulate.ParseHeader(headers, text); err != nil {
			return UsageError{err}
		}
	}
	rules, err := c.read()
	if err != nil {
		return err
	}
	var view any
	if c.server != "" {
		found, err := c.look(ctx, Question{Server: c.server, Mitigation: c.mitigation, WithConfiguration: c.rules != "" || c.config != "" || len(c.webConfigs) > 0})
		if err != nil {
			return err
		}
		rules.Mitigation, view = &found.Config, found.View
		if c.output == outputText {
			fmt.Fprintf(stdout, "%s\n", found.Text)
		}
	}
	site, err := rules.Compose(rewrite.Options{})
	if err != nil {
		return err
	}
	for _, problem := range site.Problems() {
		fmt.Fprintf(stderr, "warning: %s\n", problem.String())
	}
	if c.log != "" {
		return c.replay(ctx, site, headers, view, stdout, stderr)
	}
	return c.ask(site, headers, view, stdout)
}

// read reads the files.
func (c *Command) read() (simulate.Rules, error) {
	rules := simulate.Rules{Site: c.site}
	var err error
	if c.rules != "" {
		if rules.Fragment, err = readFile("--rules", c.rules); err != nil {
			return rules, err
		}
	}
	if c.config != "" {
		if rules.ApplicationHost, err = readFile("--config", c.config); err != nil {
			return rules, err
		}
	}
	seen := map[string]bool{}
	for _, text := range c.webConfigs {
		folder, name, ok := strings.Cut(text, "=")
		if !ok || !strings.HasPrefix(folder, "/") || name == "" {
			return rules, misused("--web-config: %q: want the form /path=FILE", text)
		}
		key := strings.ToLower(strings.Trim(folder, "/"))
		if seen[key] {
			return rules, misused("--web-config: %q: there is one for this folder already", text)
		}
		seen[key] = true
		file, err := readFile("--web-config", name)
		if err != nil {
			return rules, err
		}
		rules.WebConfigs = append(rules.WebConfigs, simulate.WebConfig{Folder: folder, File: *file})
	}
	if c.document != "" {
		rules.Mitigation, err = c.readMitigation()
	}
	return rules, err
}

func (c *Command) readMitigation() (*ocs.Config, error) {
	file, err := readFile("--document", c.document)
	if err != nil {
		return nil, err
	}
	document, _, err := publish.ReadUnverified(file.Content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.document, err)
	}
	ids := make([]string, 0, len(document.Configs))
	for i := range document.Configs {
		if strings.EqualFold(document.Configs[i].ID, c.mitigation) {
			return &document.Configs[i], nil
		}
		ids = append(ids, document.Configs[i].ID)
	}
	for _, r := range document.Refused {
		if strings.EqualFold(r.ID, c.mitigation) {
			return nil, fmt.Errorf("%s: mitigation %q is refused: %s", c.document, r.ID, r.Message)
		}
	}
	slices.Sort(ids)
	return nil, misused("--mitigation: %q: %s has %s", c.mitigation, c.document, strings.Join(ids, ", "))
}

func readFile(name, path string) (*simulate.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, misused("%s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, misused("%s: %w", name, err)
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("%s: %s: more than %d bytes", name, path, maxFileBytes)
	}
	return &simulate.File{Name: path, Content: content}, nil
}

// ask evaluates single requests; view describes the server that they are asked of, if any. One that cannot be evaluated does not keep the others from their answer.
func (c *Command) ask(site *rewrite.Site, headers http.Header, view any, stdout io.Writer) error {
	requests := make([]rewrite.Request, len(c.requests))
	for i, text := range c.requests {
		request, err := simulate.ParseRequest(text)
		if err != nil {
			return misused("--request: %w", err)
		}
		simulate.SetHeaders(&request, headers)
		requests[i] = request
	}
	answers := []simulate.Answer{}
	var failed []error
	for i, request := range requests {
		answer, err := simulate.Ask(site, strings.TrimSpace(c.requests[i]), request, c.trace)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		answers = append(answers, answer)
	}
	if err := c.printAnswers(stdout, view, answers); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// replay evaluates a log.
func (c *Command) replay(ctx context.Context, site *rewrite.Site, headers http.Header, view any, stdout, stderr io.Writer) error {
	log := os.Stdin
	if c.log != "-" {
		var err error
		if log, err = os.Open(c.log); err != nil {
			return misused("--requests: %w", err)
		}
		defer func() { _ = log.Close() }()
	}
	progress := newProgress(stderr, log)
	summary, err := simulate.Replay(ctx, site, log, simulate.ReplayOptions{
		Headers: headers, Examples: c.examples, Trace: c.trace, Progress: progress.show,
	})
	progress.done()
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: interrupted: %w", c.log, err)
	case err != nil:
		return fmt.Errorf("%s: %w", c.log, err)
	}
	if err := c.printSummary(stdout, view, summary); err != nil {
		return err
	}
	// A log of another kind must not look like one in which nothing is blocked.
	if summary.Requests == 0 && summary.Unreadable > 0 {
		return fmt.Errorf("%s: none of its lines is a request: want a log in the W3C or IIS format, or one request per line", c.log)
	}
	return nil
}
