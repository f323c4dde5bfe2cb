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
	// been replaced by hand. What a revoked certificate writes is forbidden by a policy, which is no refusal here.
	lookPause, refusedLook = time.Minute, 15 * time.Second
	// backwards is how far a clock may be set back before what it said of the credential counts for nothing.
	backwards = time.Minute
	// requestTimeout limits one renewal.
	requestTimeout = 30 * time.Second
)

// ErrOther means that the server was enrolled as another one, or to another cluster, while the agent ran.
var ErrOther = errors.New("the server was enrolled anew as another one: the agent has to start again")

// Renew asks the API server for another token with the present one.
type Renew func(ctx context.Context, present Credential) (Grant, error)

// Options of a Source. Store is required.
type Options struct {
	Store Store
	// Renew defaults to a TokenRequest on the server's own ServiceAccount, or where there is a certificate to a request for another.
	Renew Renew
	// Authority defaults to the one of the server's namespace; with a Renew of its own a Source does not follow the authority unless it is told.
	Authority Authority
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
	base *connections
	// changing is held by whoever replaces the credential on the disk, from what is read until it is there.
	changing sync.Mutex

	mu      sync.Mutex
	present Credential
	// onDisk is the ID of what stands on the disk, another one than that of present if that could not be stored.
	onDisk string
	// diskTold and strangeTold are whether somebody was told that the disk cannot be read, and that somebody else answers.
	diskTold, strangeTold bool
	// renewal is when the present token is to be renewed.
	renewal time.Time
	// refused is whether the API server has refused the present token.
	refused bool
	problem error
}

// NewSource reads the credential. One that is damaged is no error as long as it can be told whose it is: there are no requests then until
// another one is on the disk. Otherwise the error wraps ErrNone or ErrDamaged where that is the case.
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
	lost := errors.Is(err, ErrDamaged) && present.Server != ""
	if err != nil && !lost {
		return nil, err
	}
	u, err := url.Parse(present.URL)
	if err != nil {
		return nil, fmt.Errorf("credential: %w: %w", ErrDamaged, err)
	}
	s := &Source{Options: o, who: present.Identity, host: u.Host, wake: make(chan struct{}, 1)}
	s.base = &connections{proxy: o.Proxy, show: s.show, heard: s.strange}
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
		if s.Authority == nil {
			s.Authority = s.askForAuthority
		}
	}
	if err := s.adopt(present, present.ID()); err != nil {
		return nil, err
	}
	s.refused, s.diskTold = lost, lost
	if !lost && o.Store.kept() != present.Identity {
		err := o.Store.locked(func() error { return o.Store.keep(present.Identity) })
		o.Log.Info("Copy of the identity was missing or damaged and is made again", "server", s.who.String(), "done", err == nil)
	}
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

// Config reaches the API server as the server, and trusts the certificates of the enrolment, or what took their place, and no others.
func (s *Source) Config() *rest.Config {
	return &rest.Config{Host: s.who.URL, Transport: s.base, WrapTransport: s.Wrap}
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
	if present.ID() == "" {
		if request.Body != nil {
			_ = request.Body.Close() // as a RoundTripper has to
		}
		return nil, ErrDamaged
	}
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

func (s *Source) grant() Grant { return s.credential().Grant }

func (s *Source) credential() Credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present
}

// stored is the ID of what stands on the disk as far as this Source knows.
func (s *Source) stored() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onDisk
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

// adopt makes a credential the present one; onDisk is the ID of the one on the disk.
func (s *Source) adopt(c Credential, onDisk string) error {
	s.mu.Lock()
	s.present, s.onDisk, s.refused, s.problem = c, onDisk, false, nil
	s.renewal = renewalOf(c, s.Random())
	s.mu.Unlock()
	return s.base.use(c)
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
		failures  int
		earliest  time.Time
		following sync.WaitGroup
	)
	ctx, cancel := context.WithCancel(ctx)
	defer following.Wait()
	defer cancel()
	if s.Authority != nil {
		following.Go(func() { s.followAuthority(ctx) })
	}
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
		s.changing.Lock()
		changed, err := s.look()
		s.changing.Unlock()
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

