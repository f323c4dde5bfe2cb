package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/iisserver"
)

// site answers for the sites of all servers: each has a loopback address of its own, and all have one port.
type site struct {
	port   int
	server *http.Server

	mu      sync.Mutex
	servers map[string]http.Handler
}

func newSite() (*site, error) {
	// Every loopback address at once; who comes from elsewhere is turned away.
	listener, err := net.Listen("tcp4", "0.0.0.0:0") //nolint:noctx,gosec // it outlives every context; see above
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("site: %T is no address", listener.Addr())
	}
	s := &site{port: address.Port, servers: map[string]http.Handler{}}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return s, nil
}

// add serves the site of a server and returns its address.
func (s *site) add(number int, root string) string {
	address := fmt.Sprintf("127.%d.%d.%d", 1+number/62500, 1+number/250%250, 1+number%250)
	handler := iisserver.New(root, harness.Site)
	handler.Application = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers[address] = handler
	return address
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !asked.IP.IsLoopback() {
		http.Error(w, "not from here", http.StatusForbidden)
		return
	}
	s.mu.Lock()
	handler := s.servers[asked.IP.String()]
	s.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler.ServeHTTP(w, r)
}

func (s *site) close() { _ = s.server.Close() }
