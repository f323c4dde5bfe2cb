package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/internal/publish"
)

// passwordVariable has the password of a PKCS#12 file where no file has it. There is no flag for it: other users of a computer
// can read command lines.
const passwordVariable = "EMS_PKCS12_PASSWORD" //nolint:gosec // the name of a variable, no password

// defaultLifetime is two weeks: twice as long as the longest holiday between two signatures should be.
const defaultLifetime = 336 * time.Hour

type signFlags struct {
	in, out, key, signCommand, certificates string
	sequence                                int64
	increaseFrom, publisher                 string
	lifetime                                time.Duration
	pkcs12, passwordFile                    string
	authority, authorityRoots, proxy        string
	trust, feed                             string
}

func bindSign(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	var f signFlags
	flags.StringVar(&f.in, "in", "", "`directory` of mitigations in YAML (.yaml, .yml) or XML (.xml, one Config element)")
	flags.StringVar(&f.out, "out", "", "`file` that the document is written to, at once and only when it is verified")
	flags.StringVar(&f.key, "key", "", "`file` with the private key in PEM (PKCS#8, PKCS#1 or SEC 1)")
	flags.StringVar(&f.pkcs12, "pkcs12", "", "`file` in PKCS#12 (.p12, .pfx) with the private key and the certificates, instead of --key and --certs")
	flags.StringVar(&f.passwordFile, "password-file", "", "`file` with the password of --pkcs12 in its only line; without it the environment variable "+passwordVariable+" has it")
	flags.StringVar(&f.signCommand, "sign-command", "", "`program` and arguments that sign instead of a key file: 32 bytes of SHA-256 on its input, the signature on its output")
	flags.StringVar(&f.certificates, "certs", "", "`file` with the signing certificate and its authorities in PEM; with --pkcs12, in place of those in that file")
	flags.Int64Var(&f.sequence, "sequence", 0, "sequence `number` of the document")
	flags.StringVar(&f.increaseFrom, "increase-from", "", "`document` published before; the sequence is the one behind it")
	flags.StringVar(&f.publisher, "publisher", "", "`name` of the publisher, for people")
	flags.DurationVar(&f.lifetime, "expires-in", defaultLifetime, "`time` until the document may no longer be newly accepted; what it brought stays")
	flags.StringVar(&f.authority, "tsa", "", "`URL` of a time-stamping authority (RFC 3161)")
	flags.StringVar(&f.proxy, "proxy", "", "`URL` of the HTTP proxy to the time-stamping authority; environment variables are not looked at")
	flags.StringVar(&f.authorityRoots, "tsa-cert", "", "`file` with the trust anchors of the time-stamping authority in PEM")
	flags.StringVar(&f.trust, "trust", "", "trust `file` that the result must satisfy; without it the topmost certificate of --certs is taken for the root")
	flags.StringVar(&f.feed, "feed", "", "`name` of the feed in the trust file; not needed if it has one only")
	return func(ctx context.Context, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return p.sign(ctx, f)
	}
}

func (f signFlags) check() error {
	for _, required := range []struct{ name, value string }{{"in", f.in}, {"out", f.out}, {"certs", f.certificates + f.pkcs12}} {
		if required.value == "" {
			return misused("--%s: required", required.name)
		}
	}
	switch {
	case countSet(f.key, f.signCommand, f.pkcs12) != 1:
		return misused("--key, --sign-command, --pkcs12: want one of them")
	case f.passwordFile != "" && f.pkcs12 == "":
		return misused("--password-file: needs --pkcs12")
	case (f.sequence == 0) == (f.increaseFrom == ""):
		return misused("--sequence, --increase-from: want one of them: without a sequence, an old document could be replayed")
	case f.sequence < 0:
		return misused("--sequence: %d: want 1 or more", f.sequence)
	case f.lifetime < time.Second:
		return misused("--expires-in: %s: want a second or more", f.lifetime)
	case (f.authority == "") != (f.authorityRoots == ""):
		return misused("--tsa, --tsa-cert: want both or none")
	case f.proxy != "" && f.authority == "":
		return misused("--proxy: needs --tsa")
	case f.feed != "" && f.trust == "":
		return misused("--feed: needs --trust")
	}
	return nil
}

func countSet(values ...string) int {
	set := 0
	for _, v := range values {
		if v != "" {
			set++
		}
	}
	return set
}

