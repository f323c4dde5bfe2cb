package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/shadow"
)

// APIVersion of the report. Fields may be added to it, and none changes its meaning.
const APIVersion = "ems.mitigation.dev/local/v1"

// Result is what came of a command.
type Result string

// Results.
const (
	// Changed means that the server was changed, or would have been, and is as it should be.
	Changed Result = "Changed"
	// Unchanged means that there was nothing to do.
	Unchanged Result = "Unchanged"
	// Failed means that something is not as it should be; the mitigations say what. Others may have been changed.
	Failed Result = "Failed"
	// Refused means that nothing was changed; the problem says why.
	Refused Result = "Refused"
)

// Report is what a command did, found, or would do.
type Report struct {
	APIVersion string  `json:"apiVersion"`
	Command    Command `json:"command"`
	// DryRun means that nothing was changed, and that what changed is what would have.
	DryRun bool   `json:"dryRun"`
	Result Result `json:"result"`
	// Problem says why the command was refused, or could not be completed.
	Problem *Problem `json:"problem,omitempty"`
	// Document is absent if none was given or it was refused.
	Document    *Document    `json:"document,omitempty"`
	Server      *Server      `json:"server,omitempty"`
	Mitigations []Mitigation `json:"mitigations"`
	Files       []File       `json:"files"`
	Switches    []Switch     `json:"switches"`
	// Warnings are for somebody to look at; they changed no result.
	Warnings []string `json:"warnings"`
}

