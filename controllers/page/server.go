package page

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"mitigation.dev/ems/controllers/scrape"
	"mitigation.dev/ems/controllers/tokens"
	"mitigation.dev/ems/internal/shard"
)

// Limits of one connection: a browser on a slow line gets the largest page in less, and who sends nothing is not waited for.
const (
	headerTimeout = 5 * time.Second
	readLimit     = 15 * time.Second
	writeLimit    = 30 * time.Second
	idleLimit     = 2 * time.Minute
	stopLimit     = 5 * time.Second
	// maxHeader has room for a token and the cookies that proxies add.
	maxHeader = 64 << 10
)

// Options say how the page is served.
type Options struct {
	// Address to listen on; 0 serves nothing.
	Address string
	// CertDir is a folder with tls.crt and tls.key, which are read again when they change. Without it the manager signs a certificate for
	// itself when it starts, which no browser knows.
	CertDir string
	// Shard is the manager's: the page has the servers of its pools alone.
	Shard shard.Name
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.Address == "0" && o.CertDir != "" {
		return fmt.Errorf("fleet page: certificates of %q: nothing is served, because the address is 0", o.CertDir)
	}
	return nil
}

// Add makes a manager serve the page, whether it leads or stands by.
func (o Options) Add(mgr ctrl.Manager) error {
	if o.Address == "0" || o.Address == "" {
		return nil
	}
	judge, err := tokens.New(mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("fleet page: %w", err)
	}
	log := mgr.GetLogger().WithName("page")
	return mgr.Add(&server{options: o, log: log, handler: newHandler(mgr.GetClient(), judge, clock.RealClock{}, log, o.Shard)})
}

// server is a Runnable of a manager.
type server struct {
	options Options
	log     logr.Logger
	handler http.Handler
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (s *server) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	config, err := s.tls(ctx)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("fleet page: %w", err)
	}
	serving := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxHeader, ErrorLog: stdlog.New(quiet{s.log}, "", 0),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		// What is being sent is sent to the end.
		ending, done := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer done()
		_ = serving.Shutdown(ending)
	}()
	s.log.Info("Serving the fleet page", "address", listener.Addr().String())
	err = serving.Serve(tls.NewListener(listener, config))
	cancel()
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("fleet page: %w", err)
}

func (s *server) tls(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	scrape.Harden(config)
	if s.options.CertDir != "" {
		watcher, err := certwatcher.New(filepath.Join(s.options.CertDir, "tls.crt"), filepath.Join(s.options.CertDir, "tls.key"))
		if err != nil {
			return nil, fmt.Errorf("fleet page: certificate: %w", err)
		}
		go func() {
			if err := watcher.Start(ctx); err != nil {
				s.log.Error(err, "Certificate is no longer read again")
			}
		}()
		config.GetCertificate = watcher.GetCertificate
		return config, nil
	}
	certificate, key, err := certutil.GenerateSelfSignedCertKeyWithFixtures("localhost", []net.IP{{127, 0, 0, 1}}, nil, "")
	if err != nil {
		return nil, fmt.Errorf("fleet page: certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("fleet page: certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// quiet has what the HTTP server says of single connections: browsers that do not know the certificate hang up, again and again.
type quiet struct{ log logr.Logger }

// Write implements io.Writer.
func (q quiet) Write(text []byte) (int, error) {
	q.log.V(1).Info("Connection ended", "cause", strings.TrimSpace(string(text)))
	return len(text), nil
}
