package windows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// Variables that make the test program a supervisor: the address to listen at, and the socket that leads out.
const (
	supervisorAddress = "EMS_TEST_SUPERVISOR_ADDRESS"
	supervisorSocket  = "EMS_TEST_SUPERVISOR_SOCKET"
)

// order is a command for the supervisor, result what became of it.
type order struct {
	Args []string
	// Detached starts the command and does not wait for it.
	Detached bool
	// Seconds is the time that it may take.
	Seconds int
}

type result struct {
	Output  string
	Code    int
	Problem string
}

// supervise carries out orders from the standard input until it ends.
func supervise() error {
	listener, err := net.Listen("tcp", os.Getenv(supervisorAddress))
	if err != nil {
		return err
	}
	go relay(listener, func() (net.Conn, error) { return net.Dial("unix", os.Getenv(supervisorSocket)) })
	orders, results := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := results.Encode(carryOut(o)); err != nil {
			return err
		}
	}
}

func carryOut(o order) result {
	if o.Detached {
		// Nobody reads what it says: with a pipe that somebody else keeps open, Wait would never end.
		if err := exec.Command(o.Args[0], o.Args[1:]...).Start(); err != nil {
			return result{Problem: err.Error()}
		}
		return result{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.Seconds)*time.Second) //nolint:forbidigo // there is no test in this process
	defer cancel()
	command := exec.CommandContext(ctx, o.Args[0], o.Args[1:]...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	// Services that a command starts keep its outputs open.
	command.WaitDelay = 2 * time.Second
	err := command.Run()
	r := result{Output: output.String(), Code: -1}
	if command.ProcessState != nil {
		r.Code = command.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		r.Problem = err.Error()
	}
	if ctx.Err() != nil {
		r.Problem = "took too long"
	}
	return r
}

// relay connects every connection of a listener with one of dial's, until the listener is closed.
func relay(listener net.Listener, dial func() (net.Conn, error)) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = in.Close() }()
			out, err := dial()
			if err != nil {
				return
			}
			defer func() { _ = out.Close() }()
			done := make(chan struct{}, 2)
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					done <- struct{}{}
				}()
			}
			<-done
		}()
	}
}
