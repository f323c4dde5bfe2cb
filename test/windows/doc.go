// Package windows runs the agent as a service of Windows, on four servers at once, against a real control plane.
//
// # Usage
//
//	make test-windows
//
// EMS_TEST_WINE_ROOT names the folder that hack/wine/ensure.sh prints; without it the test is skipped.
//
// # Considerations
//
// There is no Windows: each server is a Wine prefix of its own with its own registry, service control manager and disk, in a
// sandbox with its own process and network namespace. The only way out of it is a relay to the API server, which can be cut.
// What Wine does not show is listed in docs/operations/windows.md.
//
// In the sandbox runs a supervisor, which is the test program itself: it carries the commands of the test out and is the inner
// end of the relay. It ends with its standard input, and everything in the sandbox with it.
//
// In place of IIS there are its files, and package agent/iis/appcmd/fakeappcmd in place of appcmd.exe. The service that is
// switched off is a real one of that service control manager, played by the program in folder helper.
package windows
