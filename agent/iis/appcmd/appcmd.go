package appcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/iis/control"
)

const (
	// timeout bounds one call. appcmd only hands the request to WAS, which takes well under a second; half a minute is
	// for a server under attack.
	timeout = 30 * time.Second
	// reads is how often a read is tried when the connection to the service breaks, with readPause in between: the
	// service is restarting its worker, which takes about a second.
	reads     = 4
	readPause = 500 * time.Millisecond
	// maxOutput bounds what is kept of an output. A listing of one pool has 200 bytes; a section of rules is as long as
	// the rules of all levels together, and a document brings at most 1 MiB of them.
	maxOutput = 4 << 20
)

// Driver runs appcmd.exe.
type Driver struct {
	path  string
	clock clock.Clock
	run   func(ctx context.Context, path string, args []string) (output []byte, exitCode int, err error)
}

var (
	_ control.PoolController = (*Driver)(nil)
	_ control.Lister         = (*Driver)(nil)
)

// New makes a driver that runs the appcmd.exe at that path, which is inetsrv\appcmd.exe in the system folder.
func New(path string) *Driver {
	return &Driver{path: path, clock: clock.RealClock{}, run: func(ctx context.Context, path string, args []string) ([]byte, int, error) {
		return runCommand(ctx, path, args, (*exec.ExitError).ExitCode)
	}}
}

// State implements control.PoolController.
func (d *Driver) State(ctx context.Context, pool string) (control.PoolState, error) {
	if err := checkPool("list", pool); err != nil {
		return control.PoolUnknown, err
	}
	output, err := d.read(ctx, "list", "apppool", pool, "/xml")
	if err != nil {
		return control.PoolUnknown, fmt.Errorf("appcmd: list %q: %w", pool, err)
	}
	states, err := parsePools(output)
	if err != nil {
		return control.PoolUnknown, fmt.Errorf("appcmd: list %q: output: %w", pool, err)
	}
	for _, p := range states {
		if strings.EqualFold(p.Name, pool) {
			return p.State, nil
		}
	}
	return control.PoolUnknown, fmt.Errorf("appcmd: list %q: %w", pool, control.ErrPoolNotFound)
}

// Pools implements control.Lister.
func (d *Driver) Pools(ctx context.Context) ([]control.Pool, error) {
	return list(ctx, d, "apppool", parsePools)
}

// Sites implements control.Lister.
func (d *Driver) Sites(ctx context.Context) ([]control.Site, error) {
	return list(ctx, d, "site", parseSites)
}

// list lists all objects of a kind.
func list[T any](ctx context.Context, d *Driver, kind string, parse func([]byte) ([]T, error)) ([]T, error) {
	output, err := d.read(ctx, "list", kind, "/xml")
	if errors.Is(err, control.ErrPoolNotFound) {
		return nil, nil // the exit code of a list without anything in it
	}
	if err != nil {
		return nil, fmt.Errorf("appcmd: list %ss: %w", kind, err)
	}
	objects, err := parse(output)
	if err != nil {
		return nil, fmt.Errorf("appcmd: list %ss: output: %w", kind, err)
	}
	return objects, nil
}

// Start implements control.PoolController.
func (d *Driver) Start(ctx context.Context, pool string) error { return d.change(ctx, "start", pool) }

// Stop implements control.PoolController.
func (d *Driver) Stop(ctx context.Context, pool string) error { return d.change(ctx, "stop", pool) }

func (d *Driver) change(ctx context.Context, verb, pool string) error {
	if err := checkPool(verb, pool); err != nil {
		return err
	}
	if _, err := d.call(ctx, verb, "apppool", pool, "/xml"); err != nil {
		return fmt.Errorf("appcmd: %s %q: %w", verb, pool, err)
	}
	return nil
}

