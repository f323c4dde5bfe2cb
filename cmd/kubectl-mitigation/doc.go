// Command kubectl-mitigation is what publishers of mitigations, and those who connect to a feed, work with. As a plugin of
// kubectl it is called "kubectl mitigation"; it needs no kubectl, and a cluster for "simulate --server" only.
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
//	kubectl mitigation version
//
// Every command explains itself with --help. Exit codes: 0 done or valid, 1 failed or refused, 2 wrong usage.
// docs/reference/kubectl-mitigation.md is written from the flags, by a test.
//
// # Considerations
//
// The commands read files and flags and print; what they do is package internal/publish, and what one of them reads out of a
// cluster is package fleet in the folder internal here. The standard flag package is enough for nine commands, so no framework
// came along.
package main
