package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/internal/pause"
)

// Errors of Run that callers tell apart.
var (
	// ErrOtherServer means that the string is for another server.
	ErrOtherServer = errors.New("the enrolment string is for another server")
	// ErrRefused means that the API server takes the token of the string no more.
	ErrRefused = errors.New("the enrolment string has been used, has ended, or was taken back")
	// ErrUsedTwice means that somebody else used the string, too.
	ErrUsedTwice = errors.New("the enrolment string was taken back, or used by somebody else at the same time: nothing was kept")
	// ErrAuthority means that whoever answers is not who the string says.
	ErrAuthority = errors.New("what answers is not the API server of the enrolment string")
	// ErrRights means that the cluster does not let its agents work.
	ErrRights = errors.New("the cluster does not let the agents of the pool do their work")
)

const (
	// requestTimeout limits each request, all of which are small.
	requestTimeout = 30 * time.Second
	// signTimeout is how long a request for a certificate may wait for the manager and the signer, both of which take seconds.
	signTimeout = 2 * time.Minute
	// API servers hear of new rights, ServiceAccounts and tokens from each other, which may take a moment.
	trials, trialPause = 5, time.Second
)

// Options of an enrolment. Text, StateDir and HostName are required.
type Options struct {
	// Text is the enrolment string.
	Text string
	// StateDir is the state folder of the agent.
	StateDir string
	// HostName is the server that the string has to be for.
	HostName string
	// Proxy gives the proxy to the API server; nil means that of the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Clock defaults to the real one.
	Clock clock.Clock
}

// Result is what came of an enrolment.
type Result struct {
	Credential credential.Credential
	// Already says that this server had used this string before, and nothing was done.
	Already bool
}

// Run enrols the server. After an error that wraps none of the package's own it can be repeated with the same string.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	ticket, err := identity.Decode(o.Text)
	if err != nil {
		return Result{}, fmt.Errorf("enrol: %w", err)
	}
	if ticket.Server != o.HostName {
		return Result{}, fmt.Errorf("enrol: %w: it is for %q, and this is %q; if they are the same, say -server=%s", ErrOtherServer, ticket.Server, o.HostName, ticket.Server)
	}
	e := exchange{Options: o, ticket: ticket, store: credential.Open(o.StateDir), digest: digestOf(ticket.Token)}
	there, err := e.store.Load()
	resumed := err == nil && there.Exchanged == e.digest
	switch {
	case resumed && there.Confirmed:
		return Result{Credential: there, Already: true}, nil
	case !resumed:
		// Whatever stands there is replaced: damage is one of the reasons to enrol again.
		if there, err = e.obtain(ctx); err != nil {
			return Result{}, fmt.Errorf("enrol %s: %w", ticket, err)
		}
	}
	if err := e.spend(ctx, there, resumed); err != nil {
		return Result{}, fmt.Errorf("enrol %s: %w", ticket, err)
	}
	there.Confirmed = true
	if err := e.store.Save(there); err != nil {
		return Result{}, fmt.Errorf("enrol %s: %w", ticket, err)
	}
	return Result{Credential: there}, nil
}

// digestOf tells enrolment strings apart without keeping their tokens.
func digestOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

type exchange struct {
	Options

	ticket identity.Ticket
	store  credential.Store
	digest string
}

// config reaches the API server of the string with a credential.
func (e *exchange) config(g credential.Grant) *rest.Config {
	return &rest.Config{
		Host: e.ticket.URL, BearerToken: g.Token, Proxy: e.Proxy, Timeout: requestTimeout,
		TLSClientConfig: rest.TLSClientConfig{CAData: e.ticket.CAPEM(), CertData: []byte(g.Certificate), KeyData: []byte(g.Key)},
		ContentConfig:   rest.ContentConfig{ContentType: "application/json"}, UserAgent: "ems-agent",
	}
}

// obtain exchanges the token of the string for a credential of the agent's, tries that, and stores it.
func (e *exchange) obtain(ctx context.Context) (credential.Credential, error) {
	who := credential.Identity{URL: e.ticket.URL, CA: string(e.ticket.CAPEM()), Namespace: e.ticket.Namespace, Pool: e.ticket.Pool, Server: e.ticket.Server}
	asked := e.ticket.Lifetime
	if asked == 0 && e.ticket.Enrolment == "" {
		asked = identity.MaxToken
	}
	var grant credential.Grant
	received := e.Clock.Now()
	err := e.again(ctx, func() (err error) {
		received = e.Clock.Now()
		grant, err = e.request(ctx, who, asked)
		return err
	}, apierrors.IsForbidden)
	if err != nil {
		return credential.Credential{}, e.explain(err)
	}
	if grant.IsCertificate() {
		received = e.Clock.Now() // it may have waited for somebody who approves
	}
	c := credential.Credential{Identity: who, Grant: grant, Received: received, Asked: asked, Enrolment: e.ticket.Enrolment, Exchanged: e.digest}
	if err := e.try(ctx, c); err != nil {
		return c, err
	}
	return c, e.store.Save(c)
}

