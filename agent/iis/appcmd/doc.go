// Package appcmd controls the application pools of a Windows server with appcmd.exe, and reads back the configuration that
// IIS itself sees.
//
// # Usage
//
// New makes a driver that runs the program at a path. It is a control.PoolController and a control.Lister; ReadBack gives one section of the
// effective configuration, with everything that a site inherits.
//
// # Considerations
//
// Exit codes and hresults decide, never the text, which is translated on a localised Windows, and which goes to the
// standard output or to the standard error, depending on the version. Calls that change something are not repeated: after
// an error of the connection to the service nobody knows whether they took place, and package switchoff looks again
// anyway. Reads are.
//
// Rules are never written through appcmd: several commands are not one step, and its syntax cannot carry every regular
// expression. The program fakeappcmd behaves as appcmd.exe is reported to; neither has been compared with a real server.
// The tests build it with the go command, or take the program that EMS_TEST_FAKEAPPCMD names.
package appcmd
