package control

import "context"

// SiteState is the run-time state of a site.
type SiteState string

// States of a site. Unknown means that the service which keeps the sites does not run.
const (
	SiteStarted  SiteState = "Started"
	SiteStopped  SiteState = "Stopped"
	SiteStarting SiteState = "Starting"
	SiteStopping SiteState = "Stopping"
	SiteUnknown  SiteState = "Unknown"
)

// Site is a site as it runs.
type Site struct {
	Name string
	// ID is the number of the site, by which its log folder is named.
	ID       string
	State    SiteState
	Bindings []Binding
}

// Binding is what a site listens to.
type Binding struct {
	// Protocol is http, https or one of those that are no web protocols, such as net.tcp.
	Protocol string
	// Information is address, port and host name with colons between them for web protocols: "*:443:mail.contoso.example",
	// "[::1]:80:".
	Information string
}

// Pool is an application pool as it runs.
type Pool struct {
	Name  string
	State PoolState
}

// Lister lists what IIS runs, each list in one call however long it is. It changes nothing. An error wraps
// ErrPoolsUnavailable where the service does not answer.
type Lister interface {
	Sites(ctx context.Context) ([]Site, error)
	Pools(ctx context.Context) ([]Pool, error)
}
