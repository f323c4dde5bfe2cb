package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

// scene is a host with a program in the hands of a test.
type scene struct {
	*testing.T
	clock    *clocktesting.FakeClock
	requests chan Request
	reports  chan Report
	// begin makes the program ready, end ends it.
	begin    chan struct{}
	end      chan error
	canceled chan struct{}
	result   chan result
}

func newScene(t *testing.T) *scene {
	s := &scene{
		T: t, clock: clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)), requests: make(chan Request),
		reports: make(chan Report), begin: make(chan struct{}), end: make(chan error), canceled: make(chan struct{}), result: make(chan result, 1),
	}
	h := &host{clock: s.clock, requests: s.requests, report: func(r Report) { s.reports <- r }, program: func(ctx context.Context, ready func()) error {
		go func() {
			<-ctx.Done()
			close(s.canceled)
		}()
		for {
			select {
			case <-s.begin:
				ready()
				ready() // is harmless
			case err := <-s.end:
				return err
			}
		}
	}}
	go func() { s.result <- h.run(t.Context()) }()
	return s
}

func (s *scene) want(want Report) {
	s.Helper()
	if diff := cmp.Diff(want, <-s.reports); diff != "" {
		s.Errorf("report (-want +got):\n%s", diff)
	}
}

// progress lets the time pass after which Windows is told again.
func (s *scene) progress(waiters int) {
	s.Helper()
	for s.clock.Waiters() < waiters {
		s.wait()
	}
	s.clock.Step(progressInterval)
}

// wait gives way to the other goroutines.
func (s *scene) wait() { <-time.After(time.Millisecond) }

func TestAServiceStartsRunsAndStops(t *testing.T) {
	for _, request := range []Request{StopRequest, ShutdownRequest, PreShutdownRequest} {
		t.Run(string(request), func(t *testing.T) {
			s := newScene(t)
			s.want(Report{State: StartPending, CheckPoint: 1, WaitHint: waitHint})
			s.progress(1)
			s.want(Report{State: StartPending, CheckPoint: 2, WaitHint: waitHint})
			s.begin <- struct{}{}
			s.want(Report{State: Running})
			s.requests <- Interrogate
			s.want(Report{State: Running})
			s.requests <- "" // one that is not known is not answered
			s.requests <- request
			s.want(Report{State: StopPending, CheckPoint: 1, WaitHint: waitHint})
			<-s.canceled
			s.progress(2)
			s.want(Report{State: StopPending, CheckPoint: 2, WaitHint: waitHint})
			s.requests <- Interrogate
			s.want(Report{State: StopPending, CheckPoint: 2, WaitHint: waitHint})
			select {
			case r := <-s.result:
				t.Fatalf("the service ended before its program: %+v", r)
			default:
			}
			s.end <- context.Canceled
			if r := <-s.result; r.exitCode != 0 || r.err != nil {
				t.Errorf("result %+v", r)
			}
		})
	}
}

func TestAServiceStopsWhileItStarts(t *testing.T) {
	s := newScene(t)
	s.want(Report{State: StartPending, CheckPoint: 1, WaitHint: waitHint})
	s.requests <- StopRequest
	s.want(Report{State: StopPending, CheckPoint: 1, WaitHint: waitHint})
	<-s.canceled
	s.end <- nil
	if r := <-s.result; r.exitCode != 0 || r.err != nil {
		t.Errorf("result %+v", r)
	}
}

func TestAProgramThatEndsUnaskedIsAFailure(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		ready     bool
		err, want error
	}{
		"at its start":                   {false, boom, boom},
		"later":                          {true, boom, boom},
		"without an error":               {true, nil, errUnasked},
		"at its start, without an error": {false, nil, errUnasked},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.want(Report{State: StartPending, CheckPoint: 1, WaitHint: waitHint})
			if tc.ready {
				s.begin <- struct{}{}
				s.want(Report{State: Running})
			}
			s.end <- tc.err
			if r := <-s.result; r.exitCode != ExitFailed || !errors.Is(r.err, tc.want) {
				t.Errorf("result %+v", r)
			}
		})
	}
}

func TestAFailureWhileStoppingIsTold(t *testing.T) {
	s := newScene(t)
	<-s.reports
	s.requests <- StopRequest
	<-s.reports
	boom := errors.New("boom")
	s.end <- boom
	if r := <-s.result; r.exitCode != ExitFailed || !errors.Is(r.err, boom) {
		t.Errorf("result %+v", r)
	}
}

func TestAProgramThatDoesNotStopIsCutOff(t *testing.T) {
	s := newScene(t)
	<-s.reports
	s.requests <- StopRequest
	<-s.reports
	<-s.canceled
	go func() {
		for range s.reports { // progress goes on being told
		}
	}()
	for s.clock.Waiters() < 2 {
		s.wait()
	}
	s.clock.Step(StopLimit)
	if r := <-s.result; r.exitCode != ExitCutOff || !errors.Is(r.err, errCutOff) {
		t.Errorf("result %+v", r)
	}
	s.end <- nil
	close(s.reports)
}
