// Package chart holds the tests of the Helm chart in config/chart/ems: what it renders is what config/default says, wrong values
// are refused with a reason, a real API server takes every set of values, and the life of a release (install, upgrade, uninstall)
// costs no data.
//
// # Usage
//
//	make chart                        # builds Helm and the linter of manifests, then runs everything about the chart
//	go test -short ./test/chart       # what needs no control plane
//
// # Considerations
//
// Helm is the program of hack/tools/helm. The tests look for it in bin/tools, or where EMS_HELM says; without it they are
// skipped, because it takes minutes to build; with EMS_HELM set and no program there they fail. "make chart" and continuous
// integration set it.
package chart
