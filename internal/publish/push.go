package publish

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxWait is the longest time that a request is held, in place of a longer one that it asks for. Proxies and firewalls
	// forget connections on which nothing happens for longer.
	MaxWait = 300 * time.Second
	// DefaultMaxWaiting is how many requests are held at once where nothing else is said. Each costs a connection and some
	// tens of kilobytes.
	DefaultMaxWaiting = 1000
)

// preferredWait reads the preference "wait" (RFC 7240, section 4.3), lowered to MaxWait, of the Prefer headers of a request.
// The first one counts (section 2); one that is no number of seconds is passed over as if it were not there.
func preferredWait(headers []string) (wait time.Duration, asked bool) {
	for preference := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		// What follows a semicolon are parameters, of which wait has none.
		token, _, _ := strings.Cut(preference, ";")
		name, value, _ := strings.Cut(token, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"`)
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return 0, false
		}
		return min(time.Duration(seconds)*time.Second, MaxWait), true
	}
	return 0, false
}

// hold keeps a request that prefers to wait until there is another document than it has, the time is over, the client is gone
// or the server stops. It returns how long that was. The answer says that the preference was followed, but not to a client
// for which there is no place.
func (s *Server) hold(w http.ResponseWriter, request *http.Request) time.Duration {
	wait, asked := preferredWait(request.Header.Values("Prefer"))
	if !asked || request.Method != http.MethodGet {
		return 0
	}
	start := time.Now()
	if s.has(request) && wait > 0 {
		if s.waiting.Add(1) > int64(s.options.MaxWaiting) {
			s.waiting.Add(-1)
			return 0
		}
		defer s.waiting.Add(-1)
		s.giveTime(w, wait+serveWriteTimeout)
		s.await(request, wait)
		s.giveTime(w, serveWriteTimeout)
	}
	w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	return time.Since(start)
}

// has reports whether the client has the document that is served now.
func (s *Server) has(request *http.Request) bool {
	current := s.current.Load().etag
	for tag := range strings.SplitSeq(strings.Join(request.Header.Values("If-None-Match"), ","), ",") {
		// Weak comparison, as for every If-None-Match (RFC 9110, section 13.1.2). Our tags have no comma.
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == current {
			return true
		}
	}
	return false
}

// giveTime moves the limits that keep slow clients away behind the time of waiting. The limit for reading has passed its use:
// the request is read, and at its end net/http would take the client for gone.
func (s *Server) giveTime(w http.ResponseWriter, limit time.Duration) {
	controller := http.NewResponseController(w)
	until := time.Now().Add(limit)
	if err := controller.SetReadDeadline(until); err == nil {
		_ = controller.SetWriteDeadline(until)
	}
}

func (s *Server) await(request *http.Request, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for s.has(request) {
		changed := s.current.Load().replaced
		// Between the two looks the document may have been replaced; then changed is that of the next.
		if !s.has(request) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-s.stopping:
			return
		case <-request.Context().Done():
			return
		}
	}
}