// request asks for what the string says: a token, or a certificate.
func (e *exchange) request(ctx context.Context, who credential.Identity, asked time.Duration) (credential.Grant, error) {
	config := e.config(credential.Grant{Token: e.ticket.Token})
	if e.ticket.Enrolment == "" {
		return credential.Request(ctx, config, who, asked)
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	applicant := credential.Applicant{Clock: e.Clock}
	return applicant.Request(ctx, config, who, e.ticket.Enrolment, asked)
}

// try reads the server's own PoolServer: what an agent cannot do without.
func (e *exchange) try(ctx context.Context, c credential.Credential) error {
	client, err := corev1client.NewForConfig(e.config(c.Grant))
	if err != nil {
		return err
	}
	path := "/apis/ems.mitigation.dev/v1alpha1/namespaces/" + c.Namespace + "/poolservers/" + c.Server
	var result rest.Result
	err = e.again(ctx, func() error {
		result = client.RESTClient().Get().AbsPath(path).Do(ctx)
		return result.Error()
	}, func(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) })
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster has no PoolServer %s; an operator has to enrol the server again: %s", c.Identity, c.Again())
	case err != nil:
		return e.explain(err)
	}
	return samePool(result, c.Pool)
}

// again repeats what may fail for a moment.
func (e *exchange) again(ctx context.Context, do func() error, passing func(error) bool) error {
	for trial := 1; ; trial++ {
		err := do()
		if err == nil || !passing(err) || trial == trials {
			return err
		}
		if err := pause.On(ctx, e.Clock, trialPause); err != nil {
			return err
		}
	}
}

func samePool(result rest.Result, pool string) error {
	content, err := result.Raw()
	if err != nil {
		return err
	}
	var server struct {
		Spec struct {
			PoolName string `json:"poolName"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(content, &server); err != nil {
		return fmt.Errorf("PoolServer: %w", err)
	}
	if server.Spec.PoolName != pool {
		return fmt.Errorf("the PoolServer belongs to pool %q, the enrolment string to %q: an operator has to make a new string", server.Spec.PoolName, pool)
	}
	return nil
}

// spend deletes the Secret that the string hangs on. Only who may have deleted it before finds nothing wrong when it is gone.
func (e *exchange) spend(ctx context.Context, c credential.Credential, resumed bool) error {
	client, err := corev1client.NewForConfig(e.config(c.Grant))
	if err != nil {
		return err
	}
	err = client.Secrets(c.Namespace).Delete(ctx, identity.BootstrapSecret(c.Server), metav1.DeleteOptions{})
	switch {
	case err == nil, apierrors.IsNotFound(err) && resumed:
		return nil
	case apierrors.IsNotFound(err):
		return errors.Join(fmt.Errorf("%w; an operator has to look, and to enrol the server again: %s", ErrUsedTwice, c.Again()), e.store.Remove())
	case apierrors.IsUnauthorized(err):
		return errors.Join(fmt.Errorf("%w; an operator has to enrol the server again: %s", ErrRefused, c.Again()), e.store.Remove())
	}
	return e.explain(err)
}

// explain turns what the API server or the connection says into what to do.
func (e *exchange) explain(err error) error {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case apierrors.IsUnauthorized(err):
		text := ""
		if expiry, ok := identity.TokenExpiry(e.ticket.Token); ok && expiry.Before(e.Clock.Now()) {
			text = " (it ended at " + expiry.Format("2006-01-02 15:04:05Z") + ")"
		}
		return fmt.Errorf("%w%s. If nobody you know has used it, have an operator take it back: kubectl mitigation enroll --revoke -n %s %s/%s",
			ErrRefused, text, e.ticket.Namespace, e.ticket.Pool, e.ticket.Server)
	case apierrors.IsForbidden(err) && e.ticket.Enrolment != "":
		return fmt.Errorf("%w: %w; if nobody has let them yet, an operator has to: %s; %s", ErrRights, err, identity.Bind(e.ticket.Namespace), identity.BindCertificates(e.ticket.Namespace))
	case errors.Is(err, credential.ErrWaiting):
		return fmt.Errorf("%w; see kubectl get csr. The manager has to run with --client-certificates, and the cluster to have a signer; then the same command again", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w; if nobody has let them yet, an operator has to: %s", ErrRights, err, identity.Bind(e.ticket.Namespace))
	case errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		return fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	return err
}
