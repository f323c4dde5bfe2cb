package credential

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/util/connrotation"

	"mitigation.dev/ems/agent/identity"
)

// connections carries requests to the API server. It trusts the certificates of the present credential and no others, and shows the
// client certificate where there is one. Both can be replaced while it is used.
type connections struct {
	proxy func(*http.Request) (*url.URL, error)
	// show is the client certificate that a new connection shows.
	show func() (*tls.Certificate, error)
	// heard gets the error of every request, nil too.
	heard func(error)

	mu        sync.Mutex
	ca, shown string
	transport http.RoundTripper
	dialer    *connrotation.Dialer
}

// RoundTrip implements http.RoundTripper.
func (c *connections) RoundTrip(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	transport := c.transport
	c.mu.Unlock()
	response, err := transport.RoundTrip(request)
	c.heard(err)
	return response, err
}

// use makes connections from now on as a credential says. Those that are open are ended if they trust, or have shown, something else: an
// API server asks for a certificate once for each connection. What is on them fails and is tried again. A token is in each request.
func (c *connections) use(present Credential) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil && c.ca == present.CA && c.shown == present.Certificate {
		return nil
	}
	// Another transport, also where the authority is the same: the present one may give a request a connection that is just being ended.
	transport, dialer, err := c.trusting(present.CA)
	if err != nil {
		return err
	}
	before := c.dialer
	c.ca, c.shown, c.transport, c.dialer = present.CA, present.Certificate, transport, dialer
	if before != nil {
		before.CloseAll()
	}
	return nil
}

// trusting makes a transport that trusts certificates in PEM.
func (c *connections) trusting(ca string) (http.RoundTripper, *connrotation.Dialer, error) {
	authorities, err := identity.ParseCA([]byte(ca))
	if err != nil {
		return nil, nil, fmt.Errorf("credential: %w: %w", ErrDamaged, err)
	}
	roots := x509.NewCertPool()
	for _, a := range authorities {
		roots.AddCert(a)
	}
	const dialTimeout, keepAlive, handshakeTimeout = 30 * time.Second, 30 * time.Second, 10 * time.Second
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext)
	transport := &http.Transport{
		Proxy: c.proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: handshakeTimeout,
		// What an agent reads are a few kilobytes now and then. A compressed watch costs both sides a window of tens of kilobytes for as
		// long as it lasts, and the API server the work for each agent.
		DisableCompression: true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.show() },
		},
	}
	if transport.Proxy == nil {
		transport.Proxy = http.ProxyFromEnvironment
	}
	// As client-go has it: HTTP/2 with a look at connections that are silent.
	return utilnet.SetTransportDefaults(transport), dialer, nil
}

// show is the client certificate of the present credential; with a token it is an empty one, which is none.
func (s *Source) show() (*tls.Certificate, error) {
	present := s.grant()
	if !present.IsCertificate() {
		return &tls.Certificate{}, nil
	}
	pair, err := tls.X509KeyPair([]byte(present.Certificate), []byte(present.Key))
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	return &pair, nil
}