// look takes over what stands on the disk, if it is another credential of the same server, or another authority of the cluster. Whoever
// calls it holds changing.
func (s *Source) look() (changed bool, err error) {
	there, err := s.Store.Load()
	s.mu.Lock()
	told := s.diskTold
	s.diskTold = err != nil
	s.mu.Unlock()
	if err != nil {
		// What is in memory is good until the API server says otherwise.
		if !told {
			s.Log.Error(err, "Credential on the disk cannot be read; the agent works with the one that it has until it ends", "server", s.who.String())
		}
		return false, nil
	}
	present := s.credential()
	if !there.sameServer(s.who) {
		return false, fmt.Errorf("credential: %w: %s at %s", ErrOther, there.Identity, there.URL)
	}
	if there.ID() == s.stored() && (there.CA == present.CA || there.ID() != present.ID()) {
		s.storeLate(present, there.ID())
		return false, nil
	}
	if err := s.adopt(there, there.ID()); err != nil {
		return false, err
	}
	s.Log.Info("Credential was replaced on the disk and is taken over", "server", s.who.String(), "expires", there.Expires)
	s.tellOfNew()
	return true, nil
}

// storeLate stores what could not be stored when it was new. A full disk is not full for ever, and what stands on it ends.
func (s *Source) storeLate(present Credential, onDisk string) {
	if present.ID() == onDisk || s.Store.Replace(onDisk, present) != nil {
		return
	}
	s.mu.Lock()
	s.onDisk = present.ID()
	s.mu.Unlock()
	s.Log.Info("Credential is stored now", "server", s.who.String(), "expires", present.Expires)
}

// renew replaces the present credential by a new one, on the disk and in memory.
func (s *Source) renew(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	next := s.credential()
	if next.ID() == "" {
		return ErrDamaged
	}
	grant, err := s.Renew(ctx, next)
	if err != nil {
		return err
	}
	next.Grant, next.Received = grant, s.Clock.Now()
	// In memory also when the disk is full: it lasts until the next start, and the old one on the disk maybe beyond.
	onDisk := s.stored()
	stored := s.Store.Replace(onDisk, next)
	if errors.Is(stored, ErrReplaced) {
		_, err = s.look()
		return err
	}
	if stored == nil {
		onDisk = next.ID()
	}
	if err := s.adopt(next, onDisk); err != nil {
		return err
	}
	s.tellOfNew()
	if stored != nil {
		s.Log.Error(stored, "Credential was renewed and could not be stored: it is lost when the agent ends before that works")
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
	expires, certificate := s.present.Expires, s.present.IsCertificate()
	s.mu.Unlock()
	switch {
	case told:
	case errors.Is(err, ErrDamaged):
		s.Log.Error(err, "Credential cannot be used; what is in place stays and is repaired, and an operator has to enrol the server again", "server", s.who.String(), "command", s.who.Again())
		s.Tell(false, fmt.Sprintf("The credential of server %s on its disk is damaged, or of another machine. What is in place stays in place and is repaired, but the cluster "+
			"does not hear of it. Enrol the server again: %s", s.who, s.who.Again()))
	case errors.Is(err, ErrDenied):
		s.Log.Error(err, "Credential will not be renewed unless an operator enrols the server again", "server", s.who.String(), "expires", expires, "command", s.who.Again())
		s.Tell(false, fmt.Sprintf("The cluster does not renew the credential of server %s, which ends at %s: %v. If the server is to stay a member of its pool: %s",
			s.who, expires.UTC().Format("2006-01-02 15:04:05Z"), err, s.who.Again()))
	case apierrors.IsForbidden(err) && certificate:
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
