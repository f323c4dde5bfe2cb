package scrape

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// rememberFor is how long an answer of the API server counts: a reader that comes every few seconds is asked about once a
	// minute, and one that loses its right loses the metrics a minute later.
	rememberFor = time.Minute
	// rememberAtMost limits the answers that are kept: a handful of readers is usual. Who sends thousands of different tokens makes
	// the manager forget and ask again, at the pace of askQPS, and never grow.
	rememberAtMost = 256
	// askQPS and askBurst limit the questions, so that a flood of tokens costs the API server little. They have a client of their
	// own: the manager's work does not wait behind them.
	askQPS, askBurst = 5, 10
	// askTimeout ends a question. A Prometheus gives up after 10 s by default.
	askTimeout = 5 * time.Second
	// maxToken limits what is taken for a token; those of service accounts have about 1,200 bytes.
	maxToken = 16 << 10
)

// Options say how metrics are served.
type Options struct {
	// Address to listen on; 0 serves nothing.
	Address string
	// CertDir is a folder with tls.crt and tls.key, which are read again when they change. Without it the manager signs a
	// certificate for itself when it starts: whoever reads the metrics then cannot tell it from another one's, and sends a token
	// to whoever answers.
	CertDir string
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.Address == "0" && o.CertDir != "" {
		return fmt.Errorf("metrics: certificates of %q: nothing is served, because the address is 0", o.CertDir)
	}
	return nil
}

// Server are the options of the manager's metrics server.
func (o Options) Server() metricsserver.Options {
	return metricsserver.Options{
		BindAddress: o.Address, SecureServing: true, CertDir: o.CertDir, FilterProvider: Filter,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS12
			// Without HTTP/2, whose streams can be opened and reset faster than anybody is asked for a token.
			c.NextProtos = []string{"http/1.1"}
		}},
	}
}

// Filter lets those through whom the API server knows by their token and lets get the URL. It is a FilterProvider of a metrics
// server. The HTTP client is not used: questions have one of their own.
func Filter(config *rest.Config, _ *http.Client) (metricsserver.Filter, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = askQPS, askBurst
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	g := &guard{
		now: clock.RealClock{}.Now, answers: map[[sha256.Size]byte]answer{},
		ask: func(ctx context.Context, token, path string) (int, error) { return ask(ctx, clients, token, path) },
	}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			code, err := g.judge(r)
			if err != nil {
				log.Error(err, "Reader of metrics could not be judged")
			}
			if code == http.StatusOK {
				next.ServeHTTP(w, r)
				return
			}
			http.Error(w, http.StatusText(code), code)
		}), nil
	}, nil
}

// guard remembers what the API server said of a token.
type guard struct {
	now func() time.Time
	// ask answers with the HTTP status for a token and a path.
	ask func(ctx context.Context, token, path string) (int, error)

	mu sync.Mutex
	// answers by the digest of token and path, so that no token stands in memory longer than its request.
	answers map[[sha256.Size]byte]answer
}

type answer struct {
	code  int
	until time.Time
}

// judge returns the HTTP status for a request, 200 if it may pass.
func (g *guard) judge(r *http.Request) (int, error) {
	if r.Method != http.MethodGet {
		return http.StatusMethodNotAllowed, nil
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return http.StatusUnauthorized, nil
	}
	key := sha256.Sum256([]byte(token + "\x00" + r.URL.Path))
	now := g.now()
	g.mu.Lock()
	known, ok := g.answers[key]
	g.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.code, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	code, err := g.ask(ctx, token, r.URL.Path)
	if err != nil {
		return http.StatusServiceUnavailable, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.answers) >= rememberAtMost {
		clear(g.answers)
	}
	g.answers[key] = answer{code, now.Add(rememberFor)}
	return code, nil
}

// ask asks whose a token is, and whether that user may get the path.
func ask(ctx context.Context, clients kubernetes.Interface, token, path string) (int, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	review, err := clients.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("metrics: ask whose a token is: %w", err)
	}
	if !review.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := review.Status.User
	if user.Username == "" {
		return 0, errors.New("metrics: the API server knows a token and names no user")
	}
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	access := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
	}}
	access, err = clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, access, metav1.CreateOptions{})
	switch {
	case err != nil:
		return 0, fmt.Errorf("metrics: ask whether %q may read %s: %w", user.Username, path, err)
	case !access.Status.Allowed || access.Status.Denied:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}
