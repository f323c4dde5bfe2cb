package credential

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/identity"
)

const (
	// jitterShare of the half life is how much sooner or later a renewal comes.
	jitterShare = 0.1
	// Certificates are renewed between 70 and 90 % of their life, as the kubelet does it.
	certificateFrom, certificateSpread = 0.7, 0.2
	// firstPause and longestPause are the most that is waited after the first failure, and after any.
	firstPause, longestPause = 30 * time.Second, 10 * time.Minute
	// refusedPause is the least between two renewals that a refusal asks for.
	refusedPause = time.Minute
	// lookPause is how often the disk is looked at, refusedLook how often while the API server refuses what is in memory: it may have
	// been replaced by hand.
	lookPause, refusedLook = 10 * time.Minute, 15 * time.Second
	// backwards is how far a clock may be set back before what it said of the credential counts for nothing.
	backwards = time.Minute
	// requestTimeout limits one renewal.
	requestTimeout = 30 * time.Second
)

// ErrOther means that the server was enrolled as another one, to another cluster, or with the other kind of credential, while the agent ran.
var ErrOther = errors.New("the server was enrolled anew as another one, or with another kind of credential: the agent has to start again")

// Renew asks the API server for another token with the present one.
type Renew func(ctx context.Context, present Credential) (Grant, error)

// Options of a Source. Store is required.
type Options struct {
	Store Store
	// Renew defaults to a TokenRequest on the server's own ServiceAccount, or where there is a certificate to a request for another.
	Renew Renew
	// Clock defaults to the real one, Random to a number in [0,1).
	Clock  clock.Clock
	Random func() float64
	Log    logr.Logger
	// Proxy gives the proxy to the API server; nil means that of the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Tell receives what administrators of the server should know, in a sentence: that there is a new credential, or that the present
	// one is good for nothing any more. Default: nothing.
	Tell func(good bool, sentence string)
}

// Source gives requests their credential and keeps it fresh.
type Source struct {
	Options

	who  Identity
	host string
	wake chan struct{}
	// base carries the certificate where there is one; nil with tokens.
	base *certificateTransport

	mu      sync.Mutex
	present Credential
	// renewal is when the present token is to be renewed.
	renewal time.Time
	// refused is whether the API server has refused the present token.
	refused bool
	problem error
}

// NewSource reads the credential. The error wraps ErrNone or ErrDamaged where that is the case.
func NewSource(o Options) (*Source, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.Tell == nil {
		o.Tell = func(bool, string) {}
	}
	present, err := o.Store.Load()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(present.URL)
	if err != nil {
		return nil, fmt.Errorf("credential: %w: %w", ErrDamaged, err)
	}
	s := &Source{Options: o, who: present.Identity, host: u.Host, wake: make(chan struct{}, 1)}
	if present.IsCertificate() {
		if s.base, err = newCertificateTransport(s); err != nil {
			return nil, err
		}
	}
	if s.Renew == nil {
		applicant := Applicant{Clock: o.Clock}
		s.Renew = func(ctx context.Context, present Credential) (Grant, error) {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			if present.IsCertificate() {
				return applicant.Request(ctx, s.Config(), present.Identity, present.Enrolment, present.Asked)
			}
			return Request(ctx, s.Config(), present.Identity, present.Asked)
		}
	}
	s.adopt(present)
	return s, nil
}

// Identity is who the server is.
func (s *Source) Identity() Identity { return s.who }

// Expiry is when the present token ends, by the clock of the API server.
func (s *Source) Expiry() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.Expires
}

// Problem is why the last renewal failed; nil if there was none, or another worked since.
func (s *Source) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// Config reaches the API server as the server, and trusts the certificates of the enrolment and no others.
func (s *Source) Config() *rest.Config {
	if s.base != nil {
		return &rest.Config{Host: s.who.URL, Transport: s.base, WrapTransport: s.Wrap}
	}
	return &rest.Config{Host: s.who.URL, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(s.who.CA)}, WrapTransport: s.Wrap, Proxy: s.Proxy}
}

// Wrap puts the token into requests to the API server, and notes refusals. A certificate is shown by the connection instead.
func (s *Source) Wrap(next http.RoundTripper) http.RoundTripper { return &transport{s, next} }

type transport struct {
	source *Source
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" || request.URL.Host != t.source.host {
		return t.next.RoundTrip(request)
	}
	present := t.source.grant()
	if present.Token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+present.Token)
	}
	response, err := t.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		t.source.refuse(present.ID())
	}
	return response, err
}

// WrappedRoundTripper lets client-go find the transport below.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (s *Source) grant() Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.Grant
}

