package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/publish"
)

// bindTrust adds the flags that name a trust policy.
func bindTrust(flags *pflag.FlagSet, file, feed *string) {
	flags.StringVar(file, "trust", "", "trust `file`, as on the servers")
	flags.StringVar(feed, "feed", "", "`name` of the feed in the trust file; not needed if it has one only")
}

func bindOutput(flags *pflag.FlagSet, output *string) {
	flags.StringVarP(output, "output", "o", outputText, "`form` of the output: text or json")
	cli.OneOf(flags, "output", outputText, outputJSON)
}

func bindVerify(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var file, feed, output string
	bindTrust(flags, &file, &feed)
	bindOutput(flags, &output)
	return func(_ context.Context, documents []string) error {
		if file == "" {
			return misused("--trust: required")
		}
		if err := checkOutput(output); err != nil {
			return err
		}
		policy, err := readPolicy(file, feed)
		if err != nil {
			return usageError{Err: err}
		}
		reports := make([]publish.Report, 0, len(documents))
		for _, name := range documents {
			content, err := readDocument(name)
			if err != nil {
				return misused("document: %w", err)
			}
			report := publish.Judge(content, policy, p.now())
			report.File = name
			reports = append(reports, report)
		}
		return p.printReports(reports, output)
	}
}

func (p *program) printReports(reports []publish.Report, output string) error {
	valid := true
	for _, r := range reports {
		valid = valid && r.Valid
		if output == outputText {
			fmt.Fprint(p.stdout, r.Text())
		}
	}
	if output == outputJSON {
		if err := printJSON(p.stdout, reports); err != nil {
			return err
		}
	}
	if !valid {
		return errRefused
	}
	return nil
}

func bindLint(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var output string
	bindOutput(flags, &output)
	return func(_ context.Context, names []string) error {
		if err := checkOutput(output); err != nil {
			return err
		}
		findings := []publish.Finding{}
		for _, name := range names {
			found, err := lint(name)
			if err != nil {
				return err
			}
			findings = append(findings, found...)
		}
		if output == outputJSON {
			if err := printJSON(p.stdout, findings); err != nil {
				return err
			}
		} else {
			for _, f := range findings {
				fmt.Fprintln(p.stdout, f)
			}
			if len(findings) == 0 {
				fmt.Fprintln(p.stdout, "nothing to complain about")
			}
		}
		if publish.Failed(findings) {
			return errRefused
		}
		return nil
	}
}

func lint(name string) ([]publish.Finding, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, usageError{Err: err}
	}
	if info.IsDir() {
		return publish.LintDirectory(name, os.DirFS(name)), nil
	}
	content, err := readDocument(name)
	if err != nil {
		return nil, usageError{Err: err}
	}
	return publish.LintDocument(name, content), nil
}

type connectivityFlags struct{ url, proxy, ca, trust, feed, output string }

func bindConnectivity(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var f connectivityFlags
	flags.StringVar(&f.url, "url", "", "`URL` of the feed, as in spec.url")
	flags.StringVar(&f.proxy, "proxy", "", "`URL` of the HTTP proxy, as in spec.proxyURL; environment variables are not looked at")
	flags.StringVar(&f.ca, "ca", "", "`file` with the roots for TLS in PEM, as in spec.caBundle; without it those of the system")
	bindTrust(flags, &f.trust, &f.feed)
	bindOutput(flags, &f.output)
	return func(ctx context.Context, _ []string) error {
		request, policy, err := f.read()
		if err != nil {
			return usageError{Err: err}
		}
		result := publish.TestConnectivity(ctx, request, policy, p.now())
		if f.output == outputJSON {
			if err := printJSON(p.stdout, result); err != nil {
				return err
			}
		} else {
			fmt.Fprint(p.stdout, result.Text())
		}
		if !result.Success {
			return errRefused
		}
		return nil
	}
}

func (f connectivityFlags) read() (fetch.Request, publish.Policy, error) {
	request := fetch.Request{URL: f.url}
	if f.url == "" || f.trust == "" {
		return request, publish.Policy{}, misused("--url, --trust: both are required")
	}
	if err := checkOutput(f.output); err != nil {
		return request, publish.Policy{}, err
	}
	var err error
	if request.Proxy, err = parseProxy(f.proxy); err != nil {
		return request, publish.Policy{}, err
	}
	if f.ca != "" {
		content, err := readFile(f.ca, publish.MaxPEMBytes)
		if err != nil {
			return request, publish.Policy{}, fmt.Errorf("--ca: %w", err)
		}
		request.RootCAs = x509.NewCertPool()
		if !request.RootCAs.AppendCertsFromPEM(content) {
			return request, publish.Policy{}, fmt.Errorf("--ca: %s: holds no certificate in PEM", f.ca)
		}
	}
	policy, err := readPolicy(f.trust, f.feed)
	return request, policy, err
}