// checkPool refuses what appcmd would not take for a name: an argument that begins with a slash is an option, and the
// schema forbids these characters in names.
func checkPool(verb, pool string) error {
	if pool == "" || strings.ContainsAny(pool, `|<>&"/[]+=;:,?*@\`) {
		return fmt.Errorf("appcmd: %s %q: not a name of an application pool: %w", verb, pool, control.ErrPoolNotFound)
	}
	return nil
}

// Codes of errors: the exit code, or the Win32 part of an hresult in the output.
const (
	codeHelpOrUnknown  = 1
	codeNotSupported   = 50   // WAS does not run, or the process is not elevated
	codeAlreadyRunning = 1056 // expected by analogy with 1062, not yet seen
	codeNotActive      = 1062
	codeNotFound       = 1168
	codeCallFailed     = 1726       // RPC_S_CALL_FAILED, also as hresult 800706be
	codeDisconnected   = 0x80010006 // RPC_E_CONNECTION_TERMINATED, seen as 2147549190
)

// failure is a call that ended with an exit code.
type failure struct {
	exit   int
	code   uint32 // the exit code, or what the output says beside an exit code that says nothing
	output []byte
	cause  error // one of package control, or nil
}

func (f *failure) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("exit code %d: %v", f.exit, f.cause)
	}
	return fmt.Sprintf("exit code %d: %.300q", f.exit, strings.Join(strings.Fields(string(f.output)), " "))
}

func (f *failure) Unwrap() error { return f.cause }

func (f *failure) transient() bool { return f.code == codeCallFailed || f.code == codeDisconnected }

// hresult stands in messages of every language.
var hresult = regexp.MustCompile(`(?i)\bhresult:(?:0x)?([0-9a-f]{8})\b`)

// codeOf gives the code of an error. An hresult of facility Win32 stands for its Win32 part.
func codeOf(exit int, output []byte) uint32 {
	code := uint32(exit) //nolint:gosec // exit codes of Windows are 32 bits wide
	if match := hresult.FindSubmatch(output); match != nil && code == codeHelpOrUnknown {
		if h, err := strconv.ParseUint(string(match[1]), 16, 32); err == nil {
			code = uint32(h)
		}
	}
	if code>>16 == 0x8007 {
		code &= 0xffff
	}
	return code
}

func causeOf(verb string, code uint32) error {
	switch {
	case code == codeNotFound, code == codeHelpOrUnknown && verb == "list":
		return control.ErrPoolNotFound
	case code == codeNotActive:
		return control.ErrPoolNotRunning
	case code == codeAlreadyRunning:
		return control.ErrPoolRunning
	case code == codeNotSupported:
		return control.ErrPoolsUnavailable
	}
	return nil
}

// read makes a call that changes nothing, again while the connection to the service breaks.
func (d *Driver) read(ctx context.Context, args ...string) ([]byte, error) {
	for n := 1; ; n++ {
		output, err := d.call(ctx, args...)
		var failed *failure
		if !errors.As(err, &failed) || !failed.transient() || n == reads {
			return output, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-d.clock.After(readPause):
		}
	}
}

func (d *Driver) call(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	output, exit, err := d.run(ctx, d.path, args)
	if err != nil {
		return nil, err
	}
	if exit == 0 {
		return output, nil
	}
	code := codeOf(exit, output)
	return nil, &failure{exit: exit, code: code, output: output, cause: causeOf(args[0], code)}
}

// runCommand runs a program to its end. exitCode takes the code from an error; programs that stand in for appcmd.exe
// elsewhere have only eight bits for it.
func runCommand(ctx context.Context, path string, args []string, exitCode func(*exec.ExitError) int) ([]byte, int, error) {
	var output limitedBuffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if output.cut && err == nil {
		return nil, 0, fmt.Errorf("more than %d bytes of output", maxOutput)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return output.Bytes(), exitCode(exit), nil
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return output.Bytes(), 0, err
}

// limitedBuffer keeps the first part of an output and drops the rest.
type limitedBuffer struct {
	bytes.Buffer
	cut bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := min(maxOutput-b.Len(), len(p))
	b.Buffer.Write(p[:room])
	b.cut = b.cut || room < len(p)
	return len(p), nil
}
