package page

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/controllers/tokens"
	"mitigation.dev/ems/internal/shard"
)

const (
	// root is the URL that a reader needs the right to get, for every page below it.
	root = "/fleet"
	// maxForm limits what is read of a form: a token, encoded at worst with three bytes for one, and the page to go to.
	maxForm = 3*tokens.MaxToken + 8<<10
)

// Handler serves the pages.
type Handler struct {
	source   *source
	judge    *tokens.Judge
	sessions *sessions
	attempts *attempts
	log      logr.Logger
	origin   *http.CrossOriginProtection
	mux      *http.ServeMux
}

// NewHandler returns a handler for what the reader has, usually the manager's cache, and for those whom the judge lets get [root].
func NewHandler(reader client.Reader, judge *tokens.Judge, clock clock.PassiveClock, log logr.Logger) *Handler {
	return newHandler(reader, judge, clock, log, shard.Main)
}

// newHandler is for the manager of any shard.
func newHandler(reader client.Reader, judge *tokens.Judge, clock clock.PassiveClock, log logr.Logger, mine shard.Name) *Handler {
	h := &Handler{
		source: &source{reader: reader, clock: clock, shard: mine}, judge: judge, sessions: &sessions{clock: clock}, attempts: &attempts{clock: clock},
		log: log, origin: http.NewCrossOriginProtection(), mux: http.NewServeMux(),
	}
	h.mux.Handle(root, read(h.view(fleetPage)))
	h.mux.Handle(root+"/mitigations/{name}", read(h.view(mitigationPage)))
	h.mux.Handle(root+"/pools/{namespace}/{name}", read(h.view(poolPage)))
	h.mux.Handle(root+"/servers/{namespace}/{name}", read(h.view(serverPage)))
	h.mux.Handle(root+"/signin", only(http.MethodPost, http.HandlerFunc(h.signIn)))
	h.mux.Handle(root+"/signout", only(http.MethodPost, http.HandlerFunc(h.signOut)))
	h.mux.Handle(root+"/assets/{file}", read(http.HandlerFunc(asset)))
	h.mux.Handle("/{$}", read(http.RedirectHandler(root, http.StatusSeeOther)))
	h.mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, r, http.StatusNotFound, "There is no such page", "Nothing of EMS has this address.")
	}))
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	h.mux.ServeHTTP(w, r)
}

func read(next http.Handler) http.Handler { return only(http.MethodGet, next) }

// only answers other methods with 405. HEAD goes with GET.
func only(method string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == method || method == http.MethodGet && r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		allow := method
		if method == http.MethodGet {
			allow = "GET, HEAD"
		}
		w.Header().Set("Allow", allow)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	})
}

// pageFunc makes the content of a page; false if there is no such thing.
type pageFunc func(s *sight, r *http.Request) (content, bool)

func fleetPage(s *sight, r *http.Request) (content, bool) {
	return content{title: "Overview", template: "fleet", data: s.fleet(queryOf(r.URL.Query()))}, true
}

func mitigationPage(s *sight, r *http.Request) (content, bool) {
	v := s.mitigation(strings.ToLower(r.PathValue("name")), queryOf(r.URL.Query()))
	if v == nil {
		return content{}, false
	}
	return content{title: v.ID, trail: []crumb{{Text: "Mitigation " + v.ID}}, template: "mitigation", data: v}, true
}

func poolPage(s *sight, r *http.Request) (content, bool) {
	v := s.pool(keyIn(r), queryOf(r.URL.Query()))
	if v == nil {
		return content{}, false
	}
	return content{title: v.Namespace + "/" + v.Name, trail: []crumb{{Text: "Pool " + v.Namespace + "/" + v.Name}}, template: "pool", data: v}, true
}

func serverPage(s *sight, r *http.Request) (content, bool) {
	v := s.server(keyIn(r))
	if v == nil {
		return content{}, false
	}
	pool := v.Namespace + "/" + v.Pool
	trail := []crumb{{Text: "Pool " + pool, Href: root + "/pools/" + pool}, {Text: "Server " + v.Name}}
	return content{title: v.Name, trail: trail, template: "server", data: v}, true
}

func keyIn(r *http.Request) types.NamespacedName {
	return types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
}

// visitor is who reads.
type visitor struct {
	user string
	// csrf is empty for a reader without a session.
	csrf string
}

