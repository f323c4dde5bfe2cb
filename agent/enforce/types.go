package enforce

import (
	"time"

	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// Plan is the desired state of the server's pool, as the manager rendered it.
type Plan struct {
	// Generation of the MitigationPlan.
	Generation int64 `json:"generation"`
	// AuditOnly says that the pool is only looked at.
	AuditOnly bool `json:"auditOnly,omitempty"`
	// NotEnrolled says that the cluster knows, and that it has no PoolServer of this server in this pool. Stages cannot count
	// the server then, and nobody sees how it fares: it gets what has completed, and nothing before.
	NotEnrolled bool `json:"notEnrolled,omitempty"`
	// WebConfig says that rules of sites go to their web.config.
	WebConfig   bool                `json:"webConfig,omitempty"`
	Entries     []Entry             `json:"entries,omitempty"`
	FixedBuilds []policy.FixedBuild `json:"fixedBuilds,omitempty"`
	// Revocation says which revocation lists the server shall know, at most once for each feed.
	Revocation []RevocationRef `json:"revocation,omitempty"`
	// MustPass are requests that no mitigation may block.
	MustPass []samples.Sample `json:"mustPass,omitempty"`
	// HealthChecks are what the server is looked at by, beside sites and application pools.
	HealthChecks health.Checks `json:"healthChecks,omitzero"`
	// RepairRequest is any text; another one makes the server be looked at anew.
	RepairRequest string `json:"repairRequest,omitempty"`
	// Reporting says how the server reports.
	Reporting Reporting `json:"reporting,omitzero"`
}

// Reporting is how a server shows that it is alive, and when it reports.
type Reporting struct {
	// Lease is how often the Lease is renewed; 0 if the plan does not say.
	Lease time.Duration `json:"lease,omitempty"`
	// Window is within which time the server reports that something went well.
	Window time.Duration `json:"window,omitempty"`
}

// RevocationRef says where the revocation lists of a feed are.
type RevocationRef struct {
	FeedName   string `json:"feedName"`
	BundleName string `json:"bundleName"`
	// Digest over the lists, in lower-case hex. It says whether they are others than before, and nothing about whether they
	// are to be believed.
	Digest string `json:"digest"`
}

// Entry is what the pool's servers shall do about one mitigation.
type Entry struct {
	ID       string          `json:"id"`
	Decision policy.Decision `json:"decision"`
	Revision int64           `json:"revision"`
	Document DocumentRef     `json:"document"`
	Release  rollout.Release `json:"release"`
	// Rollout is empty in plans of older managers, and while there is nothing to roll out. Then there is no gate.
	Rollout Rollout `json:"rollout,omitzero"`
}

// Rollout is what servers follow of a rollout beside the release.
type Rollout struct {
	// ID is empty if there is no rollout.
	ID string `json:"id,omitempty"`
	// Waiting is why servers wait that the mitigation is not released to.
	Waiting policy.Reason `json:"waiting,omitempty"`
	// Complete says that every stage has passed.
	Complete bool `json:"complete,omitempty"`
	// Revert takes servers that the mitigation is not released to back to the fallback, or the mitigation off them. Otherwise
	// they stay as they are, unless the fallback is newer than what they have.
	Revert bool `json:"revert,omitempty"`
	// Terms of the gate.
	Terms gate.Terms `json:"terms,omitzero"`
	// Fallback is the good revision before; empty if there is none.
	Fallback Fallback `json:"fallback,omitzero"`
}

// Fallback is the good revision before the one that is being rolled out.
type Fallback struct {
	// Rollout that proved it good; empty if there is no fallback.
	Rollout  string      `json:"rollout,omitempty"`
	Revision int64       `json:"revision,omitempty"`
	Document DocumentRef `json:"document,omitzero"`
}

// DocumentRef says which signed document a mitigation comes from, and under whose trust policy it has to verify.
type DocumentRef struct {
	FeedName   string `json:"feedName"`
	BundleName string `json:"bundleName"`
	// Digest of the canonical signed content, in lower-case hex.
	Digest string `json:"digest"`
}

// Documents returns the documents that have to be at hand to carry the plan out, each once: those of fallbacks first, which
// are the older ones, then the others in the order of the plan. Nil plans need none.
func (p *Plan) Documents() []DocumentRef {
	if p == nil {
		return nil
	}
	seen := map[DocumentRef]bool{}
	var refs []DocumentRef
	add := func(ref DocumentRef) {
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	for _, e := range p.Entries {
		if e.Decision.Desired == policy.Apply && e.Rollout.Fallback.Rollout != "" {
			add(e.Rollout.Fallback.Document)
		}
	}
	for _, e := range p.Entries {
		if e.Decision.Desired == policy.Apply {
			add(e.Document)
		}
	}
	return refs
}

// RevocationLists returns where the plan's revocation lists are; nil plans have none.
func (p *Plan) RevocationLists() []RevocationRef {
	if p == nil {
		return nil
	}
	return p.Revocation
}

// Document is a verified and accepted document, or the reason why it cannot be used.
type Document struct {
	// Content is nil exactly when there is a Failure.
	Content *ocs.Document
	// FeedProduct is what mitigations are for that do not say it themselves. Empty: unknown.
	FeedProduct string
	Failure     *Failure
}

// Failure says why a document cannot be used.
type Failure struct {
	Reason  string
	Message string
	// Transient failures are expected to go away without anybody's help.
	Transient bool
}

// Reasons of failures, beside those of policy, of replay protection and of package iis.
const (
	// ReasonNotInPlan: the mitigation is in place but the plan does not mention it.
	ReasonNotInPlan = "NotInPlan"
	// ReasonPlanMismatch: the plan contradicts the signed document.
	ReasonPlanMismatch = "PlanMismatch"
	// ReasonConfigRefused: the document holds the mitigation, but in a form that breaks the format.
	ReasonConfigRefused = "ConfigRefused"
	// ReasonBundleMissing: the cluster has no such MitigationBundle.
	ReasonBundleMissing = "BundleMissing"
	// ReasonBundleUnavailable: the MitigationBundle cannot be fetched at the moment.
	ReasonBundleUnavailable = "BundleUnavailable"
	// ReasonDocumentMalformed: the document is signed but breaks the format.
	ReasonDocumentMalformed = "DocumentMalformed"
	// ReasonSequenceRolledBack: the document is older than one that this server has accepted.
	ReasonSequenceRolledBack = "SequenceRolledBack"
	// ReasonStateFailed: the agent cannot keep its own records, without which it accepts nothing new.
	ReasonStateFailed = "StateFailed"
	// ReasonGateFailed: the server got worse with the mitigation and took it back.
	ReasonGateFailed = string(policy.GateFailed)
	// ReasonSwitchesUnusable: what people switched off at the server cannot be read, so nothing is changed.
	ReasonSwitchesUnusable = "SwitchesUnusable"
	// ReasonServerFailed: the server could not be brought into the wanted state, for a reason without a name of its own.
	ReasonServerFailed = "ServerFailed"
)

// State is where a mitigation stands on the server, in the words of the API.
type State string

// The states of a mitigation.
const (
	Applied       State = "Applied"
	Removed       State = "Removed"
	Held          State = "Held"
	Audited       State = "Audited"
	NotApplicable State = "NotApplicable"
	Pending       State = "Pending"
	Failed        State = "Failed"
)

// Input is everything that a decision depends on.
type Input struct {
	// Server is the name that the rollout knows the server by.
	Server string
	// Plan is nil when the pool has none.
	Plan *Plan
	// Documents holds an answer for every Plan.Documents; a missing one counts as unavailable.
	Documents map[DocumentRef]Document
	// Applied is what is in place, with its full content.
	Applied []iis.Mitigation
	Facts   policy.Facts
	// Histories are what the server remembers, by lower-case id.
	Histories map[string]History
	// Withheld are mitigations that nothing new may be put in place of now, and why, by lower-case id.
	Withheld map[string]Failure
	// Switches are what people said at the server itself.
	Switches switches.Switches
	// Now is for what stops counting at a time.
	Now time.Time
}

// Decision is what shall be in place and why.
type Decision struct {
	// Wanted is what shall be in place afterwards, all of it, sorted by id.
	Wanted []iis.Mitigation
	// Intents holds one entry per mitigation of the plan and per mitigation in place, sorted by id.
	Intents []Result
	// Trials are those of Wanted that have to go through a gate or have done so, sorted by id.
	Trials []Trial
	// Audits are what would be put in place if the pool were not only looked at, sorted by id.
	Audits []iis.Mitigation
	// MustGo holds the lower-case ids of mitigations of which what is in place now has to go, whatever becomes of what
	// shall follow it.
	MustGo map[string]bool
}

// Trial is a content that is wanted under a rollout.
type Trial struct {
	ID      string
	Rollout string
	Terms   gate.Terms
	Content iis.Mitigation
	// Settled says that a server which has the content already needs no gate any more.
	Settled bool
}

// Gate is how the server fares with a rollout, for its status.
type Gate struct {
	// Rollout is empty if there is nothing to say.
	Rollout string
	// Verdict is one of package gate, or NotNeeded.
	Verdict gate.Verdict
	// Message says what is wrong.
	Message string
}

// NotNeeded is the verdict of a server that does not need the mitigation.
const NotNeeded gate.Verdict = "NotNeeded"

// Result is where one mitigation stands on the server.
type Result struct {
	ID      string
	State   State
	Reason  string
	Message string
	// Revision in place; 0 when none is.
	Revision int64
	// Digest of the document that the revision in place came from.
	Digest string
	// Effective is True, False or Unknown: whether IIS runs the rules in place. Empty: no rules are, or nobody looked.
	Effective string
	// LookAlikes are rules of others that do the same, with the file that they stand in.
	LookAlikes []string
	// Gate is about the rollout that the plan names.
	Gate Gate
	// Transient says that a Pending result waits for something that comes by itself, and not for the rollout.
	Transient bool
}
