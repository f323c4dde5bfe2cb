package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"mitigation.dev/ems/test/iisserver"
)

// Dropped is the status of a request whose connection was closed without an answer.
const Dropped = 0

// SitePort is the port of the servers' sites, which every server has on a loopback address of its own; 0 where the system has
// but one such address, so that each site is on another port.
func (e *Environment) SitePort() (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sitePort != 0 || runtime.GOOS == "darwin" {
		return e.sitePort, nil
	}
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	e.sitePort, err = strconv.Atoi(ports[0])
	return e.sitePort, err
}

// locate gives the site of a server its address and port.
func (e *Environment) locate(s *Server) error {
	port, err := e.SitePort()
	if err != nil {
		return err
	}
	if port != 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sites++
		s.address, s.port = fmt.Sprintf("127.0.%d.%d", 1+e.sites/250, 1+e.sites%250), port
		return nil
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	s.address = loopback
	s.port, err = strconv.Atoi(ports[0])
	return err
}

// serve lets the stand-in for IIS serve the site. What passes the rules is answered with 200: there is no
// Exchange Server here.
func (s *Server) serve() error {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.address, strconv.Itoa(s.port))) //nolint:noctx // it outlives every context, and there is no name to look up
	if err != nil {
		return fmt.Errorf("server %s: %w", s.Name, err)
	}
	handler := iisserver.New(s.Root, Site)
	handler.Application = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s answers %s\n", s.HostName(), r.URL.Path)
	})
	s.site = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	s.URL = "http://" + listener.Addr().String()
	go func() {
		if err := s.site.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return nil
}

// Get sends a request to the site over HTTP and returns the status of the answer; Dropped if there is none.
func (s *Server) Get(ctx context.Context, target string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+target, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("server %s: %w", s.Name, err)
	}
	request.Host = s.HostName()
	// On a connection that was used before, Go would send again what was dropped.
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if errors.Is(err, io.EOF) {
		return Dropped, nil
	}
	if err != nil {
		return 0, fmt.Errorf("server %s: %w", s.Name, err)
	}
	return response.StatusCode, response.Body.Close()
}

// AccessLog is the log of today's requests to the site; nil if there were none.
func (s *Server) AccessLog() ([]byte, error) {
	content, err := os.ReadFile(iisserver.LogFile(s.Root, "1", time.Now()))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	return content, nil
}
