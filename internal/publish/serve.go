package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
)

const (
	// serveHeaderTimeout and the following keep slow clients from holding connections: a document of 1 MiB goes
	// over a line of 300 kbit/s within the time for writing.
	serveHeaderTimeout = 5 * time.Second
	serveReadTimeout   = 10 * time.Second
	serveWriteTimeout  = 30 * time.Second
	serveIdleTimeout   = 60 * time.Second
	// serveHeaderBytes bounds a request's headers.
	serveHeaderBytes = 16 << 10
	// stopTimeout is what running answers get to finish at the end.
	stopTimeout = 10 * time.Second
	// settleTime is how long files have to be quiet before they are read again: a replacement is several events.
	settleTime = 100 * time.Millisecond
	// settleAtMost bounds the wait for that: another file in the folder, such as a log, may never be quiet.
	settleAtMost = time.Second
)

// ServerOptions says what to serve and how.
type ServerOptions struct {
	// Document is the file. It is read again when it changes, also through a symbolic link as Kubernetes replaces them.
	Document string
	// Path is the only path that is answered, such as /mitigations.xml.
	Path string
	// Read reads the file; the caller bounds its size.
	Read func(file string) ([]byte, error)
	// Check refuses documents beyond what cannot be parsed. Nil: nothing else is refused.
	Check func(document []byte) error
	// Certificate is for TLS. It is read again when it changes, like the document.
	Certificate *KeyPair
	// MaxWaiting is how many requests are held at once for the next document. 0: none, every request is answered at once.
	MaxWaiting int
	Log        logr.Logger
}

// Server serves one document.
type Server struct {
	options ServerOptions
	current atomic.Pointer[served]
	// said are the problems that were logged last. They are not repeated: a log that stands in the watched folder would bring
	// about the next look, and so on for ever.
	said struct{ document, certificate string }
	// reloading lets one goroutine at a time replace the document.
	reloading sync.Mutex
	// waiting counts the requests that are held.
	waiting atomic.Int64
	// stopping ends when the server does.
	stopping chan struct{}
	stopOnce sync.Once
}

// served is a document that can be served.
type served struct {
	body []byte
	etag string
	// replaced ends when another document is served.
	replaced chan struct{}
}

// NewServer reads the document and refuses one that cannot be served.
func NewServer(options ServerOptions) (*Server, error) {
	s := &Server{options: options, stopping: make(chan struct{})}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the document again and reports whether it is another one, and then answers those who wait for it. With an error, the one before goes on being
// served: clients are better off with it than with none.
func (s *Server) Reload() (changed bool, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	body, err := s.options.Read(s.options.Document)
	if err != nil {
		return false, fmt.Errorf("document: %w", err)
	}
	parsed, signed, err := ReadUnverified(body)
	switch {
	case err != nil:
		return false, fmt.Errorf("%s: %w", s.options.Document, err)
	case !signed:
		return false, fmt.Errorf("%s: %w", s.options.Document, errUnsigned)
	}
	if s.options.Check != nil {
		if err := s.options.Check(body); err != nil {
			return false, fmt.Errorf("%s: %w", s.options.Document, err)
		}
	}
	// A strong entity tag stands for the very bytes (RFC 9110, section 8.8.1), so it is not the document's own digest.
	digest := sha256.Sum256(body)
	next := &served{body: body, etag: `"` + hex.EncodeToString(digest[:]) + `"`, replaced: make(chan struct{})}
	before := s.current.Load()
	if before != nil && before.etag == next.etag {
		return false, nil
	}
	s.current.Store(next)
	if before != nil {
		close(before.replaced)
	}
	s.options.Log.Info("Serving document", "file", s.options.Document, "bytes", len(body), "etag", next.etag,
		"sequence", parsed.Sequence, "mitigations", len(parsed.Configs), "refused", len(parsed.Refused))
	return true, nil
}

// ServeHTTP implements http.Handler and writes the access log.
func (s *Server) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	start := time.Now()
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	waited := s.answer(recorder, request)
	s.options.Log.Info("Request", "client", request.RemoteAddr, "method", request.Method, "path", request.URL.Path,
		"status", recorder.status, "bytes", recorder.bytes, "took", time.Since(start).String(), "waited", waited.String(), "agent", request.UserAgent())
}

