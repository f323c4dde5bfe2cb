package telemetry

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
)

// Fields below spec.
const (
	field    = "telemetry"
	mode     = "mode"
	urlField = "url"
	caField  = "caBundle"
	proxy    = "proxyURL"
)

// maxBundle is what the API takes for a bundle of certificates.
const maxBundle = 64 << 10

// Commands are those of diagnostic data.
func Commands() []cli.Command {
	return []cli.Command{
		{
			Name: "telemetry show", Summary: "show whether diagnostic data is sent, where to, and the very bytes that would be",
			Example: "kubectl mitigation telemetry show\nkubectl mitigation telemetry show -o body", Bind: bindShow,
		},
		{
			Name: "telemetry enable", Summary: "send diagnostic data to an endpoint of your own once an hour, or let the servers of a pool be part of it again",
			Example: "kubectl mitigation telemetry enable --url https://telemetry.contoso.com/v1\nkubectl mitigation telemetry enable --pool mail", Bind: bindEnable,
		},
		{
			Name: "telemetry disable", Summary: "send no diagnostic data, or leave the servers of a pool out of it",
			Example: "kubectl mitigation telemetry disable\nkubectl mitigation telemetry disable --pool mail", Bind: bindDisable,
		},
	}
}

func none(operands []string) error {
	if len(operands) > 0 {
		return cli.Misused("argument %q: not expected", operands[0])
	}
	return nil
}

// verb opens the cluster after the flags have been checked.
func verb(f *steer.Flags, operands []string) (*steer.Session, []steer.Target, error) {
	if err := none(operands); err != nil {
		return nil, nil, err
	}
	if err := f.Check(); err != nil {
		return nil, nil, err
	}
	session, err := f.Open()
	if err != nil {
		return nil, nil, err
	}
	targets, err := session.Targets()
	return session, targets, err
}

func bindDisable(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := steer.BindFlags(flags, w, steer.Has{Targets: true, Whole: true})
	return func(ctx context.Context, operands []string) error {
		session, targets, err := verb(f, operands)
		if err != nil {
			return err
		}
		return session.Each(ctx, targets, "telemetry disabled", func(target steer.Target, d *steer.Document) error {
			if target == steer.Global {
				// The rest stays, for the day on which it is enabled again.
				d.Set(string(emsv1.Disabled), field, mode)
			} else {
				d.Set(string(emsv1.Disabled), field)
			}
			return nil
		})
	}
}

func bindEnable(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := steer.BindFlags(flags, w, steer.Has{Targets: true, Whole: true})
	url := flags.String("url", "", "https `URL` of an endpoint of your own; the one that is there already if absent")
	caFile := flags.String("ca-file", "", "`file` with the certificates, in PEM, that the endpoint's certificate must chain to; the system's of the manager if absent")
	proxyURL := flags.String("endpoint-proxy", "", "`URL` of the HTTP proxy to the endpoint")
	return func(ctx context.Context, operands []string) error {
		switch {
		case f.Pools() && (*url != "" || *caFile != "" || *proxyURL != ""):
			return cli.Misused("--url, --ca-file, --endpoint-proxy: are the organisation's: leave --pool out")
		case *url == "" && (*caFile != "" || *proxyURL != ""):
			return cli.Misused("--ca-file, --endpoint-proxy: go with --url")
		case *url != "" && !strings.HasPrefix(*url, "https://"):
			return cli.Misused("--url: %q: want one that begins with https://", *url)
		}
		bundle, err := readBundle(*caFile)
		if err != nil {
			return err
		}
		session, targets, err := verb(f, operands)
		if err != nil {
			return err
		}
		err = session.Each(ctx, targets, "telemetry enabled", func(target steer.Target, d *steer.Document) error {
			if target != steer.Global {
				d.Set(string(emsv1.Enabled), field)
				return nil
			}
			return enable(d, map[string]string{urlField: *url, caField: bundle, proxy: *proxyURL})
		})
		if err == nil && slices.Contains(targets, steer.Global) {
			f.Note("nothing is sent in the next ten minutes; kubectl mitigation telemetry show shows when, and every byte")
		}
		return err
	}
}

func readBundle(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	content, err := os.ReadFile(file) //nolint:gosec // the file that the user names
	switch {
	case err != nil:
		return "", cli.Misused("--ca-file: %w", err)
	case len(content) == 0 || len(content) > maxBundle:
		return "", cli.Misused("--ca-file: %s: %d bytes: want 1 to %d", file, len(content), maxBundle)
	}
	return string(content), nil
}

// enable wants what is said; the endpoint that is there stays if none is.
func enable(d *steer.Document, said map[string]string) error {
	if said[urlField] == "" {
		var live emsv1.MitigationConfiguration
		if err := d.Live(&live); err != nil {
			return err
		}
		if live.Spec.Telemetry == nil || live.Spec.Telemetry.URL == "" {
			return cli.Misused("--url: missing: diagnostic data goes to an endpoint of your own, and none is known yet")
		}
	} else {
		for name, value := range said {
			if value == "" {
				d.Unset(field, name)
			} else {
				d.Set(value, field, name)
			}
		}
	}
	d.Set(string(emsv1.Enabled), field, mode)
	return nil
}

func bindShow(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.Bind(flags)
	manager := flags.String("manager-namespace", "ems-system", "`namespace` of the manager")
	summary := flags.Bool("summary", false, "text, json and yaml: leave out the bytes")
	output := flags.StringP("output", "o", "text", "`form`: text, json, yaml, or body for nothing but the bytes")
	cli.OneOf(flags, "output", "text", "json", "yaml", "body")
	return func(ctx context.Context, operands []string) error {
		if err := none(operands); err != nil {
			return err
		}
		if !slices.Contains([]string{"text", "json", "yaml", "body"}, *output) {
			return cli.Misused("--output: %q: want text, json, yaml or body", *output)
		}
		config, _, err := connection.Config()
		if err != nil {
			return cli.UsageError{Err: err}
		}
		page, err := read(ctx, config, *manager)
		if err != nil {
			return err
		}
		if *output == "body" {
			for _, r := range page.Requests {
				if _, err := fmt.Fprint(w.Stdout, r.Body); err != nil {
					return err
				}
			}
			return nil
		}
		if *summary {
			for i := range page.Requests {
				page.Requests[i].Body = ""
			}
		}
		return page.print(w.Stdout, *output)
	}
}
