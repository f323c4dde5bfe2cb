package enforce

import (
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/samples"
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
	// WebConfig says that rules of sites go to their web.config.
	WebConfig   bool                `json:"webConfig,omitempty"`
	Entries     []Entry             `json:"entries,omitempty"`
	FixedBuilds []policy.FixedBuild `json:"fixedBuilds,omitempty"`
	// Revocation says which revocation lists the server shall know, at most once for each feed.
	Revocation []RevocationRef `json:"revocation,omitempty"`
	// MustPass are requests that no mitigation may block.
	MustPass []samples.Sample `json:"mustPass,omitempty"`
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
}

// DocumentRef says which signed document a mitigation comes from, and under whose trust policy it has to verify.
type DocumentRef struct {
	FeedName   string `json:"feedName"`
	BundleName string `json:"bundleName"`
	// Digest of the canonical signed content, in lower-case hex.
	Digest string `json:"digest"`
}

// Documents returns the documents that have to be at hand to carry the plan out, each once, in the order of the plan.
// Nil plans need none.
func (p *Plan) Documents() []DocumentRef {
	if p == nil {
		return nil
	}
	seen := map[DocumentRef]bool{}
	var refs []DocumentRef
	for _, e := range p.Entries {
		if e.Decision.Desired == policy.Apply && !seen[e.Document] {
			seen[e.Document] = true
			refs = append(refs, e.Document)
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
}

// Decision is what shall be in place and why.
type Decision struct {
	// Wanted is what shall be in place afterwards, all of it, sorted by id.
	Wanted []iis.Mitigation
	// Intents holds one entry per mitigation of the plan and per mitigation in place, sorted by id.
	Intents []Result
}

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
	// Transient says that a Pending result waits for something that comes by itself, and not for the rollout.
	Transient bool
}
