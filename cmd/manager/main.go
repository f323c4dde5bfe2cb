// Command manager runs the central controllers of EMS: it reads feeds of signed mitigations, renders the plan of every
// pool and rolls up what servers report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // windows of rollouts name time zones, and images without a system have no such data

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers"
	"mitigation.dev/ems/controllers/page"
	"mitigation.dev/ems/controllers/scrape"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/internal/telemetry"
	"mitigation.dev/ems/internal/version"
)

// reconcileTimeout ends a reconcile that hangs. Only polls of feeds may take longer; they set their own.
const reconcileTimeout = time.Minute

// options are the manager's flags.
type options struct {
	metrics      scrape.Options
	page         page.Options
	probeAddress string
	pprofAddress string
	leaderElect  bool
	namespace    string
	telemetry    telemetry.Endpoint
	certificates bool
	shard        string
	showVersion  bool
	zap          zap.Options
}

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.metrics.Address, "metrics-bind-address", "0", "address that metrics are served on, over TLS, such as :8443; 0 serves none")
	flags.StringVar(&o.metrics.CertDir, "metrics-cert-dir", "", "folder with tls.crt and tls.key for the metrics; without it the manager signs a certificate for itself")
	flags.StringVar(&o.page.Address, "page-bind-address", "0", "address that the fleet page is served on, over TLS, such as :8444; 0 serves none")
	flags.StringVar(&o.page.CertDir, "page-cert-dir", "", "folder with tls.crt and tls.key for the fleet page; without it the manager signs a certificate for itself")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address that /healthz and /readyz are served on; 0 serves none")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "address on the loopback interface that profiles are served on, such as localhost:6060; 0 serves none")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "run only while this manager holds the lease, so that several can stand by")
	flags.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the manager's own namespace; defaults to $POD_NAMESPACE, then ems-system")
	flags.StringVar(&o.telemetry.URL, "telemetry-url", "", "https URL of an endpoint of your own that diagnostic data is sent to once an hour, unless the MitigationConfiguration global says something else; empty sends none")
	flags.StringVar(&o.telemetry.CABundle, "telemetry-ca-bundle", "", "certificates, in PEM, that the certificate of --telemetry-url must chain to; the system's if empty")
	flags.StringVar(&o.telemetry.ProxyURL, "telemetry-proxy-url", "", "HTTP proxy to --telemetry-url")
	flags.BoolVar(&o.certificates, "client-certificates", false, "approve the client certificates of servers that are enrolled for them; needs the rights of config/certificates")
	flags.StringVar(&o.shard, "shard", "", "name of a shard: work for the pools whose label "+emsv1.ShardLabel+" says so, and for nothing else; without it for all others, and for what belongs to no pool")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	o.zap.BindFlags(flags)
}

func main() {
	var o options
	o.bind(flag.CommandLine)
	flag.Parse()
	if o.showVersion {
		fmt.Println(version.String())
		return
	}
	if o.namespace == "" {
		o.namespace = "ems-system"
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap)))
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.WithName("setup").Error(err, "Manager stopped")
		os.Exit(1)
	}
}

// validate says what is wrong with the flags, and returns which pools the manager works for.
func (o *options) validate() (shard.Name, error) {
	mine, err := shard.Parse(o.shard)
	switch {
	case mine == shard.Main:
	case !o.leaderElect:
		err = fmt.Errorf("--shard=%s: needs --leader-elect: the main manager knows by the Lease that somebody works for the shard", mine)
	case o.certificates:
		err = errors.New("--client-certificates: the main manager approves those of all servers, one with --shard none")
	case o.telemetry.URL != "":
		err = errors.New("--telemetry-url: the main manager sends the data of all servers, one with --shard none")
	}
	return mine, errors.Join(err, o.metrics.Validate(), o.page.Validate(), scrape.ValidateProfiles(o.pprofAddress))
}

func run(ctx context.Context, o options) error {
	mine, err := o.validate()
	if err != nil {
		return err
	}
	o.page.Shard = mine
	rest, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	mgr, err := ctrl.NewManager(rest, manager.Options{
		Scheme:                        controllers.Scheme(),
		Cache:                         controllers.ShardCacheOptions(mine),
		Client:                        controllers.ClientOptions(),
		Metrics:                       o.metrics.Server(),
		HealthProbeBindAddress:        o.probeAddress,
		PprofBindAddress:              o.pprofAddress,
		Controller:                    config.Controller{ReconciliationTimeout: reconcileTimeout},
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              mine.Lease(),
		LeaderElectionLabels:          mine.LeaseLabels(),
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	if err := controllers.Setup(mgr, controllers.Options{Namespace: o.namespace, Telemetry: o.telemetry, ClientCertificates: o.certificates, Shard: mine}); err != nil {
		return err
	}
	if err := o.page.Add(mgr); err != nil {
		return err
	}
	ctrl.Log.WithName("setup").Info("Starting manager", "version", version.String(), "namespace", o.namespace, "shard", o.shard)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the manager: %w", err)
	}
	return nil
}