// refuse notes that the API server refused a credential. Of one that is not the present one any more, that says nothing.
func (s *Source) refuse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present.ID() != id || s.refused {
		return
	}
	s.refused = true
	select {
	case s.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// adopt makes a credential the present one.
func (s *Source) adopt(c Credential) {
	s.mu.Lock()
	s.present, s.refused, s.problem = c, false, nil
	s.renewal = renewalOf(c, s.Random())
	s.mu.Unlock()
	if s.base != nil {
		s.base.rotate()
	}
}

// renewalOf is when a credential is to be renewed: a token at half of its life, give or take a tenth of that. A certificate costs
// more to get, and lasts longer.
func renewalOf(c Credential, random float64) time.Time {
	if c.IsCertificate() {
		return c.Received.Add(time.Duration(float64(c.Life) * (certificateFrom + certificateSpread*random)))
	}
	half := float64(c.Life) / 2
	return c.Received.Add(time.Duration(half * (1 + jitterShare*(2*random-1))))
}

// pauseAfter is how long to wait after a number of failures in a row, at least one: at random up to a bound that doubles.
func pauseAfter(failures int, random float64) time.Duration {
	bound := longestPause
	if failures < 6 { // 30 s doubled five times is more than ten minutes
		bound = min(longestPause, firstPause<<(failures-1))
	}
	return max(time.Second, time.Duration(random*float64(bound)))
}

// due tells whether to renew now, and otherwise how long to wait before the next look.
func (s *Source) due(now, earliest time.Time) (bool, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.renewal
	// The clock was set back: what it said of the credential is not to be relied on.
	if now.Before(s.present.Received.Add(-backwards)) {
		wanted = now
	}
	longest := lookPause
	if s.refused {
		wanted, longest = now, refusedLook
	}
	if wanted.Before(earliest) {
		wanted = earliest
	}
	return !wanted.After(now), min(wanted.Sub(now), longest)
}

// Run keeps the credential fresh until the context ends. The error wraps ErrOther if the agent has to start again.
func (s *Source) Run(ctx context.Context) error {
	var (
		failures int
		earliest time.Time
	)
	for ctx.Err() == nil {
		renew, wait := s.due(s.Clock.Now(), earliest)
		if !renew {
			timer := s.Clock.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-s.wake:
			case <-timer.C():
			}
			timer.Stop()
		}
		changed, err := s.look()
		if err != nil {
			return err
		}
		now := s.Clock.Now()
		if changed {
			failures, earliest = 0, time.Time{}
		}
		if again, _ := s.due(now, earliest); !again {
			continue
		}
		switch err := s.renew(ctx); {
		case err == nil:
			failures, earliest = 0, now.Add(refusedPause)
		case ctx.Err() != nil: // cut short, which says nothing
		default:
			failures++
			earliest = now.Add(pauseAfter(failures, s.Random()))
			s.tell(now, err)
		}
	}
	return nil
}

// look takes over what stands on the disk, if it is another credential of the same server.
func (s *Source) look() (changed bool, err error) {
	there, err := s.Store.Load()
	if err != nil {
		// What is in memory is good until the API server says otherwise.
		s.Log.V(1).Info("Credential on the disk cannot be read", "problem", err.Error())
		return false, nil
	}
	if there.Identity != s.who {
		return false, fmt.Errorf("credential: %w: %s at %s", ErrOther, there.Identity, there.URL)
	}
	present := s.grant()
	if there.ID() == present.ID() {
		return false, nil
	}
	if there.IsCertificate() != present.IsCertificate() {
		return false, fmt.Errorf("credential: %w: tokens and certificates use different connections", ErrOther)
	}
	s.adopt(there)
	s.Log.Info("Credential was replaced on the disk and is taken over", "server", s.who.String(), "expires", there.Expires)
	s.tellOfNew()
	return true, nil
}

// renew replaces the present credential by a new one, on the disk and in memory.
func (s *Source) renew(ctx context.Context) error {
	s.mu.Lock()
	present := s.present
	s.mu.Unlock()
	grant, err := s.Renew(ctx, present)
	if err != nil {
		return err
	}
	next := present
	next.Grant, next.Received = grant, s.Clock.Now()
	// In memory also when the disk is full: it lasts until the next start, and the old one on the disk maybe beyond.
	stored := s.Store.Replace(present.ID(), next)
	if errors.Is(stored, ErrReplaced) {
		_, err = s.look()
		return err
	}
	s.adopt(next)
	s.tellOfNew()
	if stored != nil {
		s.Log.Error(stored, "Credential was renewed and could not be stored: it is lost when the agent ends")
	} else {
		s.Log.Info("Credential was renewed", "server", s.who.String(), "expires", grant.Expires)
	}
	return nil
}

// tell logs why a renewal failed, once for each reason.
func (s *Source) tell(now time.Time, err error) {
	s.mu.Lock()
	told := s.problem != nil && s.problem.Error() == err.Error()
	s.problem = err
	ended := now.After(s.present.Received.Add(s.present.Life))
	expires := s.present.Expires
	s.mu.Unlock()
	switch {
	case told:
	case errors.Is(err, ErrDenied):
		s.Log.Error(err, "Credential will not be renewed unless an operator enrols the server again", "server", s.who.String(), "expires", expires, "command", s.who.Again())
		s.Tell(false, fmt.Sprintf("The cluster does not renew the credential of server %s, which ends at %s: %v. If the server is to stay a member of its pool: %s",
			s.who, expires.UTC().Format("2006-01-02 15:04:05Z"), err, s.who.Again()))
	case apierrors.IsForbidden(err) && s.base != nil:
		s.Log.Error(err, "Credential cannot be renewed: the rights of agents with certificates are missing", "server", s.who.String(), "expires", expires, "command", identity.BindCertificates(s.who.Namespace))
	case apierrors.IsForbidden(err):
		s.Log.Error(err, "Credential cannot be renewed: the rights of the agents are missing", "server", s.who.String(), "expires", expires, "commands", identity.Bind(s.who.Namespace))
	case apierrors.IsUnauthorized(err) || ended:
		s.Log.Error(err, "Credential has ended or was taken back; what is in place stays, and an operator has to enrol the server again",
			"server", s.who.String(), "expires", expires, "command", s.who.Again())
		s.Tell(false, "The credential of server "+s.who.String()+" has ended or was taken back. What is in place stays in place. Enrol the server again: "+s.who.Again())
	default:
		s.Log.Info("Credential could not be renewed and will be tried again", "problem", err.Error(), "expires", expires)
	}
}

func (s *Source) tellOfNew() {
	s.Tell(true, fmt.Sprintf("Server %s has a new credential for the cluster, which ends at %s.", s.who, s.Expiry().UTC().Format("2006-01-02 15:04:05Z")))
}
