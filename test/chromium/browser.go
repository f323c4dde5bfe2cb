//go:build unix

package chromium

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// maxMessage limits one message of the browser; the picture of a long page has some megabytes.
const maxMessage = 64 << 20

// stopLimit is how long the browser may take to end by itself.
const stopLimit = 5 * time.Second

// Find says where a Chromium is: $EMS_CHROMIUM, or one of the usual names.
func Find() (path string, ok bool) {
	if path := os.Getenv("EMS_CHROMIUM"); path != "" {
		return path, true
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// Browser is a running Chromium.
type Browser struct {
	command *exec.Cmd
	profile string
	input   io.WriteCloser

	mu      sync.Mutex
	last    int
	answers map[int]chan message
	pages   map[string]*Page
	// gone is closed when the browser has hung up.
	gone chan struct{}
}

// message is one of the protocol: a command, its answer, or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a browser with an empty profile. The context ends it.
func Start(ctx context.Context, path string) (*Browser, error) {
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		return nil, fmt.Errorf("chromium: %w", err)
	}
	b := &Browser{profile: profile, answers: map[int]chan message{}, pages: map[string]*Page{}, gone: make(chan struct{})}
	if err := b.start(ctx, path); err != nil {
		_ = os.RemoveAll(profile)
		return nil, fmt.Errorf("chromium: %w", err)
	}
	return b, nil
}

func (b *Browser) start(ctx context.Context, path string) error {
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirIn.Close(), ourOut.Close())
	}
	b.command = exec.CommandContext(ctx, path,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--hide-scrollbars", "--force-color-profile=srgb",
		"--remote-debugging-pipe", "--user-data-dir="+b.profile, "about:blank")
	b.command.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the browser wants them
	err = b.command.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		return errors.Join(err, ourOut.Close(), ourIn.Close())
	}
	b.input = ourOut
	go b.listen(ourIn)
	return nil
}

// Stop ends the browser and removes its profile.
func (b *Browser) Stop() {
	_ = b.input.Close()
	done := make(chan struct{})
	go func() { _ = b.command.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopLimit):
		_ = b.command.Process.Kill()
		<-done
	}
	_ = os.RemoveAll(b.profile)
}

func (b *Browser) listen(from io.ReadCloser) {
	defer close(b.gone)
	defer from.Close()
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxMessage)
	lines.Split(func(data []byte, _ bool) (advance int, token []byte, err error) {
		if end := bytes.IndexByte(data, 0); end >= 0 {
			return end + 1, data[:end], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		b.mu.Lock()
		answer, page := b.answers[m.ID], b.pages[m.Session]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case page != nil:
			page.event(m)
		}
	}
}

// call sends a command and waits for its answer.
func (b *Browser) call(ctx context.Context, session, method string, params, result any) error {
	encoded, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("chromium: %s: %w", method, err)
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, Method: method, Params: encoded, Session: session}
	b.answers[m.ID] = answer
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.input.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("chromium: %s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("chromium: %s: %w", method, ctx.Err())
	case <-b.gone:
		return fmt.Errorf("chromium: %s: the browser has ended", method)
	case m = <-answer:
	}
	if m.Error != nil {
		return fmt.Errorf("chromium: %s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		return fmt.Errorf("chromium: %s: %w", method, err)
	}
	return nil
}
