// Package publish holds what a publisher of mitigations needs: it reads mitigations that people write in YAML
// or XML, makes a signed document of them, checks documents before they are published, serves them, packs them to be carried
// across an air gap, and tests the way to a feed.
//
// # Usage
//
//	configs, err := publish.ReadDirectory(os.DirFS("mitigations"))
//	document, report, err := publish.Sign(publish.SignRequest{Configs: configs, Key: key, ...})
//	report := publish.Judge(document, policy, now)        // what manager and agent would say of it
//	findings := publish.Lint(configs)                     // what a reviewer should look at
//	server, err := publish.NewServer(publish.ServerOptions{...}); err = server.Run(ctx)
//	bundle := publish.Bundle{...}; content, err := bundle.Encode(report)
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
// The package knows of Kubernetes no more than the few fields of a ConfigMap that a bundle has. Keys are read into memory, from
// PEM or PKCS#12, or stay in a token behind a command of the publisher's. PKCS#12 is read by a library: it is a nest of four
// standards, and the standard library has none of it.
//
// A server holds requests that prefer to wait (RFC 7240) in place of a protocol of its own for push: whoever knows nothing of
// it, a cache or a plain web server, goes on working.
package publish
