// Package harness runs the whole system on one machine: a real control plane, the manager, an endpoint that serves signed
// documents, and servers with agents, each a process of its own. The demonstration and the end-to-end tests use it.
//
// # Usage
//
//	env, err := harness.Launch(ctx, dir)
//	defer env.Stop()
//	err = env.AddPool(ctx, harness.Pool{Name: "frontends", Namespace: "pool-frontends", FQDN: "frontends.contoso.com"})
//	server, err := env.AddServer(ctx, pool, "fe01", harness.ServerOptions{})
//	document, err := env.Publisher.Publish(harness.M1())
//	env.Endpoint.Serve(document)
//	err = env.AddFeed(ctx, "contoso")
//
// # Considerations
//
// Nothing stays behind: every process has its own process group, Stop ends all of them in the reverse order of their start,
// and on Linux the kernel ends them when the program that started them is gone, however it went.
//
// Nobody but the harness itself has full rights. The manager and the agents have client certificates with the names of
// the service accounts that they have in a cluster, so that the roles and bindings of config/rbac are what is tested.
//
// The machine needs no IIS. Servers are the files of one (package iistree), and package iisserver serves their site over HTTP: Get
// sends it a request. Request answers without HTTP what IIS would do with a request, and by which rule.
package harness
