package ocs

import (
	"errors"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/build"
)

// Versions of the format that are known.
const (
	Version104 = "1.0.4"
	Version11  = "1.1"
)

// DefaultTarget is where a UrlRewrite action of scope Site goes that names no target.
const DefaultTarget = "Default Web Site"

// The only values of actions other than UrlRewrite.
const (
	ValueDoNothing = "DoNothing"
	ValueStopped   = "Stopped"
	ValueDisabled  = "Disabled"
)

// Errors that Parse and Build wrap. All of them refuse the document as a whole.
var (
	// ErrMalformed marks bytes that are not the XML of the format.
	ErrMalformed = errors.New("malformed document")
	// ErrLimitExceeded marks documents that break a limit of the document.
	ErrLimitExceeded = errors.New("document limit exceeded")
	// ErrUnsupportedVersion marks documents of an unknown major version.
	ErrUnsupportedVersion = errors.New("unsupported document version")
	// ErrInvalid marks documents whose root breaks a rule of the format, and documents
	// that cannot be built.
	ErrInvalid = errors.New("invalid document")
)

// Document is the content of one signed mitigation document.
type Document struct {
	// Version is the version as written, such as "1.0.4". It can be newer than 1.1.
	Version string
	// Publisher is who signed for the content, for people; empty if not stated.
	Publisher string
	// Sequence orders the documents of a feed; 0 means that none is stated.
	Sequence int64
	// Issued and Expires are in UTC; zero if not stated.
	Issued, Expires time.Time
	// Configs holds the Configs that keep all rules, in document order.
	Configs []Config
	// Refused holds one entry for every other Config, in document order.
	Refused []Refusal
}

// Successor returns the id of the Config that supersedes the given one, empty if none does. Case does not matter.
func (d *Document) Successor(id string) string {
	for i := range slices.Backward(d.Configs) {
		c := &d.Configs[i]
		if !strings.EqualFold(c.ID, id) && slices.ContainsFunc(c.Supersedes, func(s string) bool { return strings.EqualFold(s, id) }) {
			return c.ID
		}
	}
	return ""
}

// Refusal says why a Config was not taken.
type Refusal struct {
	// ID is the id as written, shortened if it is too long, empty if there is none.
	ID string
	// Reason is one of the Reason constants.
	Reason string
	// Message says what is wrong, where, and what would be right.
	Message string
}

// Reasons of a Refusal.
const (
	// ReasonInvalidID means that the id is missing or breaks its grammar.
	ReasonInvalidID = "InvalidID"
	// ReasonDuplicateID means that several Configs have this id when case is ignored.
	// All of them are refused, since nobody can know which one was meant.
	ReasonDuplicateID = "DuplicateID"
	// ReasonDuplicateActionID means the same for the id of an Action, by which its rules
	// are found again on a server.
	ReasonDuplicateActionID = "DuplicateActionID"
	// ReasonUnknownContent means an element, attribute or text that the format does not
	// have at that place.
	ReasonUnknownContent = "UnknownContent"
	// ReasonMissingContent means that a required element or attribute is not there.
	ReasonMissingContent = "MissingContent"
	// ReasonRepeatedElement means an element that may occur only once.
	ReasonRepeatedElement = "RepeatedElement"
	// ReasonInvalidValue means a value outside its grammar or enumeration.
	ReasonInvalidValue = "InvalidValue"
	// ReasonLimitExceeded means too many elements or too long a text.
	ReasonLimitExceeded = "LimitExceeded"
	// ReasonInvalidRewrite means that IIS would not take the <rewrite> element, or that
	// it holds what the format does not allow.
	ReasonInvalidRewrite = "InvalidRewrite"
	// ReasonCostlyPattern means that a request can make a pattern cost so much that the server stops
	// answering, or that nobody can know what it costs.
	ReasonCostlyPattern = "CostlyPattern"
)

