// Package kstatus is a status oracle for tests: it tells whether the conditions of an object keep the rules that every
// kind of this API promises, and how generic tools read them.
//
// # Usage
//
// In a suite that waits for an object to become Ready:
//
//	Expect(feed).To(kstatus.BeConsistent())
//	Expect(kstatus.Of(feed)).To(Equal(kstatus.Current))
//
// Outside of Gomega, Check returns what is wrong as values.
//
// # Considerations
//
// The rules are stated once here instead of in every test, so that a condition that nobody thought of is judged too.
// They follow the conventions of kstatus, which Flux, Argo CD's health scripts and kubectl wait understand, plus our
// own promises of api/v1alpha1/condition_types.go.
//
// The package does not import kstatus itself: it lives in a module that is much larger than the few lines of it that
// apply to kinds with standard conditions. Of repeats these lines.
//
// Stability of messages cannot be judged from one object: a date in a message may be the expiry of a block, which
// is stable. Tests of that reconcile twice and compare.
package kstatus
