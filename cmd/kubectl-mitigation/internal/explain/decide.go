package explain

import "mitigation.dev/ems/internal/policy"

// Decide says what the server of the objects has to do about a mitigation, as One does, without the words around it: there may be ten
// thousand servers to ask about. Server may be changed between two calls; the planner is asked once.
func (o *Objects) Decide(id string) policy.Decision {
	m, now, planned := o.find(id)
	x := Explanation{Mitigation: id}
	decision, _ := policy.Explain(x.asked(o, m, now, planned), o.Now)
	return decision
}