// Config is one mitigation.
type Config struct {
	// ID names the mitigation, such as M2.
	ID string
	// Revision is 1 or more; a higher one replaces a lower one as a whole.
	Revision int64
	// Description is for people.
	Description string
	// Severity is empty if not stated.
	Severity Severity
	// CVEs holds the identifiers of the holes it closes.
	CVEs []string
	// Supersedes holds the ids of mitigations that it replaces.
	Supersedes []string
	// Applicability says what is vulnerable; empty means the feed's product.
	Applicability []Product
	// SideEffects says what stops working, for people.
	SideEffects []string
	// Actions holds at least one action.
	Actions []Action
	// Samples holds requests that must be blocked or pass.
	Samples []Sample
}

// Severity is how bad the hole is that a mitigation closes.
type Severity string

// The severities, from the least.
const (
	SeverityLow       Severity = "Low"
	SeverityModerate  Severity = "Moderate"
	SeverityImportant Severity = "Important"
	SeverityCritical  Severity = "Critical"
)

// The names of a Product.
const (
	ProductExchangeServer         = "ExchangeServer"
	ProductSkypeForBusinessServer = "SkypeForBusinessServer"
	ProductSharePointServer       = "SharePointServer"
	ProductIIS                    = "IIS"
)

// Product is a product that a mitigation applies to.
type Product struct {
	// Name is one of the Product constants.
	Name string
	// Role is the server role, such as Mailbox; empty means every role.
	Role string
	// Branches holds the vulnerable builds; empty means every build.
	Branches []Branch
}

// Branch is a range of vulnerable builds: From <= build < FixedIn.
type Branch struct {
	// From is the first vulnerable build; zero means that none is stated.
	From build.Number
	// FixedIn is the first build with the fix; zero means that there is no fix yet.
	FixedIn build.Number
}

// ActionType is what an action changes.
type ActionType string

// The types of an action.
const (
	// DoNothing changes nothing; it shows that documents arrive.
	DoNothing ActionType = "DoNothing"
	// URLRewrite adds URL Rewrite configuration.
	URLRewrite ActionType = "UrlRewrite"
	// AppPool stops an application pool.
	AppPool ActionType = "AppPool"
	// Service disables a Windows service.
	Service ActionType = "Service"
)

// Scope is the level that an action changes.
type Scope string

// The scopes of an action.
const (
	ScopeServer Scope = "Server"
	ScopeSite   Scope = "Site"
)

// Action is one change on a server.
type Action struct {
	// ID is unique in the document when case is ignored.
	ID string
	// Type is what is changed.
	Type ActionType
	// Scope is Server or Site.
	Scope Scope
	// Target is a site or site/path, a pool or a service. It is empty for UrlRewrite of
	// scope Server, and may be for DoNothing.
	Target string
	// Description is for people.
	Description string
	// Value is the wanted state, one of the Value constants; empty for UrlRewrite.
	Value string
	// Rewrite is the verbatim <rewrite> element; nil but for UrlRewrite.
	Rewrite []byte
	// AcknowledgedCost is the degree up to which the publisher knows, and accepts, that the matching cost
	// of a pattern grows with the length of a request: 3 to 9; 0 if nothing is acknowledged.
	AcknowledgedCost int
}

// Expectation is what must become of a Sample once the mitigation is applied.
type Expectation string

// The expectations of a Sample.
const (
	Blocked Expectation = "Blocked"
	Passed  Expectation = "Passed"
)

// Sample is a request that shows whether a mitigation does what it should.
type Sample struct {
	Expect Expectation
	// Method is GET if the document states none.
	Method string
	// URL is the request target, path and query as they go over the wire. It begins with
	// a slash; it can begin with two, so it must not be resolved as a URL reference.
	URL string
	// Host is the Host header; empty means that of the site.
	Host string
	// Headers holds further request headers in document order.
	Headers []Header
}

// Header is a request header of a Sample.
type Header struct {
	Name, Value string
}
