// Command chart writes what the Helm chart has in common with config/default, so that nothing is written by hand twice.
//
// # Usage
//
//	go run ./hack/chart
//
// "make generate" runs it. It reads the kustomizations of config/crd, config/rbac, config/admission and config/manager, and writes
// one template for each of their files to config/chart/ems/templates/generated; what else lies there it removes. The rules of
// config/prometheus and the dashboards of config/grafana become files/ of the chart.
//
// # Considerations
//
// Templates are texts that happen to become YAML, and so are the edits here: a line of the source is found and another one put in
// its place. Every edit says how often it must be found, and anything else is an error, so that a change of the source cannot
// leave a value of the chart without effect. Comments stay: whoever reads the rendered manifests finds the reasons there.
//
// The Namespace is left out. Helm keeps its record of a release in the namespace of the release, which therefore is there before
// the chart is, and a chart that has the same Namespace among its objects can neither be installed nor removed.
package main
