package walk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Shell is one bash that runs commands one after the other, as on a terminal.
type Shell struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	count int
}

// Open starts a shell in a folder. Close ends it, and what it has left in the background.
func Open(ctx context.Context, folder string, environment []string) (*Shell, error) {
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	cmd.Dir, cmd.Env = folder, environment
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	s := &Shell{cmd: cmd, stdin: stdin, lines: make(chan string, 1024)}
	go func() {
		defer close(s.lines)
		reader := bufio.NewReader(output)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				s.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	// What Background has started is a group of processes; what a page has started with & is a process.
	// A group may need a while, and the shell waits for its own children only.
	const end = `trap 'for j in $(jobs -p); do kill -- -$j || kill $j; done 2>/dev/null; wait
for ((i = 0; i < 150; i++)); do kill -0 -- -$__job 2>/dev/null || break; sleep 0.2; done' EXIT
__job=999999999
`
	_, err = io.WriteString(stdin, end)
	return s, err
}

// Close ends the shell. It waits for what runs in the background.
func (s *Shell) Close() error {
	err := s.stdin.Close()
	for range s.lines {
		continue
	}
	return errors.Join(err, s.cmd.Wait())
}

// ErrOver is the error of a command that takes too long. The shell cannot be used afterwards.
var ErrOver = errors.New("took too long")

// Run runs a command and returns what it prints, on both streams, and its exit code.
func (s *Shell) Run(ctx context.Context, command string, limit time.Duration) (output string, exit int, err error) {
	s.count++
	mark := fmt.Sprintf("\x1e%d ", s.count)
	// Braces, and not a subshell, so that cd and export last. The printf begins on a line of its own, also where the output does not end with one.
	script := fmt.Sprintf("{ %s\n} </dev/null\nprintf '\\n\\036%d %%d\\n' $?\n", command, s.count)
	if _, err := io.WriteString(s.stdin, script); err != nil {
		return "", 0, fmt.Errorf("shell: %w", err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var text strings.Builder
	for {
		select {
		case <-ctx.Done():
			return text.String(), 0, ctx.Err()
		case <-timer.C:
			return text.String(), 0, fmt.Errorf("%w: more than %s", ErrOver, limit)
		case line, ok := <-s.lines:
			if !ok {
				return text.String(), 0, errors.New("the shell has ended")
			}
			code, found := strings.CutPrefix(line, mark)
			if !found {
				text.WriteString(line)
				continue
			}
			exit, err := strconv.Atoi(strings.TrimSpace(code))
			return strings.TrimSuffix(text.String(), "\n"), exit, err
		}
	}
}

// Background starts a command that goes on, and waits until it has printed a text.
func (s *Shell) Background(ctx context.Context, command, until string, limit time.Duration) (output string, err error) {
	seconds := int(limit.Seconds())
	// With job control it gets a process group of its own: a signal for a shell or for make alone does not reach their children.
	script := fmt.Sprintf(`__log=$(mktemp); set -m; { %s
} >"$__log" 2>&1 & __job=$!; set +m
for ((__i = 0; __i < %d; __i++)); do
  if grep -qF -- %s "$__log"; then break; fi
  if ! kill -0 $__job 2>/dev/null; then break; fi
  sleep 1
done
cat "$__log"; grep -qF -- %s "$__log"; __found=$?; rm -f "$__log"; (exit $__found)`, command, seconds, quote(until), quote(until))
	output, exit, err := s.Run(ctx, script, limit+time.Minute)
	if err == nil && exit != 0 {
		err = fmt.Errorf("it did not print %q", until)
	}
	return output, err
}

// quote makes one word of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