// Problem is a reason in one word and in a sentence.
type Problem struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Document is the verified document.
type Document struct {
	File      string    `json:"file"`
	Feed      string    `json:"feed"`
	Publisher string    `json:"publisher,omitempty"`
	Version   string    `json:"version"`
	Sequence  int64     `json:"sequence,omitempty"`
	Issued    time.Time `json:"issued,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Digest    string    `json:"digest"`
}

// Server is what is known of the server. Empty fields are unknown.
type Server struct {
	Root          string `json:"root"`
	Product       string `json:"product,omitempty"`
	Role          string `json:"role,omitempty"`
	Build         string `json:"build,omitempty"`
	RewriteModule string `json:"rewriteModule"` // Present, Missing or Unknown
}

// Mitigation is where one mitigation stands.
type Mitigation struct {
	ID string `json:"id"`
	// State is Applied, Removed, NotApplicable, Failed, or for Status also Drifted or Missing.
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Revision in place; absent when none is.
	Revision int64 `json:"revision,omitempty"`
	// Digest of the document that it came from.
	Digest string `json:"digest,omitempty"`
	// Effective is True, False or Unknown: whether IIS runs the rules that are in place, or would run them. Absent where there
	// are none, and where a dry run cannot foresee it.
	Effective string `json:"effective,omitempty"`
	// LookAlikes are rules of others that do the same, with the file that they stand in. They are left alone.
	LookAlikes []string `json:"lookAlikes,omitempty"`
	// Actions are what is in place, or was if it has been removed.
	Actions []Action `json:"actions,omitempty"`
	// Changed means that this command changed something on the server for it.
	Changed bool `json:"changed"`
	// LastChange is when the server was last changed for it.
	LastChange time.Time `json:"lastChange,omitzero"`
}

// Action is one action of a mitigation.
type Action struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	// Target is a site, a site and a path, a pool, a service, or empty for the whole server.
	Target string `json:"target,omitempty"`
}

// File is a file that became different.
type File struct {
	Path   string `json:"path"`
	Change string `json:"change"` // Created, Modified or Deleted
	// Diff is a unified diff, of the command diff only.
	Diff string `json:"diff,omitempty"`
}

// Switch is a change of an application pool or a service.
type Switch struct {
	Kind   string `json:"kind"` // Pool or Service
	Name   string `json:"name"`
	Change string `json:"change"` // Stopped, Started, or the new start type of a service
}

// States of a mitigation that package enforce does not have.
const (
	// StateDrifted means that it was put in place, and that another program changed or removed a part of it.
	StateDrifted = "Drifted"
	// StateMissing means that the document has it, that the server needs it, and that it is not in place.
	StateMissing = "Missing"
)

// Reasons beside those of packages enforce, policy, replay and iis.
const (
	ReasonReverted           = "Reverted"
	ReasonKept               = "Kept"
	ReasonInPlace            = "InPlace"
	ReasonDrifted            = "Drifted"
	ReasonNotInPlace         = "NotInPlace"
	ReasonOldRevision        = "OldRevision"
	ReasonAgentRunning       = "AgentRunning"
	ReasonDocumentUnreadable = "DocumentUnreadable"
	ReasonUnknownMitigation  = "UnknownMitigation"
	ReasonIDTaken            = "IDTaken"
	ReasonUsage              = "Usage"
)

// commandError refuses a command.
type commandError struct{ reason, message string }

// Error implements error.
func (e *commandError) Error() string { return e.message }

func newReport(command Command, dryRun bool) *Report {
	return &Report{
		APIVersion: APIVersion, Command: command, DryRun: dryRun,
		Mitigations: []Mitigation{}, Files: []File{}, Switches: []Switch{}, Warnings: []string{},
	}
}

// ExitCode is 0 when the server is as the command wanted it, 1 when it is not or the command was refused, and 2 when the
// command was called wrongly.
func (r *Report) ExitCode() int {
	switch {
	case r.Problem != nil && r.Problem.Reason == ReasonUsage:
		return 2
	case r.Result == Failed || r.Result == Refused:
		return 1
	}
	return 0
}

// refuse ends a command before it changed anything.
func (r *Report) refuse(err error) *Report {
	r.Result, r.Problem = Refused, problemOf(err)
	return r
}

// conclude gives the result of a command that did its work. err concerns no single mitigation.
func (r *Report) conclude(err error) {
	r.Result = Unchanged
	if len(r.Files) > 0 || len(r.Switches) > 0 {
		r.Result = Changed
	}
	if err != nil {
		r.Result, r.Problem = Failed, problemOf(err)
	}
	for _, m := range r.Mitigations {
		switch {
		case m.State == string(enforce.Failed), m.State == StateDrifted, m.State == StateMissing, m.ineffective():
			r.Result = Failed
		case m.Changed && r.Result == Unchanged:
			r.Result = Changed
		}
	}
}

// ineffective reports whether a mitigation is in place and does not protect.
func (m Mitigation) ineffective() bool {
	return m.State == string(enforce.Applied) && m.Effective == string(effective.False)
}

func problemOf(err error) *Problem {
	if e, ok := errors.AsType[*commandError](err); ok {
		return &Problem{Reason: e.reason, Message: e.message}
	}
	return &Problem{Reason: refusal.Of(err, enforce.ReasonServerFailed), Message: err.Error()}
}

// noteChanges puts what became different into the report.
func (s *session) noteChanges(changes shadow.Changes) error {
	for _, f := range changes.Files {
		noted := File{Path: f.Path, Change: "Modified"}
		switch {
		case f.Before == nil:
			noted.Change = "Created"
		case f.After == nil:
			noted.Change = "Deleted"
		}
		if s.report.Command == CommandDiff {
			var err error
			if noted.Diff, err = unified(s.IISRoot, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		s.report.Files = append(s.report.Files, noted)
	}
	for _, c := range changes.Switches {
		s.report.Switches = append(s.report.Switches, Switch(c))
	}
	return nil
}

// tell puts results into the report. Outcomes say what was changed, and lists of mitigations what their actions are; the
// last one that knows a mitigation counts.
func (r *Report) tell(results []enforce.Result, outcomes []iis.Outcome, lists ...[]iis.Mitigation) {
	changed := map[string]bool{}
	for _, o := range outcomes {
		changed[strings.ToLower(o.ID)] = o.Changed
	}
	actions := map[string][]Action{}
	for _, m := range slices.Concat(lists...) {
		actions[strings.ToLower(m.ID)] = actionsOf(m)
	}
	for _, result := range results {
		k := strings.ToLower(result.ID)
		r.Mitigations = append(r.Mitigations, Mitigation{
			ID: result.ID, State: string(result.State), Reason: result.Reason, Message: result.Message, Revision: result.Revision, Digest: result.Digest,
			Effective: result.Effective, LookAlikes: result.LookAlikes, Actions: actions[k], Changed: changed[k],
		})
	}
	slices.SortStableFunc(r.Mitigations, func(a, b Mitigation) int {
		return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
	})
}

func actionsOf(m iis.Mitigation) []Action {
	out := make([]Action, 0, len(m.Actions))
	for _, a := range m.Actions {
		out = append(out, Action{ID: a.ID, Type: a.Type, Target: a.Site + a.Pool + a.Service})
	}
	return out
}
