// Command release makes what a release consists of, in a folder that is not part of the repository.
//
// # Usage
//
//	make release VERSION=v1.2.3              # dist/: everything
//	make image-archive VERSION=v1.2.3        # dist/: the images only, without a container engine
//	go run ./hack/release -version v1.2.3 -only plugin -platforms linux/amd64
//
// What there is, in dist/:
//
//	ems-agent_windows_amd64.zip              the agent with the scripts that install and uninstall it
//	ems-agent_linux_ARCH.tar.gz              the agent with its systemd unit
//	kubectl-mitigation_OS_ARCH.tar.gz, .zip  the plugin, for krew or by hand
//	mitigation.yaml                          the manifest for krew, with version and digests
//	install.yaml                             config/default with the version of the image
//	ems-VERSION.tgz                          the Helm chart
//	ems-manager_ARCH.oci.tar                 the manager's image for "skopeo copy", "crane push" or "ctr images import"
//	*.cdx.json                               what each program is made of (CycloneDX)
//	SHA256SUMS                               digests of all of these
//
// # Considerations
//
// The same sources and the same version of Go give the same bytes, whoever makes them and when: -trimpath, no names and no owners
// in archives, and one time for everything, that of SOURCE_DATE_EPOCH or else of the commit. Tests make archives twice and compare.
//
// Images are written without an engine and from nothing: the program, certificate authorities, and the names of user 65532. The
// authorities are those of Mozilla as golang.org/x/crypto/x509roots has them, pinned by go.sum, and not those of the machine that
// happens to build; those that Mozilla trusts with a reservation are left out, because a file of certificates cannot carry one.
// Time zones are inside the manager.
//
// Nothing is signed here. Keys belong to where releases are published; SHA256SUMS is what to sign.
package main