// view serves a page, or its main part alone for ?part=main.
func (h *Handler) view(build pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, code := h.visitor(r)
		switch code {
		case http.StatusOK:
		case http.StatusUnauthorized:
			h.askIn(w, r, code, r.URL.RequestURI(), "")
			return
		default:
			h.refuse(w, r, code, who)
			return
		}
		seen, err := h.source.look(r.Context())
		if err != nil {
			h.log.Error(err, "Fleet page left out")
			h.problem(w, r, http.StatusServiceUnavailable, "Not yet", "The manager has not read the cluster yet. Try again in a moment.")
			return
		}
		c, found := build(seen, r)
		if !found {
			text := "It was deleted, or never was. Names are those that kubectl shows."
			if seen.elsewhere() != "" {
				text += " A server of another manager's pool has a page there."
			}
			h.problem(w, r, http.StatusNotFound, "There is no such object", text)
			return
		}
		h.write(w, r, c, who, seen.moment(seen.now))
	})
}

func (h *Handler) write(w http.ResponseWriter, r *http.Request, c content, who visitor, now moment) {
	main, etag, err := renderMain(c)
	if err != nil {
		h.log.Error(err, "Fleet page could not be rendered")
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	if r.URL.Query().Get("part") == "main" {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		send(w, http.StatusOK, "text/html; charset=utf-8", main)
		return
	}
	values := url.Values{"part": {"main"}}
	for _, name := range []string{"q", "page"} {
		if value := r.URL.Query().Get(name); value != "" {
			values.Set(name, value)
		}
	}
	live := (&url.URL{Path: r.URL.Path, RawQuery: values.Encode()}).String()
	h.frame(w, http.StatusOK, frame{
		Title: c.title, Trail: c.trail, Main: template.HTML(main), Live: live, ETag: etag, //nolint:gosec // html/template has just made it
		User: plain(strings.TrimPrefix(who.user, "system:serviceaccount:")), Token: who.csrf, Time: now,
	})
}

func (h *Handler) frame(w http.ResponseWriter, code int, f frame) {
	html, err := renderPage(f)
	if err != nil {
		h.log.Error(err, "Fleet page could not be rendered")
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	send(w, code, "text/html; charset=utf-8", html)
}

func send(w http.ResponseWriter, code int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// problem is a page that says what is wrong. The main part alone is asked for by a program, which looks at the code.
func (h *Handler) problem(w http.ResponseWriter, _ *http.Request, code int, heading, text string) {
	main, _, err := renderMain(content{template: "problem", data: struct{ Heading, Text string }{heading, text}})
	if err != nil {
		h.log.Error(err, "Fleet page could not be rendered")
	}
	h.frame(w, code, frame{Title: heading, Main: template.HTML(main)}) //nolint:gosec // html/template has just made it
}

// refuse answers those who are known and may not read, and everybody while the API server cannot be asked.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, code int, who visitor) {
	switch code {
	case http.StatusForbidden:
		h.problem(w, r, code, "You may not read this", plain(who.user)+" lacks the right to get "+root+": the role ems-page-viewer gives it.")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptsWindow/time.Second)))
		h.problem(w, r, code, "Too many attempts", "Wait a minute, then try again.")
	default:
		h.problem(w, r, code, "The API server cannot be asked", "Nobody can tell now whether you may read this. Try again in a moment.")
	}
}

// visitor judges a request by its Authorization header, as a proxy sends it, or else by its session.
func (h *Handler) visitor(r *http.Request) (visitor, int) {
	if r.Header.Get("Authorization") != "" {
		user, code := h.try(r, tokens.Bearer(r.Header))
		return visitor{user: user}, code
	}
	is, ok := h.sessions.of(r)
	if !ok {
		return visitor{}, http.StatusUnauthorized
	}
	answer, err := h.judge.Ask(r.Context(), is.token, root)
	if err != nil {
		h.log.Error(err, "Reader of the fleet page could not be judged")
	}
	if answer.Code == http.StatusUnauthorized || answer.Code == http.StatusForbidden {
		h.sessions.end(r) // The token ended, or its user lost the right.
	}
	return visitor{user: is.user, csrf: is.csrf}, answer.Code
}

// try asks about a token, unless the address has shown too many that were no good.
func (h *Handler) try(r *http.Request, token string) (user string, code int) {
	address := addressOf(r)
	if _, known := h.judge.Remembered(token, root); !known && !h.attempts.left(address) {
		return "", http.StatusTooManyRequests
	}
	answer, err := h.judge.Ask(r.Context(), token, root)
	if err != nil {
		h.log.Error(err, "Reader of the fleet page could not be judged")
	}
	if answer.Code == http.StatusUnauthorized {
		h.attempts.failed(address)
	}
	return answer.User, answer.Code
}

