package service

import (
	"context"
	"errors"
	"time"

	"k8s.io/utils/clock"
)

const (
	// StopLimit is how long a program may take to stop: a change of IIS that has begun is ended, which takes seconds. What
	// is cut off after it is put right by the journal at the next start.
	StopLimit = 60 * time.Second
	// progressInterval is how often Windows is told of progress, and waitHint the time in which it may expect the next word.
	progressInterval = 2 * time.Second
	waitHint         = 10 * time.Second
)

// Exit codes of a service, beside those of the program.
const (
	// ExitFailed: the program could not begin, or ended although nobody had asked it to.
	ExitFailed = 1
	// ExitCutOff: the program did not stop in time.
	ExitCutOff = 3
)

// Program is what a service does. It ends when the context ends, and calls ready once its work has begun.
type Program func(ctx context.Context, ready func()) error

// Request is what Windows asks of a service.
type Request string

// The requests that the service answers. Windows sends PreShutdown before Shutdown, with more time.
const (
	StopRequest        Request = "Stop"
	ShutdownRequest    Request = "Shutdown"
	PreShutdownRequest Request = "PreShutdown"
	Interrogate        Request = "Interrogate"
)

// Report is what a service tells Windows.
type Report struct {
	State State
	// CheckPoint counts up while a state is pending.
	CheckPoint uint32
	// WaitHint is the time in which the next report may be expected.
	WaitHint time.Duration
}

// host runs a program between the requests of Windows and the reports to it. Each state is a function that returns the next.
type host struct {
	program  Program
	requests <-chan Request
	report   func(Report)
	clock    clock.WithTicker

	ctx        context.Context
	cancel     context.CancelFunc
	ready      chan struct{}
	ended      chan error
	last       Report
	checkPoint uint32
}

// stateFunc is a state: it returns the next one, or nil and the result when all is over.
type stateFunc func() (stateFunc, result)

type result struct {
	exitCode uint32
	err      error
}

// errUnasked stands for a program that ended without an error, but before anybody wanted it to.
var errUnasked = errors.New("the program ended although nobody had asked it to")

// errCutOff stands for a program that did not stop in time.
var errCutOff = errors.New("the program did not stop in time")

// run runs the program to its end and returns what it ended with.
func (h *host) run(ctx context.Context) result {
	h.ctx, h.cancel = context.WithCancel(ctx)
	defer h.cancel()
	h.ready, h.ended = make(chan struct{}, 1), make(chan error, 1)
	var last result
	for state := stateFunc(h.starting); state != nil; {
		state, last = state()
	}
	return last
}

// tell reports a state; a pending one with the next check point.
func (h *host) tell(state State) {
	r := Report{State: state}
	if state == StartPending || state == StopPending {
		h.checkPoint++
		r.CheckPoint, r.WaitHint = h.checkPoint, waitHint
	}
	h.last = r
	h.report(r)
}

// starting begins the program and waits until it says that it works.
func (h *host) starting() (stateFunc, result) {
	h.tell(StartPending)
	go func() {
		h.ended <- h.program(h.ctx, func() {
			select {
			case h.ready <- struct{}{}:
			default:
			}
		})
	}()
	progress := h.clock.NewTicker(progressInterval)
	defer progress.Stop()
	for {
		select {
		case <-h.ready:
			return h.running, result{}
		case err := <-h.ended:
			return nil, unasked(err)
		case r := <-h.requests:
			if h.isEnd(r) {
				return h.stopping, result{}
			}
		case <-progress.C():
			h.tell(StartPending)
		}
	}
}

// running waits for the request to stop.
func (h *host) running() (stateFunc, result) {
	h.checkPoint = 0
	h.tell(Running)
	for {
		select {
		case err := <-h.ended:
			return nil, unasked(err)
		case r := <-h.requests:
			if h.isEnd(r) {
				return h.stopping, result{}
			}
		}
	}
}

// stopping ends the program and waits until it has ended.
func (h *host) stopping() (stateFunc, result) {
	h.checkPoint = 0
	h.tell(StopPending)
	h.cancel()
	limit := h.clock.NewTimer(StopLimit)
	defer limit.Stop()
	progress := h.clock.NewTicker(progressInterval)
	defer progress.Stop()
	for {
		select {
		case err := <-h.ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				return nil, result{exitCode: ExitFailed, err: err}
			}
			return nil, result{}
		case r := <-h.requests:
			h.isEnd(r) // a second stop is answered by the state that is reported anyway
		case <-progress.C():
			h.tell(StopPending)
		case <-limit.C():
			return nil, result{exitCode: ExitCutOff, err: errCutOff}
		}
	}
}

// isEnd tells whether a request asks for the end, and answers the question for the state.
func (h *host) isEnd(r Request) bool {
	switch r {
	case StopRequest, ShutdownRequest, PreShutdownRequest:
		return true
	case Interrogate:
		h.report(h.last)
	}
	return false
}

// unasked is the result of a program that ended by itself.
func unasked(err error) result {
	if err == nil {
		err = errUnasked
	}
	return result{exitCode: ExitFailed, err: err}
}
