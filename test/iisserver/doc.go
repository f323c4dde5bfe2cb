// Package iisserver stands in for IIS on machines without Windows: it serves the sites of a configuration tree in the real
// format (package iistree) over HTTP.
//
// # Usage
//
//	server := iisserver.New(root, "Default Web Site")
//	http.Serve(listener, server)
//
// # Considerations
//
// applicationHost.config, the web.config files and the states of the application pools are looked at with every request, so that
// a change counts from the next request on, as on IIS, which watches them. While applicationHost.config cannot be read, the site
// answers 503, as it does when the Windows Process Activation Service has no configuration.
//
// A request goes the way that it goes in IIS: the application pool (503 while it is stopped), the rules of URL Rewrite (package
// rewrite) on the way in, the application, the rules on the way out, the log. What the rules abort gets no answer at all.
//
// The application is the files of the site, or any http.Handler. There is no other module: no request filtering, no
// authentication, no handlers by extension. Bindings are not looked at; who listens decides which site it is.
//
// Every request that reaches the site is logged in the W3C extended format below inetpub/logs/LogFiles, with the fields that a
// server has by default and the host. Those that find the pool stopped are not, since HTTP.sys answers them.
package iisserver
