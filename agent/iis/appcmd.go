package iis

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// appcmdTimeout bounds one call. appcmd only hands the request to WAS, which takes well under a second; half a minute
// is for a server under attack.
const appcmdTimeout = 30 * time.Second

// maxAppcmdOutput bounds what is read of the output; a listing of one pool has 200 bytes.
const maxAppcmdOutput = 64 << 10

// AppCmd controls the pools of a Windows server with appcmd.exe. Exit codes decide, never the text, which is translated
// on a localised Windows. Checked so far only against the recorded behaviour of the reference, not against a server.
type AppCmd struct {
	path string
	run  func(ctx context.Context, path string, args []string) (output []byte, exitCode int, err error)
}

var _ PoolController = (*AppCmd)(nil)

// NewAppCmd makes a controller that runs the appcmd.exe at that path, which is inetsrv\appcmd.exe in the system folder.
func NewAppCmd(path string) *AppCmd { return &AppCmd{path: path, run: runCommand} }

// State implements PoolController.
func (a *AppCmd) State(ctx context.Context, pool string) (PoolState, error) {
	output, err := a.call(ctx, "list", pool)
	if err != nil {
		return PoolUnknown, err
	}
	var listing struct {
		Pools []struct {
			Name  string `xml:"APPPOOL.NAME,attr"`
			State string `xml:"state,attr"`
		} `xml:"APPPOOL"`
	}
	if err := xml.Unmarshal(output, &listing); err != nil {
		return PoolUnknown, fmt.Errorf("appcmd: list %q: output: %w", pool, err)
	}
	for _, p := range listing.Pools {
		if !strings.EqualFold(p.Name, pool) {
			continue
		}
		switch s := PoolState(p.State); s {
		case PoolStarted, PoolStopped, PoolStarting, PoolStopping:
			return s, nil
		default:
			return PoolUnknown, nil
		}
	}
	return PoolUnknown, fmt.Errorf("appcmd: list %q: %w", pool, ErrPoolNotFound)
}

// Start implements PoolController.
func (a *AppCmd) Start(ctx context.Context, pool string) error {
	_, err := a.call(ctx, "start", pool)
	return err
}

// Stop implements PoolController.
func (a *AppCmd) Stop(ctx context.Context, pool string) error {
	_, err := a.call(ctx, "stop", pool)
	return err
}

// Exit codes: the Win32 part of the error, except 1, which list gives for an object that does not exist.
const (
	exitHelpOrUnknown  = 1
	exitNotSupported   = 50   // WAS does not run, or the process is not elevated
	exitAlreadyRunning = 1056 // expected by analogy with 1062, not yet seen
	exitNotActive      = 1062
	exitNotFound       = 1168
)

func (a *AppCmd) call(ctx context.Context, verb, pool string) ([]byte, error) {
	// appcmd takes an argument that begins with a slash for an option. The schema forbids these characters in names.
	if pool == "" || strings.ContainsAny(pool, `|<>&"/[]+=;:,?*@\`) {
		return nil, fmt.Errorf("appcmd: %s %q: not a name of an application pool: %w", verb, pool, ErrPoolNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, appcmdTimeout)
	defer cancel()
	output, code, err := a.run(ctx, a.path, []string{verb, "apppool", pool, "/xml"})
	if err != nil {
		return nil, fmt.Errorf("appcmd: %s %q: %w", verb, pool, err)
	}
	cause := error(nil)
	switch {
	case code == 0:
		return output, nil
	case code == exitNotFound, code == exitHelpOrUnknown && verb == "list":
		cause = ErrPoolNotFound
	case code == exitNotActive:
		cause = ErrPoolNotRunning
	case code == exitAlreadyRunning:
		cause = ErrPoolRunning
	case code == exitNotSupported:
		cause = ErrPoolsUnavailable
	default:
		text := strings.Join(strings.Fields(string(output)), " ")
		return nil, fmt.Errorf("appcmd: %s %q: exit code %d: %.300q", verb, pool, code, text)
	}
	return nil, fmt.Errorf("appcmd: %s %q: exit code %d: %w", verb, pool, code, cause)
}

func runCommand(ctx context.Context, path string, args []string) ([]byte, int, error) {
	var output limitedBuffer
	cmd := exec.CommandContext(ctx, path, args...)
	// Errors go to one or the other, depending on the version.
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return output.Bytes(), exit.ExitCode(), nil
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return output.Bytes(), 0, err
}

// limitedBuffer keeps the first part of an output and drops the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxAppcmdOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
