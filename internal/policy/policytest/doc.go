// Package policytest is one table of what policy means over time: what people and a publisher said, and the wanted answers
// at several times. Manager, agent, plugin and metrics are each tested with it, so that they cannot come to different
// answers about an expiry, an approval or a window.
//
// # Usage
//
//	for _, c := range policytest.Cases() {
//		for _, m := range c.Moments {
//			decision, _ := policy.ForPool(c.Mitigation, c.Configurations, c.Pool, m.At)
//			// compare with m.Pool
//		}
//	}
//
// Case holds values of package policy; Case.Objects gives the same as API objects, for those who convert them.
//
// # Considerations
//
// The wanted answers are written by hand, from the specification. None is computed by what is tested.
package policytest
