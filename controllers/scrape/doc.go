// Package scrape serves the manager's metrics over TLS, to those who may read them.
//
// # Usage
//
//	manager.Options{Metrics: scrape.Options{Address: ":8443"}.Server()}
//
// A reader sends a token of the cluster (Authorization: Bearer ...). Its user needs the verb get on the URL /metrics, which the role
// ems-metrics-reader gives; the manager itself needs the role ems-metrics-auth for the two questions that it asks.
//
// # Considerations
//
// Metrics tell which pools are unprotected against what. No token, or one that the API server does not know: 401. No right: 403. An
// API server that cannot be asked: 503, never the metrics. Package tokens has the questions and how long answers count.
package scrape
