package harness

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/internal/clientcert"
)

// backdate is how long before now certificates begin, as those of the controller manager do.
const backdate = 5 * time.Minute

// StartSigner signs the certificates for clients of the API server that were approved, which in a cluster the controller manager does,
// until the returned function is called. A certificate lasts as long as its request asks for, or as longest says if that is shorter.
//
// It does what pkg/controller/certificates/signer of Kubernetes does for this signer: it copies subject and alternative names of the
// request, drops its other extensions. What must not be in a certificate, approval has to see.
func (e *Environment) StartSigner(ctx context.Context, longest func() time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				// What fails is tried again; who waits for a certificate says what is missing.
				_ = e.signApproved(ctx, longest())
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (e *Environment) signApproved(ctx context.Context, longest time.Duration) error {
	var list certificatesv1.CertificateSigningRequestList
	if err := e.Client.List(ctx, &list, client.MatchingFields{"spec.signerName": clientcert.Signer}); err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	var problems []error
	for i := range list.Items {
		request := &list.Items[i]
		is := func(kind certificatesv1.RequestConditionType) bool {
			return slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
				return c.Type == kind && c.Status == corev1.ConditionTrue
			})
		}
		if !is(certificatesv1.CertificateApproved) || is(certificatesv1.CertificateDenied) || is(certificatesv1.CertificateFailed) || len(request.Status.Certificate) > 0 {
			continue
		}
		var err error
		if request.Status.Certificate, err = e.ControlPlane.authority.sign(request, longest); err == nil {
			err = e.Client.Status().Update(ctx, request)
		}
		if !apierrors.IsConflict(err) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// sign issues what a request asks for.
func (a *authority) sign(request *certificatesv1.CertificateSigningRequest, longest time.Duration) ([]byte, error) {
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return nil, errors.New("signer: no PEM")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if err := asked.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	life := longest
	if seconds := request.Spec.ExpirationSeconds; seconds != nil {
		life = min(life, time.Duration(*seconds)*time.Second)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: asked.Subject, DNSNames: asked.DNSNames, IPAddresses: asked.IPAddresses, EmailAddresses: asked.EmailAddresses, URIs: asked.URIs,
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, asked.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
