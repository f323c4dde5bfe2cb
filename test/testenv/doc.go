// Package testenv starts a real kube-apiserver and etcd with the project's CRDs for tests.
//
// # Usage
//
// In a Ginkgo suite:
//
//	var env *testenv.Environment
//	var _ = BeforeSuite(func() { env = testenv.Start() })
//	var _ = AfterSuite(func() { env.Stop() })
//
// # Considerations
//
// The control plane's binaries are found through KUBEBUILDER_ASSETS or, without it, in bin/k8s of the repository;
// `make controlplane` puts them there. A missing control plane fails the suite; it never skips it.
package testenv
