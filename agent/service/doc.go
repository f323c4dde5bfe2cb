// Package service runs a program as a service of Windows and manages that service.
//
// # Usage
//
//	service.Harden()                       // first thing in main
//	code, err := service.Run(name, program) // in the process that Windows started
//
//	c := service.Control{Manager: manager, Clock: clock.RealClock{}}
//	outcome, err := c.Install(ctx, definition) // by an administrator
//
// Connect gives the service control manager. On other systems Run and Connect fail with errors.ErrUnsupported: there, init
// systems run programs as they are.
//
// # Considerations
//
// The decisions stand in files for every system and are tested on each, against a manager in memory; what is left for
// Windows are single calls. The whole package runs under Wine as well.
//
// A service is told by an argument that it is one, not by asking Windows, whose answer rests on sessions. Run has to be
// called before any work: Windows gives a process 30 seconds to do so, also when the machine is starting.
//
// The program is stopped by the end of its context, and Windows is told of progress until it has really ended, at most
// StopLimit. A program that ends unasked is a failure with an exit code, so that the recovery actions start it again.
//
// Configurations are read and changed by the plain calls, QueryServiceConfig and ChangeServiceConfig. Changes are followed
// by polling: notifications do not reach everywhere, and a state that is missed once is seen at the next look.
//
// The folder of the program and those of its data have to be such that only administrators write there, as whoever does is
// the system. CheckPath and Below look at the names, SecureFolder sets the access.
package service
