package tokens

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

const (
	// RememberFor is how long an answer of the API server counts: a reader that comes every few seconds is asked about once a
	// minute, and one that loses its right loses what it reads a minute later.
	RememberFor = time.Minute
	// rememberAtMost limits the answers that are kept: a handful of readers is usual. Who sends thousands of different tokens makes
	// the manager forget and ask again, at the pace of askQPS, and never grow.
	rememberAtMost = 256
	// askQPS and askBurst limit the questions, so that a flood of tokens costs the API server little. They have a client of their
	// own: the manager's work does not wait behind them.
	askQPS, askBurst = 5, 10
	// askTimeout ends a question. A Prometheus gives up after 10 s by default.
	askTimeout = 5 * time.Second
	// MaxToken limits what is taken for a token, in bytes; those of service accounts have about 1,200.
	MaxToken = 16 << 10
)

// Answer is what the API server says of a token and a URL.
type Answer struct {
	// Code is the HTTP status for the reader: 200 if it may read.
	Code int
	// User is the name of the token's user; empty if the token is not known.
	User string
}

// Judge asks the API server, and remembers for a while what it said.
type Judge struct {
	now func() time.Time
	ask func(ctx context.Context, token, path string) (Answer, error)

	mu sync.Mutex
	// answers by the digest of token and path, so that no token stands in memory longer than its request.
	answers map[[sha256.Size]byte]remembered
}

type remembered struct {
	Answer

	until time.Time
}

// New returns a judge with a client of its own.
func New(config *rest.Config) (*Judge, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = askQPS, askBurst
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	return NewJudge(clock.RealClock{}, func(ctx context.Context, token, path string) (Answer, error) {
		return ask(ctx, clients, token, path)
	}), nil
}

// NewJudge returns a judge that asks a function. It serves tests; New asks the API server.
func NewJudge(clock clock.PassiveClock, ask func(ctx context.Context, token, path string) (Answer, error)) *Judge {
	return &Judge{now: clock.Now, ask: ask, answers: map[[sha256.Size]byte]remembered{}}
}

// Bearer is the token of an Authorization header; empty if there is none that could be one.
func Bearer(header http.Header) string {
	scheme, token, ok := strings.Cut(header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || len(token) > MaxToken {
		return ""
	}
	return token
}

// Remembered is what the API server said of a token lately.
func (j *Judge) Remembered(token, path string) (Answer, bool) {
	j.mu.Lock()
	known, ok := j.answers[digest(token, path)]
	j.mu.Unlock()
	if !ok || !j.now().Before(known.until) {
		return Answer{}, false
	}
	return known.Answer, true
}

// Ask says whether the user of a token may get a path. An error, with Code 503, says that nobody can tell now.
func (j *Judge) Ask(ctx context.Context, token, path string) (Answer, error) {
	if token == "" || len(token) > MaxToken {
		return Answer{Code: http.StatusUnauthorized}, nil
	}
	if known, ok := j.Remembered(token, path); ok {
		return known, nil
	}
	asked := j.now()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	said, err := j.ask(ctx, token, path)
	if err != nil {
		return Answer{Code: http.StatusServiceUnavailable}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.answers) >= rememberAtMost {
		clear(j.answers)
	}
	j.answers[digest(token, path)] = remembered{said, asked.Add(RememberFor)}
	return said, nil
}

// digest stands for a token and a path. Paths are the manager's own and begin with a slash, which tokens can hold too, hence the zero byte:
// HTTP headers and forms cannot bring one into a token that the API server would know.
func digest(token, path string) [sha256.Size]byte {
	return sha256.Sum256([]byte(token + "\x00" + path))
}

// ask asks whose a token is, and whether that user may get the path.
func ask(ctx context.Context, clients kubernetes.Interface, token, path string) (Answer, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	review, err := clients.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return Answer{}, fmt.Errorf("tokens: ask whose a token is: %w", err)
	}
	if !review.Status.Authenticated {
		return Answer{Code: http.StatusUnauthorized}, nil
	}
	user := review.Status.User
	if user.Username == "" {
		return Answer{}, errors.New("tokens: the API server knows a token and names no user")
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
		return Answer{}, fmt.Errorf("tokens: ask whether %q may read %s: %w", user.Username, path, err)
	case !access.Status.Allowed || access.Status.Denied:
		return Answer{Code: http.StatusForbidden, User: user.Username}, nil
	}
	return Answer{Code: http.StatusOK, User: user.Username}, nil
}
