package iisserver

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/rewrite"
)

// Server is an http.Handler that answers as a site of IIS would.
type Server struct {
	// Application answers what passes the rules; nil serves the files of the site.
	Application http.Handler
	// Now is the clock of the log; nil means that of the machine.
	Now func() time.Time

	root, site string
	pools      *iis.FilePools

	mu     sync.Mutex
	files  sources
	loaded *configuration
	failed error
	log    sync.Mutex
}

// New returns the server of a site. root stands for the drive that IIS is installed on.
func New(root, site string) *Server {
	return &Server{root: root, site: site, pools: iis.NewFilePools(root)}
}

// configuration reads the files again if they have changed.
func (s *Server) configuration() (*configuration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.files.current() {
		s.files = sources{}
		s.loaded, s.failed = load(s.root, s.site, s.files)
	}
	return s.loaded, s.failed
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	config, err := s.configuration()
	if err != nil {
		// HTTP.sys answers for a site that cannot start.
		unavailable(w)
		return
	}
	app, ok := config.application(r.URL.Path)
	if !ok {
		unavailable(w)
		return
	}
	if state, err := s.pools.State(r.Context(), app.pool); err != nil || state != iis.PoolStarted {
		unavailable(w)
		return
	}
	answer := s.answer(config, r)
	if err := s.writeLog(config.id, r, answer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if answer.abort {
		// The connection is closed without a byte.
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(answer.body)
	}
}

// answer is what a client gets.
type answer struct {
	status, subStatus int
	header            http.Header
	body              []byte
	abort             bool
}

// answer sends a request through the rules.
func (s *Server) answer(config *configuration, r *http.Request) answer {
	request := rewrite.SplitTarget(r.Method, r.Host, r.RequestURI, r.Header)
	request.TLS = r.TLS != nil
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		request.RemoteAddr = host
	}
	result, err := config.site.Evaluate(request)
	switch {
	case errors.Is(err, rewrite.ErrInvalidRequest):
		return page(http.StatusBadRequest, 0, "", err.Error())
	case err != nil:
		return page(http.StatusInternalServerError, 0, "", err.Error())
	}
	switch result.Outcome {
	case rewrite.Aborted:
		return answer{abort: true}
	case rewrite.Responded:
		return page(result.Status, result.SubStatus, result.Reason, result.Description)
	case rewrite.Error:
		return page(result.Status, result.SubStatus, "", result.Fault.String())
	case rewrite.Redirected:
		a := page(result.Status, 0, "", "")
		a.header.Set("Location", result.URL)
		return a
	case rewrite.Passed, rewrite.Rewritten:
	}
	return s.application(config, r, request, result)
}

// application lets the application answer, and sends the answer through the outbound rules.
func (s *Server) application(config *configuration, r *http.Request, request rewrite.Request, result rewrite.Result) answer {
	target, err := url.ParseRequestURI(result.URL)
	if err != nil || target.Host != "" {
		return page(http.StatusBadGateway, 0, "", "the rules send it to another server, which there is none of: "+result.URL)
	}
	inner := r.Clone(r.Context())
	inner.URL, inner.RequestURI = target, result.URL
	for _, v := range result.ServerVariables {
		if name, ok := strings.CutPrefix(v.Name, "HTTP_"); ok {
			inner.Header.Set(strings.ReplaceAll(name, "_", "-"), v.Value)
		}
	}
	recorded := &recorder{header: http.Header{}}
	if s.Application != nil {
		s.Application.ServeHTTP(recorded, inner)
	} else {
		serveFile(recorded, config, target.Path)
	}
	response := rewrite.Response{Status: recorded.code(), Header: recorded.header, Body: recorded.body.Bytes()}
	changed, err := config.site.EvaluateResponse(request, result, response)
	switch {
	case err != nil:
		return page(http.StatusInternalServerError, 0, "", err.Error())
	case changed.Outcome == rewrite.Error:
		return page(changed.Status, changed.SubStatus, "", changed.Fault.String())
	}
	changed.Header.Del("Content-Length")
	return answer{status: changed.Status, subStatus: recorded.subStatus, header: changed.Header, body: changed.Body}
}

// serveFile answers with a file of the site.
func serveFile(w *recorder, config *configuration, path string) {
	name := config.PhysicalPath(path)
	if config.IsDirectory(name) {
		for _, document := range []string{"Default.htm", "index.html"} {
			if config.IsFile(filepath.Join(name, document)) {
				name = filepath.Join(name, document)
				break
			}
		}
	}
	content, err := os.ReadFile(name)
	// Configuration is no content; IIS answers 404.8 for it.
	if err != nil || strings.EqualFold(filepath.Ext(name), ".config") {
		missing := page(http.StatusNotFound, 0, "", "")
		w.header, w.status = missing.header, missing.status
		w.body.Write(missing.body)
		return
	}
	w.header.Set("Content-Type", http.DetectContentType(content))
	w.body.Write(content)
}

// page is an error page, in the words of IIS.
func page(status, subStatus int, reason, description string) answer {
	if reason == "" {
		reason = http.StatusText(status)
	}
	number := fmt.Sprint(status)
	if subStatus > 0 {
		number += fmt.Sprintf(".%d", subStatus)
	}
	body := fmt.Sprintf("<!DOCTYPE html>\n<title>%s - %s</title>\n<h2>HTTP Error %[1]s - %[2]s</h2>\n<p>%s</p>\n",
		number, html.EscapeString(reason), html.EscapeString(description))
	return answer{status: status, subStatus: subStatus, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, body: []byte(body)}
}

// unavailable is what HTTP.sys answers for a pool that does not run.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=us-ascii")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte("<h2>Service Unavailable</h2>\n<hr><p>HTTP Error 503. The service is unavailable.</p>\n"))
}

// recorder is an http.ResponseWriter that keeps the answer for the outbound rules.
type recorder struct {
	header            http.Header
	status, subStatus int
	body              bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(content []byte) (int, error) { return r.body.Write(content) }

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}
