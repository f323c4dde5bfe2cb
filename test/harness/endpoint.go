package harness

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// endpointPath is where documents are served, as on the real service for Exchange.
const endpointPath = "/GetExchangeMitigations"

// Endpoint stands for the Office Config Service: it serves one document over HTTPS, or misbehaves as it is told.
type Endpoint struct {
	// URL is where the document is served. CABundle is the certificate, in PEM, that its TLS certificate chains to.
	URL, CABundle string

	address string
	tls     *tls.Config

	mu       sync.Mutex
	server   *http.Server
	answer   http.Handler
	requests int
}

// newEndpoint starts an endpoint that answers 404 until it gets a document.
func newEndpoint() (*Endpoint, error) {
	root, err := newAuthority("EMS harness endpoint")
	if err != nil {
		return nil, err
	}
	config, err := root.serverTLS()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		address: net.JoinHostPort(loopback, ports[0]), tls: config, CABundle: string(root.pem()), answer: http.NotFoundHandler(),
	}
	e.URL = "https://" + e.address + endpointPath
	return e, e.Up()
}

// Up starts to listen, again after Down.
func (e *Endpoint) Up() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", e.address) //nolint:noctx // it outlives every context, and there is no name to look up
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(e.serve), ReadHeaderTimeout: 10 * time.Second, TLSConfig: e.tls.Clone(),
		// Handshakes that fail on purpose would be printed in the middle of the story.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	e.server = server
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return nil
}

// Down stops to listen and cuts all connections: the endpoint is unreachable.
func (e *Endpoint) Down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		_ = e.server.Close()
		e.server = nil
	}
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests++
	answer := e.answer
	e.mu.Unlock()
	answer.ServeHTTP(w, r)
}

// Answer makes the endpoint answer every request by a handler.
func (e *Endpoint) Answer(handler http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = handler
}

// Serve makes the endpoint serve a document with an ETag, which spares readers that have it already the download.
func (e *Endpoint) Serve(document []byte) {
	digest := sha256.Sum256(document)
	tag := `"` + hex.EncodeToString(digest[:16]) + `"`
	e.Answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != endpointPath {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		_, _ = w.Write(document)
	})
}

// Stall makes the endpoint accept requests and never answer them.
func (e *Endpoint) Stall() {
	e.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Requests is the number of requests so far.
func (e *Endpoint) Requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}
