// Command kubectl-mitigation is what publishers of mitigations and operators of servers work with. As a plugin of kubectl it is
// called "kubectl mitigation"; it needs no kubectl, and a cluster only for what is in one: the commands that look, the verbs that steer,
// "rollout", "enroll" and "simulate --server". Under the name kubectl_complete-mitigation it completes arguments for kubectl.
//
// # Usage
//
//	kubectl mitigation feed lint DIRECTORY|DOCUMENT...
//	kubectl mitigation feed sign --in DIRECTORY --out FILE --key FILE --certs FILE --sequence N
//	kubectl mitigation feed verify --trust FILE DOCUMENT...
//	kubectl mitigation feed serve --document FILE --tls-cert FILE --tls-key FILE
//	kubectl mitigation feed bundle create --document FILE --trust FILE --out FILE
//	kubectl mitigation feed bundle verify FILE --trust FILE
//	kubectl mitigation test-connectivity --url URL --trust FILE
//	kubectl mitigation simulate --rules FILE --request 'GET /path?query'
//	kubectl mitigation simulate --mitigation ID --server [NAMESPACE/]NAME --request 'GET /path?query'
//	kubectl mitigation get [mitigations|servers|pools|feeds] [NAME...], export
//	kubectl mitigation explain SERVER|POOL [ID]
//	kubectl mitigation block|unblock|approve ID --pool NAME --reason TEXT
//	kubectl mitigation suspend ID|--all, enable, disable, repair
//	kubectl mitigation rollout status|history|pause|resume|promote|abort|undo|retry ID
//	kubectl mitigation enroll POOL/SERVER...
//	kubectl mitigation completion SHELL, options, version
//
// Every command explains itself with --help. Exit codes: 0 as asked, 1 failed or "no", 2 wrong usage, 3 not yet.
// docs/reference/kubectl-mitigation.md is written from the flags, by a test.
//
// # Considerations
//
// The commands of publishers read files and flags and print; what they do is package internal/publish. Those that work with a cluster
// are in the folder internal here: fleet reads, steer writes (docs/decisions/0008), explain and rolloutcmd tell, enroll makes the
// identities of servers (docs/decisions/0009). inventory lists.
// They share the few types of package cli; package main makes a tree of github.com/spf13/cobra of them (docs/decisions/0012).
package main
