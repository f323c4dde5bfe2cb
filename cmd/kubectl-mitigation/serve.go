package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"mitigation.dev/ems/internal/publish"
)

type serveFlags struct {
	document, listen, path, certificate, key, trust, feed string
	maxWaiting                                            int
}

func bindServe(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var f serveFlags
	flags.StringVar(&f.document, "document", "", "signed `document`; it is read again when it changes")
	flags.StringVar(&f.listen, "listen", ":8443", "`address` to listen on")
	flags.StringVar(&f.path, "path", "/mitigations.xml", "`path` of the URL, the only one that is answered")
	flags.StringVar(&f.certificate, "tls-cert", "", "`file` with the certificate for TLS and its chain in PEM; it is read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "`file` with its private key in PEM")
	flags.IntVar(&f.maxWaiting, "max-waiting", publish.DefaultMaxWaiting, "`number` of requests that are held at once for the next document (\"Prefer: wait=N\"); 0 answers every request at once")
	flags.StringVar(&f.trust, "trust", "", "trust `file` that documents must satisfy to be served; without it they only have to be readable")
	flags.StringVar(&f.feed, "feed", "", "`name` of the feed in the trust file; not needed if it has one only")
	return func(ctx context.Context, _ []string) error {
		switch {
		case f.document == "" || f.certificate == "" || f.key == "":
			return misused("--document, --tls-cert, --tls-key: all are required")
		case !strings.HasPrefix(f.path, "/"):
			return misused("--path: %q: want a slash at the beginning", f.path)
		case f.maxWaiting < 0:
			return misused("--max-waiting: %d: want 0 or more", f.maxWaiting)
		case f.feed != "" && f.trust == "":
			return misused("--feed: needs --trust")
		}
		return p.serve(ctx, f)
	}
}

func (p *program) serve(ctx context.Context, f serveFlags) error {
	certificate, err := publish.LoadKeyPair(f.certificate, f.key, func(file string) ([]byte, error) { return readFile(file, publish.MaxPEMBytes) })
	if err != nil {
		return err
	}
	options := publish.ServerOptions{
		Document: f.document, Path: f.path, Read: readDocument,
		Certificate: certificate, MaxWaiting: f.maxWaiting,
		Log: logr.FromSlogHandler(slog.NewTextHandler(p.stderr, nil)),
	}
	if f.trust != "" {
		policy, err := readPolicy(f.trust, f.feed)
		if err != nil {
			return usageError{Err: err}
		}
		options.Check = func(document []byte) error {
			if report := publish.Judge(document, policy, p.now()); !report.Valid {
				return fmt.Errorf("refused by the trust policy: %s", report.Reason)
			}
			return nil
		}
	}
	server, err := publish.NewServer(options)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return server.Run(ctx, listener)
}
