// Package clientcert says what a request for the client certificate of a server looks like, for the agent that makes it and for the
// manager that judges it.
//
// # Usage
//
//	request, err := clientcert.NewRequest(clientcert.Subject{Namespace: "pool-frontends", Server: "fe01", Enrolment: id}, key)
//	parsed, err := clientcert.Parse(csr.Spec.Request)
//	problem := clientcert.Check(parsed, subject)
//
// # Considerations
//
// A certificate says the user name and the groups of the server's ServiceAccount, so that it is worth exactly what a token of it is:
// roles and policies do not tell them apart. The one group more names the enrolment, for nobody can take back a certificate, but
// policies can refuse what a group writes. See docs/decisions/0011.
//
// Check knows what it wants and refuses everything else: other names, further attributes of the subject, extensions, attributes of the
// request, keys of other kinds. A signer copies what stands in a request, or drops it, as it likes; so nothing may stand there that
// was not looked at.
package clientcert
