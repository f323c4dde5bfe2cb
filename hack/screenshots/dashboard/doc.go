// Package dashboard draws a Grafana dashboard without Grafana.
//
// # Usage
//
//	board, err := dashboard.Read(data)                  // config/grafana/ems.json
//	prometheus, err := dashboard.Scrape(ctx, options)   // a real one, which scrapes the manager each second
//	page, err := prometheus.Draw(ctx, board, from, to)  // HTML
//
// # Considerations
//
// What is shown is what Prometheus answers to the dashboard's own queries; only the drawing is ours. It knows what our dashboard uses: stat,
// timeseries and table, four units, three transformations, and what the overrides set. Anything else is an error rather than a panel that looks
// other than Grafana's would.
//
// All pools are chosen. $__rate_interval is what Grafana makes of it where nothing says how often Prometheus scrapes: a minute.
package dashboard
