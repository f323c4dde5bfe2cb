package scrape

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"mitigation.dev/ems/controllers/tokens"
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

// ValidateProfiles says what is wrong with an address that profiles are served on. They come without TLS and without asking who wants
// them, and show what is in memory: only who can enter the manager's container may have them.
func ValidateProfiles(address string) error {
	if address == "" || address == "0" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("profiles: address: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("profiles: address %q: it is not on the loopback interface; use localhost and `kubectl port-forward`", address)
	}
	return nil
}

// Server are the options of the manager's metrics server.
func (o Options) Server() metricsserver.Options {
	return metricsserver.Options{
		BindAddress: o.Address, SecureServing: true, CertDir: o.CertDir, FilterProvider: Filter,
		TLSOpts: []func(*tls.Config){Harden},
	}
}

// Harden sets what the manager's servers have in common.
func Harden(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	// Without HTTP/2, whose streams can be opened and reset faster than anybody is asked for a token.
	c.NextProtos = []string{"http/1.1"}
}

// Filter lets those through whom the API server knows by their token and lets get the URL. It is a FilterProvider of a metrics
// server. The HTTP client is not used: questions have one of their own.
func Filter(config *rest.Config, _ *http.Client) (metricsserver.Filter, error) {
	judge, err := tokens.New(config)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return filter(judge), nil
}

func filter(judge *tokens.Judge) metricsserver.Filter {
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
				return
			}
			answer, err := judge.Ask(r.Context(), tokens.Bearer(r.Header), r.URL.Path)
			if err != nil {
				log.Error(err, "Reader of metrics could not be judged")
			}
			if answer.Code == http.StatusOK {
				next.ServeHTTP(w, r)
				return
			}
			http.Error(w, http.StatusText(answer.Code), answer.Code)
		}), nil
	}
}