func (s *Server) answer(w http.ResponseWriter, request *http.Request) (waited time.Duration) {
	switch {
	case request.URL.Path != s.options.Path:
		http.NotFound(w, request)
		return 0
	case request.Method != http.MethodGet && request.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return 0
	}
	waited = s.hold(w, request)
	document := s.current.Load()
	header := w.Header()
	header.Set("Content-Type", "application/xml; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	// Caches on the way may keep it, and have to ask whether it is still the one.
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", document.etag)
	// It answers If-None-Match and HEAD.
	http.ServeContent(w, request, "", time.Time{}, bytes.NewReader(document.body))
	return waited
}

// statusRecorder remembers what the access log wants to know.
type statusRecorder struct {
	http.ResponseWriter

	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Write implements http.ResponseWriter.
func (r *statusRecorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Run serves until ctx ends, over TLS, and then lets running answers finish.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return errors.Join(fmt.Errorf("watch: %w", err), listener.Close())
	}
	defer func() { _ = watcher.Close() }()
	// The folder, not the file: a file that is replaced is another file to the watcher.
	for _, file := range []string{s.options.Document, s.options.Certificate.certificateFile, s.options.Certificate.keyFile} {
		if err := watcher.Add(filepath.Dir(file)); err != nil {
			return errors.Join(fmt.Errorf("watch: %w", err), listener.Close())
		}
	}
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: serveHeaderTimeout, ReadTimeout: serveReadTimeout,
		WriteTimeout: serveWriteTimeout, IdleTimeout: serveIdleTimeout, MaxHeaderBytes: serveHeaderBytes,
		// Broken handshakes; the default would go past the log.
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.options.Log), slog.LevelInfo),
	}
	ended := make(chan error, 1)
	// Without an entry for it in the TLS configuration, HTTP/2 is not spoken: a document an hour gains nothing by it.
	go func() { ended <- server.Serve(tls.NewListener(listener, s.options.Certificate.config())) }()
	s.options.Log.Info("Listening", "address", listener.Addr().String(), "path", s.options.Path)
	// Between the first reading and the watch the file may have changed.
	s.reloadAndLog()
	if err := s.follow(ctx, watcher, ended); err != nil {
		return err
	}
	s.options.Log.Info("Stopping")
	s.stopOnce.Do(func() { close(s.stopping) })
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// follow reloads the document as files change, until ctx ends. The error is that of a server or a watcher that gave up.
func (s *Server) follow(ctx context.Context, watcher *fsnotify.Watcher, ended <-chan error) error {
	settled := time.NewTimer(settleTime)
	settled.Stop()
	defer settled.Stop()
	// unsettled is when the first change came that was not looked at yet.
	var unsettled time.Time
	changed := func() {
		if unsettled.IsZero() {
			unsettled = time.Now()
		}
		settled.Reset(min(settleTime, max(0, settleAtMost-time.Since(unsettled))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return fmt.Errorf("serve: %w", err)
		case <-settled.C:
			unsettled = time.Time{}
			s.reloadAndLog()
		case _, ok := <-watcher.Events:
			if !ok {
				return errors.New("watch: ended")
			}
			changed()
		case err := <-watcher.Errors:
			// Events may be lost; what is there now can be read all the same.
			s.options.Log.Error(err, "Watching failed", "file", s.options.Document)
			changed()
		}
	}
}

func (s *Server) reloadAndLog() {
	_, err := s.Reload()
	if isNews(err, &s.said.document) {
		s.options.Log.Error(err, "Document not taken, the one before is still served")
	}
	changed, err := s.options.Certificate.Reload()
	if isNews(err, &s.said.certificate) {
		s.options.Log.Error(err, "Certificate not taken, the one before is still used")
	}
	if changed {
		s.options.Log.Info("Using another certificate", "file", s.options.Certificate.certificateFile)
	}
}

// isNews reports whether a problem is another one than was said last, and notes it.
func isNews(problem error, said *string) bool {
	if problem == nil {
		*said = ""
		return false
	}
	before := *said
	*said = problem.Error()
	return *said != before
}
