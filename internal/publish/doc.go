// Package publish holds what a publisher of mitigations needs: it reads mitigations that people write in YAML, makes a
// signed document of them, checks documents before they are published, serves them, and tests the way to a feed.
//
// # Usage
//
//	configs, err := publish.ReadDirectory(os.DirFS("mitigations"))
//	document, report, err := publish.Sign(publish.SignRequest{Configs: configs, Key: key, ...})
//	report := publish.Judge(document, policy, now)        // what manager and agent would say of it
//	findings := publish.Lint(configs)                     // what a reviewer should look at
//	server, err := publish.NewServer(publish.ServerOptions{...}); err = server.Run(ctx)
//	result := publish.TestConnectivity(ctx, request)
//
// The program on top is cmd/kubectl-mitigation; docs/guides/publish-your-own.md shows it at work.
//
// # Considerations
//
// Everything is judged by the packages that judge it on servers (ocs, xmlsig, replay, rewrite, fetch). A second opinion
// that differs from theirs would be worse than none: a publisher must see what the servers will see.
//
// A document is verified by the code that will verify it there before it is handed out, because a mistake that is
// found by a thousand servers is found too late, and the sequence number is spent.
//
// The package knows nothing of Kubernetes. Keys are read into memory or stay in a token behind a command of the
// publisher's; PKCS#12 is not read, because no library for it is among our dependencies: "openssl pkcs12 -nodes"
// converts it.
package publish
