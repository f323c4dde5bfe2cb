// Package monitoring tests what is shipped for Prometheus and Grafana: that rules and dashboard are whole, that they name nothing that manager and
// agent do not export, that each alert has cases and a page, and what promtool and Grafana's schema say of them.
package monitoring
