// Package testenv starts a real kube-apiserver and etcd with the project's CRDs for tests.
//
// # Usage
//
// The suite of a package:
//
//	var env *testenv.Environment
//
//	func TestFeed(t *testing.T) { testenv.RunSuite(t, "Feed suite", &env) }
//
// # Considerations
//
// The control plane's binaries are found through KUBEBUILDER_ASSETS or, without it, in bin/k8s of the repository;
// `make controlplane` puts them there. A missing control plane fails the suite; it never skips it.
package testenv
