// Package controllers sets up the reconcilers of the manager.
//
// # Usage
//
//	err := controllers.Setup(mgr, controllers.Options{Namespace: "ems-system"})
//
// # Considerations
//
// One package per reconciler group: feed turns signed documents into Mitigations, rollout turns policy into one
// MitigationPlan per pool, fleet rolls up what servers report. They share nothing but the API and each object has one
// writer per part: feed writes Mitigation specs, fleet writes Mitigation statuses. Of the status of a pool, rollout writes the history and
// fleet the rest.
package controllers
