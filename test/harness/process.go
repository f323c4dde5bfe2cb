package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// stopGrace is how long a process has to end by itself before it is killed. The API server, the slowest to stop, needs a
// second or two on an idle machine.
const stopGrace = 10 * time.Second

// Process is a program that can be started, stopped, killed and started again with the same arguments.
type Process struct {
	// Name is for messages.
	Name string
	// Path is that of the program, Args are its arguments.
	Path string
	Args []string
	// LogPath is the file that receives both outputs; it is appended to.
	LogPath string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts the process. It is an error if it runs already.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("process: %s: runs already", p.Name)
	}
	if err := os.MkdirAll(filepath.Dir(p.LogPath), 0o755); err != nil {
		return fmt.Errorf("process: %s: log: %w", p.Name, err)
	}
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("process: %s: log: %w", p.Name, err)
	}
	cmd := exec.Command(p.Path, p.Args...) //nolint:noctx // it runs until it is stopped, whatever becomes of the context of its start
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownGroup()
	err = spawn(cmd)
	// The child has its own copy of the descriptor.
	closeErr := log.Close()
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("process: %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(done)
	}()
	p.cmd, p.done = cmd, done
	return nil
}

// Running tells whether the process runs.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid is the id of the process that runs or ran last, 0 if it never did.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Stop asks the process to end and waits until it has; one that does not end in time is killed.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return
	}
	terminate(p.cmd.Process)
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
	// Children of the process, if it had any, go with it.
	kill(p.cmd.Process)
	<-p.done
}

// Kill ends the process at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return
	}
	kill(p.cmd.Process)
	<-p.done
}

// Tail returns the last lines of the log.
func (p *Process) Tail(lines int) string {
	const most = 64 << 10 // enough for hundreds of log lines
	file, err := os.Open(p.LogPath)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, 2)
	}
	var content bytes.Buffer
	if _, err := content.ReadFrom(file); err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(content.String(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// processes are all that were started, so that none is left behind.
type processes struct {
	mu   sync.Mutex
	list []*Process
}

func (s *processes) add(p *Process) *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, p)
	return p
}

func (s *processes) all() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// stop ends all, the last started first.
func (s *processes) stop() {
	for _, p := range slices.Backward(s.all()) {
		p.Stop()
	}
}
