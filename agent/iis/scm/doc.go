// Package scm controls the services of a Windows server through its service control manager.
//
// # Usage
//
// New makes a control.ServiceController. On other systems its calls fail with errors.ErrUnsupported.
//
// # Considerations
//
// Only the start type is passed to ChangeServiceConfig and everything else is left as it is. The Config and UpdateConfig of
// golang.org/x/sys/windows/svc/mgr read and write the whole configuration, and fail where a part of it is not known, as
// under Wine. Every call opens the service with the rights that it needs and no more. States are polled by the caller.
//
// Whether an automatic start is delayed is a setting of its own, which Windows keeps while the service is disabled. Where
// the system does not know it, under Wine, no start is delayed.
package scm
