// Package version tells which build of EMS a program is.
//
// # Usage
//
// Programs print [String] for their -version flag and put [Version] into what they report (the agent's status, the user
// agent of a fetch, the build-info metric). A release build sets the version at link time:
//
//	go build -ldflags "-X mitigation.dev/ems/internal/version.Version=v0.3.0" ./cmd/manager
//
// # Considerations
//
// Only the version is stamped by the linker. The commit comes from what the Go toolchain records itself
// ([runtime/debug.BuildInfo]), so it cannot disagree with the sources, and the same sources give the same bytes whoever
// builds them: no build time and no builder's name is recorded.
package version
