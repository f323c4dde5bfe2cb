package iis

import (
	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/samples"
)

// Types of actions.
const (
	ActionUrlRewrite = "UrlRewrite" //nolint:revive // the spelling of the document format
	ActionAppPool    = "AppPool"
	ActionService    = "Service"
	ActionDoNothing  = "DoNothing"
)

// ScopeServer is the scope of an action for the whole server.
const ScopeServer = "Server"

// Action is one step of a mitigation.
type Action struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	// Site of a UrlRewrite action: the name of a site, or of a site and a path below it.
	Site string `json:"site,omitempty"`
	// Scope says that a UrlRewrite action is for the whole server and names no site. It is a word of its own, so that a
	// name that got lost does not widen what a rule is for.
	Scope string `json:"scope,omitempty"`
	// Pool that an AppPool action stops and keeps from starting.
	Pool string `json:"pool,omitempty"`
	// Service that a Service action disables and stops, by its name and not the one that Windows displays.
	Service string `json:"service,omitempty"`
	// Rewrite is the <rewrite> element of a UrlRewrite action as it stands in the document.
	Rewrite []byte `json:"rewrite,omitempty"`
}

// Mitigation is a list of actions that are installed and removed together. Its ID is unique without regard to case.
type Mitigation struct {
	ID       string   `json:"id"`
	Revision int64    `json:"revision"`
	Digest   string   `json:"digest"` // of the document it came with; only compared
	Actions  []Action `json:"actions"`
	// Placement of rules, one of the constants; "" is PlaceApplicationHost.
	Placement string `json:"placement,omitempty"`
	// Samples are requests and what shall become of them. A mitigation is put in place only if they come out so; they change
	// nothing on the server themselves.
	Samples []samples.Sample `json:"samples,omitempty"`
}

// State is what became of a mitigation.
type State string

// States of an outcome.
const (
	// Applied means that the wanted revision is on the server.
	Applied State = "Applied"
	// Failed means that it is not, or not completely; Reason says why. An earlier revision may be there instead.
	Failed State = "Failed"
	// Removed means that the mitigation was not wanted any more and is gone.
	Removed State = "Removed"
)

// Outcome is the result of a Reconcile for one mitigation.
type Outcome struct {
	ID       string
	Revision int64
	State    State
	Reason   string // one of the constants of this package, "" unless Failed
	Message  string // what was found and what to do, "" unless Failed
	Changed  bool   // whether this call changed something on the server for it
}

// Reasons of a failed outcome; package refusal describes them.
const (
	SiteNotFound             = refusal.SiteNotFound
	PoolNotFound             = refusal.PoolNotFound
	RewriteModuleMissing     = refusal.RewriteModuleMissing
	RewriteSectionMissing    = refusal.RewriteSectionMissing
	SectionLocked            = refusal.SectionLocked
	WebConfigUnavailable     = refusal.WebConfigUnavailable
	NameCollision            = refusal.NameCollision
	UnsupportedContent       = refusal.UnsupportedContent
	ConfigurationMalformed   = refusal.ConfigurationMalformed
	ConfigurationMissing     = refusal.ConfigurationMissing
	ConfigurationReadOnly    = refusal.ConfigurationReadOnly
	ConfigurationRedirected  = refusal.ConfigurationRedirected
	ConfigurationBusy        = refusal.ConfigurationBusy
	ConfigurationWriteFailed = refusal.ConfigurationWriteFailed
	PoolStopFailed           = refusal.PoolStopFailed
	PoolStartFailed          = refusal.PoolStartFailed
	ServiceNotFound          = refusal.ServiceNotFound
	ServiceStopFailed        = refusal.ServiceStopFailed
	ServiceStartFailed       = refusal.ServiceStartFailed
	StateContested           = refusal.StateContested
	CrashLoop                = refusal.CrashLoop
	SamplesFailed            = refusal.SamplesFailed
	JournalCorrupt           = refusal.JournalCorrupt
	JournalFailed            = refusal.JournalFailed
)

// Facts describe a server.
type Facts struct {
	ConfigPath     string // of applicationHost.config
	RewriteModule  bool   // registered in globalModules
	RewriteSection bool   // declared in configSections
	Sites          []apphost.Site
	Pools          []string
	// Damaged lists records of the journal that were found damaged and set aside, as kind and name.
	Damaged []string
}

// content turns a mitigation into what has to stand in configuration files, wherever these are.
func (m Mitigation) content() (apphost.Wanted, error) {
	var w apphost.Wanted
	for _, a := range m.Actions {
		switch a.Type {
		case ActionDoNothing:
		case ActionAppPool:
			if a.Pool == "" {
				return w, refusal.New(UnsupportedContent, "action %q: no application pool is named", a.ID)
			}
			w.DisabledPools = append(w.DisabledPools, a.Pool)
		case ActionService:
			if a.Service == "" {
				return w, refusal.New(UnsupportedContent, "action %q: no service is named", a.ID)
			}
		case ActionUrlRewrite:
			if a.ID == "" || (a.Site == "") != (a.Scope == ScopeServer) {
				return w, refusal.New(UnsupportedContent, "action %q: no id, or no site is named, or one beside the scope of the server", a.ID)
			}
			content, err := apphost.ReadContent(a.Rewrite, a.Site, "EMS "+a.ID)
			if err != nil {
				return w, refusal.Wrap(UnsupportedContent, err, "action %q", a.ID)
			}
			w = w.Append(content)
		default:
			return w, refusal.New(UnsupportedContent, "action %q: type %q: not known to this agent", a.ID, a.Type)
		}
	}
	return w, nil
}
