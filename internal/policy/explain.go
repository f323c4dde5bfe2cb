package policy

import (
	"fmt"
	"strings"
	"time"
)

// Step is one question that was asked on the way to a decision.
type Step struct {
	Question string
	Answer   string
	// Source names the objects and fields that were looked at: Kind/name field.
	Source string
	// Decisive says that the answer settled the matter. Of a chain, at most the last step is decisive; where none is,
	// nothing stands against the mitigation.
	Decisive bool
}

// Case is everything that a decision about one mitigation depends on.
type Case struct {
	Mitigation     Mitigation
	Configurations []Configuration
	Pool           Pool
	// Server is the server's side; nil to ask only for the pool.
	Server *ServerCase
}

// ServerCase is what a decision on one server depends on, beside the pool's.
type ServerCase struct {
	// Planned is what the plan says, which servers follow; nil when it says what policy says now.
	Planned *Decision
	// Situation of the server. Its Applicability is found out from the fields below.
	Situation   Situation
	Products    []Product
	FeedProduct string
	FixedBuilds []FixedBuild
	Facts       Facts
}

// Explain decides as ForPool does, or with a server as AtServer, Applicability and ForServer do, and says how: which
// questions were asked, in their order, what answered them, and which answer settled it.
func Explain(c Case, now time.Time) (Decision, []Step) {
	var t trace
	pool, _ := forPool(c.Mitigation, c.Configurations, c.Pool, now, &t)
	if c.Server == nil {
		return pool, t.steps
	}
	// The server's chain goes on from the pool's; what settled the pool's side is settled again by asking for it.
	t.settleNothing()
	if planned := c.Server.Planned; planned != nil {
		t.planned(pool, *planned, now)
		pool = AtServer(*planned, now)
	}
	s := c.Server.Situation
	s.Applicability = applicability(c.Mitigation.ID, c.Server.Products, c.Server.FeedProduct, c.Server.FixedBuilds, c.Server.Facts, &t)
	return forServer(pool, s, &t), t.steps
}

// trace gathers the steps of a decision. A nil trace gathers nothing, so that deciding costs no words.
type trace struct{ steps []Step }

// judged tells of a question whose answer settles the matter unless it is empty, and else gives another word.
func (t *trace) judged(question, decisive, other, source, otherSource string) {
	switch {
	case t == nil:
	case decisive != "":
		t.steps = append(t.steps, Step{Question: question, Answer: decisive, Source: source, Decisive: true})
	default:
		t.looked(question, other, otherSource)
	}
}

// looked tells of a question whose answer settles nothing by itself.
func (t *trace) looked(question, answer, source string) {
	if t != nil {
		t.steps = append(t.steps, Step{Question: question, Answer: answer, Source: source})
	}
}

// exceptions tells of the entries of lists that speak of an id, the expired ones too: who looks for a block that has
// ended wants to read that it has.
func (t *trace) exceptions(question, id string, active, expired entries, decisive bool) {
	if len(active) > 0 {
		t.steps = append(t.steps, Step{Question: question, Answer: active[0].message(id), Source: active[0].source, Decisive: decisive})
		return
	}
	answer, sources := "no", []string(nil)
	for _, e := range expired {
		answer += fmt.Sprintf("; the entry of %s for %s expired at %s", e.holder, e.ID, e.Expiry.UTC().Format(time.RFC3339))
		sources = append(sources, e.source)
	}
	t.looked(question, answer, strings.Join(sources, ", "))
}

// planned tells what the plan says, and whether policy says so still.
func (t *trace) planned(now, planned Decision, at time.Time) {
	const question, source = "What does the plan say?", "MitigationPlan"
	answer := fmt.Sprintf("%s (%s)", planned.Desired, planned.Reason)
	if still := AtServer(planned, at); still.Reason != planned.Reason {
		answer += "; " + still.Message
	} else if now.Desired != planned.Desired || now.Reason != planned.Reason {
		answer += fmt.Sprintf("; policy says %s (%s) now, the manager has not planned that yet", now.Desired, now.Reason)
	}
	t.looked(question, answer, source)
}

func (t *trace) settleNothing() {
	for i := range t.steps {
		t.steps[i].Decisive = false
	}
}

// asked names all objects whose field was looked at.
func (t *trace) asked(configurations []Configuration, pool Pool, field string) string {
	if t == nil {
		return ""
	}
	names := make([]string, 0, len(configurations)+1)
	for _, c := range configurations {
		names = append(names, c.source(""))
	}
	return strings.Join(append(names, pool.source("")), ", ") + ": " + field
}
