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
//
// Where several managers share the pools (Options.Shard), those that work for pools run in each of them, for its own pools, and everything
// else in the main one. A writer of a part is then one manager's reconciler for each pool; package handover sees to it that it is one. While no
// manager works for a pool, it writes to the pool's conditions as well.
package controllers
