package page

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// cookieName has the prefix that makes browsers insist on Secure, on Path=/ and on no Domain.
	cookieName = "__Host-ems-session"
	// maxSession is how long somebody stays signed in: a working day. The token is judged anew every minute meanwhile.
	maxSession = 8 * time.Hour
	// maxSessions limits the memory: tokens of 16 KiB make 4 MiB. The oldest goes when there is one more.
	maxSessions = 256

	// maxAttempts is how many tokens that the API server does not know an address may show within attemptsWindow. Tokens cannot be guessed;
	// the limit spares the API server.
	maxAttempts    = 10
	attemptsWindow = time.Minute
	// maxAddresses limits the memory. When there are more, the count begins anew for all.
	maxAddresses = 4096
)

// session is somebody who has signed in. The token stays on this side; the browser has a random id.
type session struct {
	token, user string
	// csrf is in the form that ends the session.
	csrf           string
	begin, expires time.Time
}

// sessions are kept in memory: whoever restarts the manager signs everybody out.
type sessions struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// byID has sessions by the digest of their ids, so that a look-up takes the same time whatever is asked for.
	byID map[[sha256.Size]byte]session
}

// begin makes a session and returns its id.
func (s *sessions) begin(token, user string) (id string, made session) {
	now := s.clock.Now()
	made = session{token: token, user: user, csrf: rand.Text(), begin: now, expires: now.Add(maxSession)}
	if ends := expiryOf(token); !ends.IsZero() && ends.Before(made.expires) {
		made.expires = ends
	}
	id = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[[sha256.Size]byte]session{}
	}
	for len(s.byID) >= maxSessions {
		s.dropOldest()
	}
	s.byID[sha256.Sum256([]byte(id))] = made
	return id, made
}

func (s *sessions) dropOldest() {
	var oldest [sha256.Size]byte
	found := false
	for key, is := range s.byID {
		if !found || cmp.Compare(is.begin.UnixNano(), s.byID[oldest].begin.UnixNano()) < 0 {
			oldest, found = key, true
		}
	}
	delete(s.byID, oldest)
}

func (s *sessions) of(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	key := sha256.Sum256([]byte(cookie.Value))
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[key]
	if ok && !s.clock.Now().Before(found.expires) {
		delete(s.byID, key)
		return session{}, false
	}
	return found, ok
}

func (s *sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, sha256.Sum256([]byte(cookie.Value)))
	}
}

// cookie carries an id; an empty one takes the cookie away.
func cookie(id string, seconds int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: id, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// expiryOf is when a token ends, by its own word; zero if it does not say. It only ever shortens a session, so nothing is verified here:
// the API server has just said that the token is good.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expiry float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expiry <= 0 || claims.Expiry > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expiry), 0)
}

// attempts counts tokens that were no good, by address.
type attempts struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	since map[netip.Addr]failures
}

type failures struct {
	count int
	begin time.Time
}

// left reports whether an address may try a token.
func (a *attempts) left(address netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.since[address]
	return f.count < maxAttempts || a.clock.Now().Sub(f.begin) >= attemptsWindow
}

func (a *attempts) failed(address netip.Addr) {
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since == nil || len(a.since) >= maxAddresses {
		a.since = map[netip.Addr]failures{}
	}
	f := a.since[address]
	if now.Sub(f.begin) >= attemptsWindow {
		f = failures{begin: now}
	}
	f.count++
	a.since[address] = f
}

// addressOf is whom attempts are counted for: an IPv4 address, or the network of an IPv6 address, which one machine has for itself.
func addressOf(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	if address = address.Unmap().WithZone(""); address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return address
}
