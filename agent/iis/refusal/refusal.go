// Package refusal holds the reasons for which a change of the IIS configuration is refused or fails.
//
// # Usage
//
// The packages below agent/iis return a *Error; errors.As finds it through wrapping, Of gives reason and text of any
// error. Reasons are stable identifiers for a status, messages say what was found and what to do.
//
// # Considerations
//
// The reasons stand in one small package because the pure editor and the driver that touches the disk share them, and
// the editor must not import the driver.
package refusal

import (
	"errors"
	"fmt"
)

// Reasons of refusals that lie in the configuration or in the content. Trying again does not help until somebody
// changes one of the two.
const (
	// SiteNotFound means that the target names a site that the server does not have.
	SiteNotFound = "SiteNotFound"
	// PoolNotFound means that the server has no application pool of that name.
	PoolNotFound = "PoolNotFound"
	// RewriteModuleMissing means that RewriteModule is not registered on the server or was removed for the target.
	RewriteModuleMissing = "RewriteModuleMissing"
	// RewriteSectionMissing means that configSections do not declare system.webServer/rewrite/rules.
	RewriteSectionMissing = "RewriteSectionMissing"
	// SectionLocked means that the rules section cannot be changed at the target: a lock, a configSource, an encrypted
	// section, or a location that does not reach the applications below.
	SectionLocked = "SectionLocked"
	// WebConfigUnavailable means that rules cannot go into a web.config of the target: its folder does not exist, is on a
	// share, or is one where IIS reads no web.config.
	WebConfigUnavailable = "WebConfigUnavailable"
	// NameCollision means that a rule of that name already exists at the target or at a level above or below it.
	NameCollision = "NameCollision"
	// UnsupportedContent means that the mitigation holds something that this agent does not install.
	UnsupportedContent = "UnsupportedContent"
	// SamplesFailed means that on this server the mitigation would let a request pass that it has to block, or block one that
	// has to pass.
	SamplesFailed = "SamplesFailed"
)

// Reasons of failures that concern a whole file.
const (
	// ConfigurationMalformed means that the file is not well-formed, not UTF-8, too large or no configuration.
	ConfigurationMalformed = "ConfigurationMalformed"
	// ConfigurationMissing means that the file does not exist.
	ConfigurationMissing = "ConfigurationMissing"
	// ConfigurationReadOnly means that the file or its folder cannot be written.
	ConfigurationReadOnly = "ConfigurationReadOnly"
	// ConfigurationRedirected means that redirection.config points the server at a shared configuration.
	ConfigurationRedirected = "ConfigurationRedirected"
	// ConfigurationBusy means that others kept changing or holding the file.
	ConfigurationBusy = "ConfigurationBusy"
	// ConfigurationWriteFailed means any other error of the file system, such as a full disk.
	ConfigurationWriteFailed = "ConfigurationWriteFailed"
)

// Reasons of failures at run time.
const (
	// PoolStopFailed means that a pool could not be stopped or did not stay stopped.
	PoolStopFailed = "PoolStopFailed"
	// PoolStartFailed means that a pool could not be started again after its mitigation went away.
	PoolStartFailed = "PoolStartFailed"
	// ServiceNotFound means that the server has no service of that name.
	ServiceNotFound = "ServiceNotFound"
	// ServiceStopFailed means that a service could not be disabled or stopped, or did not stay so.
	ServiceStopFailed = "ServiceStopFailed"
	// ServiceStartFailed means that a service could not be brought back after its mitigation went away.
	ServiceStartFailed = "ServiceStartFailed"
	// StateContested means that another program keeps undoing what a mitigation does to a pool or a service.
	StateContested = "StateContested"
	// CrashLoop means that the agent ended twice while it applied the revision, which was taken back.
	CrashLoop = "CrashLoop"
	// JournalCorrupt means that the record of a mitigation or a file was damaged and was set aside.
	JournalCorrupt = "JournalCorrupt"
	// JournalFailed means that the journal could not be read or written, so nothing was changed.
	JournalFailed = "JournalFailed"
)

// Error is a refusal: a reason for machines and a message for people.
type Error struct {
	Reason  string
	Message string
	Err     error // cause, may be nil
}

// New makes a refusal.
func New(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a refusal out of an error, whose text follows the message.
func Wrap(reason string, err error, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...), Err: err}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of gives the reason of an error, or fallback when it is no refusal.
func Of(err error, fallback string) string {
	if r, ok := errors.AsType[*Error](err); ok {
		return r.Reason
	}
	return fallback
}