// askIn shows the form to sign in, in place of the page that was asked for.
func (h *Handler) askIn(w http.ResponseWriter, _ *http.Request, code int, next, problem string) {
	main, _, err := renderMain(content{template: "signin", data: struct{ Next, Problem string }{target(next), problem}})
	if err != nil {
		h.log.Error(err, "Fleet page could not be rendered")
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="EMS fleet"`)
	}
	h.frame(w, code, frame{Title: "Sign in", Main: template.HTML(main)}) //nolint:gosec // html/template has just made it
}

// target is where a reader goes after signing in: a page of this server, whatever was asked for.
func target(next string) string {
	parsed, err := url.Parse(next)
	if err != nil || parsed.Scheme != "" || parsed.Host != "" || parsed.Opaque != "" || path.Clean(parsed.Path) != parsed.Path ||
		parsed.Path != root && !strings.HasPrefix(parsed.Path, root+"/") || strings.ContainsAny(parsed.Path, "\\\r\n") {
		return root
	}
	values := parsed.Query()
	values.Del("part")
	return (&url.URL{Path: parsed.Path, RawQuery: values.Encode()}).String()
}

func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) {
	if err := h.origin.Check(r); err != nil {
		h.problem(w, r, http.StatusForbidden, "That came from elsewhere", "Only the form of this page signs in.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.problem(w, r, http.StatusBadRequest, "That is no form", "Only the form of this page signs in.")
		return
	}
	// PostForm leaves out the URL: a token there would stand in logs of proxies.
	next, token := r.PostForm.Get("next"), strings.TrimSpace(r.PostForm.Get("token"))
	user, code := h.try(r, token)
	switch code {
	case http.StatusOK:
	case http.StatusUnauthorized:
		h.askIn(w, r, code, next, "The API server does not know this token. It may have ended, or not been copied as a whole.")
		return
	case http.StatusForbidden:
		h.askIn(w, r, code, next, plain(user)+" lacks the right to get "+root+": the role ems-page-viewer gives it.")
		return
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptsWindow/time.Second)))
		h.askIn(w, r, code, next, "Too many attempts. Wait a minute, then try again.")
		return
	default:
		h.askIn(w, r, code, next, "The API server cannot be asked about the token. Try again in a moment.")
		return
	}
	h.sessions.end(r) // Nobody keeps the session of another one who has used this browser.
	id, made := h.sessions.begin(token, user)
	http.SetCookie(w, cookie(id, int(made.expires.Sub(made.begin)/time.Second)))
	h.log.Info("Reader of the fleet page signed in", "user", user)
	http.Redirect(w, r, target(next), http.StatusSeeOther)
}

func (h *Handler) signOut(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	is, ok := h.sessions.of(r)
	if err := h.origin.Check(r); err != nil || ok && subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(is.csrf)) != 1 {
		h.problem(w, r, http.StatusForbidden, "That came from elsewhere", "Only the button of a page signs out.")
		return
	}
	h.sessions.end(r)
	http.SetCookie(w, cookie("", -1))
	http.Redirect(w, r, root, http.StatusSeeOther)
}

// assets are the files beside the pages, with their validators. They tell nothing, so everybody may have them.
var assets = func() map[string]file {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files := map[string]file{}
	entries, err := fs.ReadDir(assetFiles, "assets")
	for _, entry := range entries {
		body, readErr := fs.ReadFile(assetFiles, "assets/"+entry.Name())
		if readErr != nil {
			err = readErr
		}
		sum := sha256.Sum256(body)
		files[entry.Name()] = file{body, types[path.Ext(entry.Name())], `"` + hex.EncodeToString(sum[:16]) + `"`}
	}
	if err != nil {
		panic(err) // Embedded files are there, or the program was not built.
	}
	return files
}()

type file struct {
	body              []byte
	contentType, etag string
}

func asset(w http.ResponseWriter, r *http.Request) {
	f, ok := assets[r.PathValue("file")]
	if !ok {
		http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
		return
	}
	// Asked for each time, and sent when it is another one: a new manager has new files under the old names.
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.etag)
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, http.StatusOK, f.contentType, f.body)
}
