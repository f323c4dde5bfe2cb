package credential

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/internal/pause"
)

const (
	// authorityMap is the ConfigMap that Kubernetes puts into every namespace, with the certificates that API servers have to chain to.
	authorityMap, authorityKey = "kube-root-ca.crt", "ca.crt"
	// authorityPause is how often it is read, give or take a half: 10,000 servers read it every two seconds.
	authorityPause = 6 * time.Hour
	// firstAuthority is the longest time after the start until it is read first: a server that is rarely on has no six hours.
	firstAuthority = 10 * time.Minute
)

// Authority asks the cluster for the certificates that its API server has to chain to, in PEM, as one that trusts the present ones, or
// those that are given. Empty means that the cluster does not say.
type Authority func(ctx context.Context, trusted string) (string, error)

// askForAuthority is the Authority of the server's own namespace.
func (s *Source) askForAuthority(ctx context.Context, trusted string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	config := s.Config()
	if trusted != "" {
		transport, dialer, err := s.base.trusting(trusted)
		if err != nil {
			return "", err
		}
		defer dialer.CloseAll()
		config = &rest.Config{Host: s.who.URL, Transport: transport, WrapTransport: s.Wrap}
	}
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("authority of the API server: %w", err)
	}
	var found *corev1.ConfigMap
	if found, err = client.ConfigMaps(s.who.Namespace).Get(ctx, authorityMap, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("authority of the API server: %w", err)
	}
	return found.Data[authorityKey], nil
}

// followAuthority takes over what the cluster says of its authority, until the context ends.
func (s *Source) followAuthority(ctx context.Context) {
	wait := time.Duration(s.Random() * float64(firstAuthority))
	problem := ""
	for {
		if pause.On(ctx, s.Clock, wait) != nil {
			return
		}
		err := s.lookAtAuthority(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			problem = ""
		case err.Error() != problem:
			problem = err.Error()
			s.Log.Info("Authority of the API server cannot be followed; the present one stays", "problem", problem)
		}
		wait = time.Duration((0.5 + s.Random()) * float64(authorityPause))
	}
}

// lookAtAuthority takes over the certificates that the cluster names, if the API server that answers at this moment is one of theirs.
// Where servers reach it under another certificate, that of a load balancer, it is not, and everything stays as it was enrolled.
func (s *Source) lookAtAuthority(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	said, err := s.Authority(ctx, "")
	if err != nil || said == "" {
		return err
	}
	authorities, err := identity.ParseCA([]byte(said))
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", authorityMap, err)
	}
	next := s.credential()
	if same(next.CA, authorities) {
		return nil
	}
	if _, err := s.Authority(ctx, said); err != nil {
		return fmt.Errorf("ConfigMap %s names other certificates, which the API server that this server reaches is not of: %w", authorityMap, err)
	}
	next.CA = string(identity.Ticket{CA: authorities}.CAPEM())
	// Not in memory alone: the next start would know the old ones only, and nobody would hear of that until then.
	if err := s.Store.Replace(s.stored(), next); errors.Is(err, ErrReplaced) {
		return nil // by an enrolment, which brings its own
	} else if err != nil {
		return err
	}
	if err := s.adopt(next, next.ID()); err != nil {
		return err
	}
	s.Log.Info("Authority of the API server was renewed and is taken over", "server", s.who.String(), "certificates", next.Authorities())
	return nil
}

// same reports whether PEM has these certificates and no others, in any order.
func same(ca string, others []*x509.Certificate) bool {
	present, err := identity.ParseCA([]byte(ca))
	in := func(list []*x509.Certificate) func(*x509.Certificate) bool {
		return func(c *x509.Certificate) bool { return !slices.ContainsFunc(list, c.Equal) }
	}
	return err == nil && !slices.ContainsFunc(present, in(others)) && !slices.ContainsFunc(others, in(present))
}

// Authorities names the certificates that the API server has to chain to, for people: who they are of, and when they end.
func (i Identity) Authorities() []string {
	list, err := identity.ParseCA([]byte(i.CA))
	if err != nil {
		return nil
	}
	words := make([]string, 0, len(list))
	for _, c := range list {
		words = append(words, fmt.Sprintf("%s until %s, SHA-256 %x", c.Subject, c.NotAfter.UTC().Format(time.DateOnly), sha256.Sum256(c.Raw)))
	}
	return words
}

// strange tells, once until a request works again, that what answers has a certificate of somebody else. err is that of a request.
func (s *Source) strange(err error) {
	var (
		unknown x509.UnknownAuthorityError
		is      = errors.As(err, &unknown)
	)
	if err != nil && !is {
		return // it says nothing about who answers
	}
	s.mu.Lock()
	told := s.strangeTold
	s.strangeTold = is
	s.mu.Unlock()
	if !is || told {
		return
	}
	s.Log.Error(err, "What answers is not the API server of the enrolment: something in between opens TLS, or the authority of the cluster has changed while this "+
		"server did not hear of it; what is in place stays", "server", s.who.String(), "url", s.who.URL, "command", s.who.Again())
	s.Tell(false, fmt.Sprintf("What answers at %s has a certificate of an authority that server %s does not know. Either something in between opens TLS, or the authority "+
		"of the cluster has changed; then enrol the server again: %s. What is in place stays in place.", s.who.URL, s.who, s.who.Again()))
}