func (p *program) sign(ctx context.Context, f signFlags) error {
	now := p.now()
	mitigations, err := publish.ReadDirectory(os.DirFS(f.in))
	if err != nil {
		return fmt.Errorf("%s: %w", f.in, err)
	}
	request := publish.SignRequest{Mitigations: mitigations, Publisher: f.publisher, Sequence: f.sequence, Issued: now, Lifetime: f.lifetime}
	if err := p.addKey(ctx, f, &request); err != nil {
		return err
	}
	if err := p.addPolicy(ctx, f, &request); err != nil {
		return err
	}
	if f.increaseFrom != "" {
		previous, err := readDocument(f.increaseFrom)
		if err != nil {
			return fmt.Errorf("previous document: %w", err)
		}
		if request.Sequence, err = publish.NextSequence(previous, request.Policy, now); err != nil {
			return err
		}
	}
	document, report, err := publish.Sign(request)
	if err != nil {
		return err
	}
	if err := writeDocument(f.out, document); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	report.File = f.out
	fmt.Fprint(p.stdout, report.Text())
	return nil
}

// addKey fills in certificates and key.
func (p *program) addKey(ctx context.Context, f signFlags, request *publish.SignRequest) error {
	if f.pkcs12 != "" {
		if err := addPKCS12(f, request); err != nil || f.certificates == "" {
			return err
		}
	}
	content, err := readFile(f.certificates, publish.MaxPEMBytes)
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	var public crypto.PublicKey
	if request.Certificates, public, err = publish.SigningCertificates(content); err != nil {
		return fmt.Errorf("%s: %w", f.certificates, err)
	}
	if f.signCommand != "" {
		request.Key, err = publish.NewCommandSigner(ctx, f.signCommand, public, p.stderr)
		return err
	}
	if f.pkcs12 != "" {
		return nil
	}
	if content, err = readFile(f.key, publish.MaxPEMBytes); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if request.Key, err = publish.ParseKey(content); err != nil {
		return fmt.Errorf("%s: %w", f.key, err)
	}
	return nil
}

func addPKCS12(f signFlags, request *publish.SignRequest) error {
	password, given := os.LookupEnv(passwordVariable)
	if f.passwordFile != "" {
		content, err := readFile(f.passwordFile, publish.MaxPasswordBytes+1)
		if err != nil {
			return fmt.Errorf("password file: %w", err)
		}
		if password, err = publish.ParsePassword(content); err != nil {
			return err
		}
	} else if !given {
		return misused("--pkcs12: needs --password-file or the environment variable %s, which may be empty", passwordVariable)
	}
	content, err := readFile(f.pkcs12, publish.MaxPKCS12Bytes+1)
	if err != nil {
		return fmt.Errorf("PKCS#12: %w", err)
	}
	if request.Key, request.Certificates, err = publish.ParsePKCS12(content, password); err != nil {
		return fmt.Errorf("%s: %w", f.pkcs12, err)
	}
	return nil
}

// addPolicy fills in the policy for the own result, and the authority.
func (p *program) addPolicy(ctx context.Context, f signFlags, request *publish.SignRequest) (err error) {
	if f.trust != "" {
		if request.Policy, err = readPolicy(f.trust, f.feed); err != nil {
			return usageError{Err: err}
		}
	} else {
		request.Policy.Policy, err = publish.OwnChainPolicy(request.Certificates)
	}
	if err != nil || f.authority == "" {
		return err
	}
	content, err := readFile(f.authorityRoots, publish.MaxPEMBytes)
	if err != nil {
		return fmt.Errorf("time-stamping authority: %w", err)
	}
	roots, err := publish.ParseCertificates(content)
	if err != nil {
		return fmt.Errorf("time-stamping authority: %s: %w", f.authorityRoots, err)
	}
	if f.trust == "" {
		request.Policy.TimestampRoots = roots
	} else if len(request.Policy.TimestampRoots) == 0 {
		return errors.New("time-stamping authority: the trust policy has no timestampRoots, so that nobody under it would look at the counter-signature")
	}
	proxy, err := parseProxy(f.proxy)
	if err != nil {
		return err
	}
	authority := publish.Authority{URL: f.authority, Proxy: proxy, Roots: roots, Now: p.now}
	request.Timestamper = func(value []byte) ([]byte, error) { return authority.Timestamp(ctx, value) }
	return nil
}
