package effective

import (
	"errors"

	"mitigation.dev/ems/agent/iis/apphost"
)

// Status is the answer of a verdict.
type Status string

// The answers.
const (
	// True means that IIS runs all of the content for every known URL of its target.
	True Status = "True"
	// False means that it does not, at least for some of them.
	False Status = "False"
	// Unknown means that this cannot be told from the configuration.
	Unknown Status = "Unknown"
)

// Reasons of verdicts that are True.
const (
	// InEffect means that nothing stands against the content.
	InEffect = "InEffect"
	// SiteNotStarted means the same, but that a site of the target does not start by itself (serverAutoStart).
	SiteNotStarted = "SiteNotStarted"
)

// Reasons of verdicts that are False.
const (
	// Missing means that the content stands in no file that IIS reads for the target.
	Missing = "Missing"
	// Altered means that an element of its name is there, with other content.
	Altered = "Altered"
	// RuleDisabled means that the rule has enabled="false".
	RuleDisabled = "RuleDisabled"
	// Cleared means that a <clear /> at the target or below drops it.
	Cleared = "Cleared"
	// RemovedByName means that a <remove> at the target or below drops it.
	RemovedByName = "RemovedByName"
	// NotInherited means that it stands in a location that the applications below do not inherit.
	NotInherited = "NotInherited"
	// Shadowed means that a rule in front of it matches every request and ends the processing.
	Shadowed = "Shadowed"
	// SectionInvalid means that IIS refuses the section and answers every request with 500.19.
	SectionInvalid = "SectionInvalid"
	// NameCollision means the same, because a name comes twice.
	NameCollision = "NameCollision"
	// ServerVariableNotAllowed means that a rule sets a server variable which is not allowed, so that it ends in an error.
	ServerVariableNotAllowed = "ServerVariableNotAllowed"
	// RewriteModuleMissing means that the module is not registered, or not enabled for the target or below.
	RewriteModuleMissing = "RewriteModuleMissing"
	// RewriteSwitchedOff means that the registry switches inbound or outbound rules off for the whole server.
	RewriteSwitchedOff = "RewriteSwitchedOff"
	// SiteNotFound means that the server has no such site.
	SiteNotFound = "SiteNotFound"
	// SampleNotBlocked means that a sample of the mitigation that must be blocked passes. Resolve knows no samples: package
	// iis adds this reason and the next.
	SampleNotBlocked = "SampleNotBlocked"
)

// Reasons of verdicts that are Unknown.
const (
	// MayBeShadowed means that a rule in front of it ends the processing of some requests, or rewrites their URL.
	MayBeShadowed = "MayBeShadowed"
	// ConfigurationUnreadable means that a file cannot be read, or not found: a share, a drive that is not there.
	ConfigurationUnreadable = "ConfigurationUnreadable"
	// ConfigurationMalformed means that a file is not well-formed, or not one that this package reads.
	ConfigurationMalformed = "ConfigurationMalformed"
	// ConfigurationRedirected means that IIS reads its configuration from a share.
	ConfigurationRedirected = "ConfigurationRedirected"
	// RegistryUnreadable means that the switches of URL Rewrite cannot be read.
	RegistryUnreadable = "RegistryUnreadable"
	// SampleUndecided means that nothing stands against the content, and that a sample cannot be decided.
	SampleUndecided = "SampleUndecided"
	// TooLarge means that the target has more levels, or more rules on them, than are looked at.
	TooLarge = "TooLarge"
)

// Reasons lists every reason.
func Reasons() []string {
	return []string{
		InEffect, SiteNotStarted, Missing, Altered, RuleDisabled, Cleared, RemovedByName, NotInherited, Shadowed, SectionInvalid, NameCollision,
		ServerVariableNotAllowed, RewriteModuleMissing, RewriteSwitchedOff, SiteNotFound, MayBeShadowed, ConfigurationUnreadable,
		ConfigurationMalformed, ConfigurationRedirected, RegistryUnreadable, SampleNotBlocked, SampleUndecided, TooLarge,
	}
}

// Limits.
const (
	// MaxLevels of one target: a server with 2,000 sites and ten applications each has 20,000. Each costs a look at a file.
	MaxLevels = 32768
	// MaxDepth of a path: each part costs a look at a file, and nobody nests so deep.
	MaxDepth = 32
	// MaxWork of one Resolve, in elements looked at; a level counts as 50. Real servers need some hundred thousand, twenty
	// million take a second or two. The bound is there because everybody who may write into the folder of a site can fill
	// its web.config with locations and rules.
	MaxWork = 20_000_000
	// MaxLookAlikes of one verdict; they are for people to read.
	MaxLookAlikes = 16
)

// Target is what one mitigation put into the configuration, by sites and paths.
type Target struct {
	ID      string
	Content apphost.Wanted
}

// Verdict is what became of one target. Targets without rewrite content have an empty Status.
type Verdict struct {
	ID      string
	Status  Status
	Reason  string
	Message string // names file, line and element; "" when all is well
	// Harm names requests that must pass and that the mitigation blocks, "" if there are none.
	Harm string
	// Note says what is worth knowing beside it, "" if nothing is.
	Note string
	// LookAlikes are rules of others that do the same. They are nobody's business but their owner's.
	LookAlikes []LookAlike
}

// LookAlike is a rule of somebody else that behaves as one of the target does, whatever its name.
type LookAlike struct {
	Name string
	// Like is the name of the target's rule.
	Like string
	// Path is where the rule stands: a site or a path of it, "" for the whole server.
	Path string
	File string
	Line int
}

// Switch is a value of the registry that switches a kind of rules.
type Switch string

// Values of a switch; "" is SwitchOn, the default of the module.
const (
	SwitchOn      Switch = "On"
	SwitchOff     Switch = "Off"
	SwitchUnknown Switch = "Unknown"
)

// Registry holds the switches below HKLM\SOFTWARE\Microsoft\InetStp\Rewrite.
type Registry struct {
	Inbound  Switch // InboundRewriteEnabled
	Outbound Switch // OutboundRewriteEnabled
}

// View is what can be seen of a server.
type View struct {
	Host        string // path of applicationHost.config
	Redirection string // path of redirection.config
	Files       Files
	Registry    Registry
}

// Files gives access to the files of a server.
type Files interface {
	// Read gives a file as Parse made it; section is that of a file named by configSource, else "". The error wraps
	// os.ErrNotExist where there is none, and ErrMalformed where Parse failed.
	Read(path, section string) (*File, error)
	// WebConfig gives the path of the web.config in the folder below a physicalPath, whether it exists or not.
	WebConfig(physicalPath, below string) (string, error)
	// Source gives the path of a file that a configSource names in another file.
	Source(file, configSource string) (string, error)
}

// ErrMalformed means that a file is not well-formed, or no IIS configuration.
var ErrMalformed = errors.New("malformed")
