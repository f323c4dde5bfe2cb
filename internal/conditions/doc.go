// Package conditions writes the summary conditions of a status, Ready, Reconciling and Stalled, so that they follow
// kstatus everywhere in the same way.
//
// # Usage
//
//	conditions.Set(&status.Conditions, object.Generation, conditions.Done(emsv1.InSyncReason, "3 of 3 servers are in sync"))
//
// # Considerations
//
// A status is in one of three outcomes. Done: Ready=True alone. Working: Ready=False and Reconciling=True, it will be tried
// again by itself. Stalled: Ready=False and Stalled=True, a person has to act. Nothing else may write these three.
//
// [TrustAnchors] is here because feeds and servers bear that condition in the same words.
package conditions
