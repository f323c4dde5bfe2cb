package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificatesv1client "k8s.io/client-go/kubernetes/typed/certificates/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/internal/clientcert"
)

var (
	// ErrDenied means that the manager, or a person, refused to approve a request for a certificate.
	ErrDenied = errors.New("the request for a certificate was denied")
	// ErrWaiting means that nobody has decided about a request yet, or nobody has signed.
	ErrWaiting = errors.New("the request for a certificate is not signed yet")
)

const (
	// lookForCertificate is how often a request is looked at.
	lookForCertificate = time.Second
	// maxCertificate is the size of the largest chain that is taken, in PEM.
	maxCertificate = 32 << 10
)

// Applicant asks for client certificates. A request that is not decided when a call ends is taken up again by the next one.
type Applicant struct {
	Clock clock.Clock

	name string
	key  *ecdsa.PrivateKey
}

// Request asks for a certificate for a key that never leaves the server, and waits until it is signed or the context ends. The error
// wraps ErrDenied or ErrWaiting where that is the case.
func (a *Applicant) Request(ctx context.Context, config *rest.Config, who Identity, enrolment string, asked time.Duration) (Grant, error) {
	client, err := certificatesv1client.NewForConfig(config)
	if err != nil {
		return Grant{}, fmt.Errorf("certificate of %s: %w", who, err)
	}
	requests := client.CertificateSigningRequests()
	if a.key == nil {
		if err := a.ask(ctx, requests, who, enrolment, asked); err != nil {
			return Grant{}, fmt.Errorf("certificate of %s: %w", who, err)
		}
	}
	grant, err := a.wait(ctx, requests, who, enrolment)
	if err == nil || !errors.Is(err, ErrWaiting) {
		a.key = nil // whatever became of it, another one is asked for next
	}
	if err != nil {
		return Grant{}, fmt.Errorf("certificate of %s: %w", who, err)
	}
	return grant, nil
}

func (a *Applicant) ask(ctx context.Context, requests certificatesv1client.CertificateSigningRequestInterface, who Identity, enrolment string, asked time.Duration) error {
	if asked == 0 || asked > clientcert.MaxLife {
		asked = clientcert.MaxLife
	}
	seconds := int32(max(asked, clientcert.MinLife) / time.Second)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	content, err := clientcert.NewRequest(clientcert.Subject{Namespace: who.Namespace, Server: who.Server, Enrolment: enrolment}, key)
	if err != nil {
		return err
	}
	wanted := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "ems-" + who.Namespace + "-" + who.Server + "-",
			Labels:       map[string]string{identity.PoolLabel: who.Pool, identity.ServerLabel: who.Server},
		},
		Spec: certificatesv1.CertificateSigningRequestSpec{Request: content, SignerName: clientcert.Signer, ExpirationSeconds: &seconds},
	}
	for _, usage := range clientcert.Usages() {
		wanted.Spec.Usages = append(wanted.Spec.Usages, certificatesv1.KeyUsage(usage))
	}
	made, err := requests.Create(ctx, wanted, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	a.name, a.key = made.Name, key
	return nil
}

// wait looks at the request until it is decided and signed.
func (a *Applicant) wait(ctx context.Context, requests certificatesv1client.CertificateSigningRequestInterface, who Identity, enrolment string) (Grant, error) {
	for {
		request, err := requests.Get(ctx, a.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return Grant{}, fmt.Errorf("request %s was deleted", a.name)
		case ctx.Err() != nil:
			return Grant{}, fmt.Errorf("%w: request %s", ErrWaiting, a.name)
		case apierrors.IsUnauthorized(err):
			return Grant{}, err
		case err != nil:
			return Grant{}, fmt.Errorf("%w: request %s: %w", ErrWaiting, a.name, err)
		}
		approved := request.CreationTimestamp.Time
		for _, c := range request.Status.Conditions {
			switch {
			case c.Status == corev1.ConditionFalse:
			case c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed:
				return Grant{}, fmt.Errorf("%w: request %s: %s: %s", ErrDenied, a.name, c.Reason, c.Message)
			case c.Type == certificatesv1.CertificateApproved && !c.LastUpdateTime.IsZero():
				approved = c.LastUpdateTime.Time
			}
		}
		if len(request.Status.Certificate) > 0 {
			return a.take(request.Status.Certificate, who, enrolment, approved)
		}
		select {
		case <-ctx.Done():
			return Grant{}, fmt.Errorf("%w: request %s", ErrWaiting, a.name)
		case <-a.Clock.After(lookForCertificate):
		}
	}
}

// take makes a grant of a certificate that was signed. Its life counts from the approval, both by clocks of the cluster.
func (a *Applicant) take(chain []byte, who Identity, enrolment string, approved time.Time) (Grant, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return Grant{}, err
	}
	c := Credential{Identity: who, Enrolment: enrolment, Grant: Grant{
		Certificate: string(chain), Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})),
	}}
	if err := c.checkCertificate(); err != nil {
		return Grant{}, fmt.Errorf("request %s: %w", a.name, err)
	}
	pair, err := tls.X509KeyPair(chain, []byte(c.Key))
	if err != nil {
		return Grant{}, fmt.Errorf("request %s: %w", a.name, err)
	}
	c.Expires, c.Life = pair.Leaf.NotAfter, pair.Leaf.NotAfter.Sub(approved).Truncate(time.Second)
	if c.Life <= 0 {
		return Grant{}, fmt.Errorf("request %s: the certificate ended at %s, before it was approved", a.name, c.Expires)
	}
	return c.Grant, nil
}

// checkCertificate reports what is wrong with a certificate and its key.
func (c Credential) checkCertificate() error {
	if len(c.Certificate) > maxCertificate {
		return fmt.Errorf("certificate: %d bytes: want at most %d", len(c.Certificate), maxCertificate)
	}
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key))
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	want := clientcert.Subject{Namespace: c.Namespace, Server: c.Server, Enrolment: c.Enrolment}
	switch leaf := pair.Leaf; {
	case leaf.Subject.CommonName != want.User():
		return fmt.Errorf("certificate: is for %.300q: want %q", leaf.Subject.CommonName, want.User())
	case !slices.Contains(leaf.Subject.Organization, clientcert.EnrolmentGroup+c.Enrolment):
		return errors.New("certificate: is of another enrolment")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return errors.New("certificate: is not one of a client")
	}
	return clientcert.CheckEnrolment(c.Enrolment)
}
