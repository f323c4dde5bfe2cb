package eventlog

import "slices"

// Source is the name under which events are found.
const Source = "EMS Mitigation Service"

// ID is the number of an event.
type ID uint32

// The events.
const (
	ServiceStarted     ID = 1000
	ServiceStopped     ID = 1001
	ServiceFailed      ID = 1002
	MitigationApplied  ID = 1005
	MitigationUpdated  ID = 1006
	MitigationRemoved  ID = 1007
	Failure            ID = 1008
	MitigationBlocked  ID = 1009
	RolloutHalted      ID = 1010
	MitigationReverted ID = 1011
	DriftRepaired      ID = 1012
	NotInEffect        ID = 1013
	KillSwitchOn       ID = 1014
	KillSwitchOff      ID = 1015
	CredentialRenewed  ID = 1016
	CredentialProblem  ID = 1017
	ClockSkewed        ID = 1018
	ClockInSync        ID = 1019
	MitigationReleased ID = 1020
	Recovered          ID = 1021
	IdentityShared     ID = 1022
)

// Severity is how an event is shown.
type Severity string

// The severities of Windows.
const (
	Information Severity = "Information"
	Warning     Severity = "Warning"
	Error       Severity = "Error"
)

// Definition is what an event means.
type Definition struct {
	ID       ID
	Name     string
	Severity Severity
	// Meaning is when it is written.
	Meaning string
}

var table = []Definition{
	{ServiceStarted, "ServiceStarted", Information, "The agent has started"},
	{ServiceStopped, "ServiceStopped", Information, "The agent has stopped because it was asked to; what is in place stays"},
	{ServiceFailed, "ServiceFailed", Error, "The agent could not start or ended unasked; what is in place stays"},
	{MitigationApplied, "MitigationApplied", Information, "A mitigation that was not in place was applied"},
	{MitigationUpdated, "MitigationUpdated", Information, "A mitigation was applied in another revision than the one that was in place"},
	{MitigationRemoved, "MitigationRemoved", Information, "A mitigation was removed"},
	{Failure, "Failure", Error, "A mitigation failed, or something keeps the agent from its work; written again when the reason changes"},
	{MitigationBlocked, "MitigationBlocked", Warning, "A mitigation is blocked, by the organization, the pool or on this server, and not in place"},
	{RolloutHalted, "RolloutHalted", Warning, "A mitigation waits because its rollout has been halted"},
	{MitigationReverted, "MitigationReverted", Warning, "A mitigation was taken back on this server because the server got worse with it"},
	{DriftRepaired, "DriftRepaired", Warning, "Something else had changed what a mitigation put in place, and it was restored"},
	{NotInEffect, "NotInEffect", Warning, "A mitigation is in place, but IIS does not run it"},
	{KillSwitchOn, "KillSwitchOn", Warning, "The kill switch was thrown: everything is removed and nothing is applied"},
	{KillSwitchOff, "KillSwitchOff", Information, "The kill switch was taken back"},
	{CredentialRenewed, "CredentialRenewed", Information, "The server has a new credential for the cluster"},
	{CredentialProblem, "CredentialProblem", Error, "The credential is refused or has run out: enrol the server again; what is in place stays"},
	{ClockSkewed, "ClockSkewed", Warning, "The clock of the server is off by more than is safe"},
	{ClockInSync, "ClockInSync", Information, "The clock of the server is right again"},
	{MitigationReleased, "MitigationReleased", Information, "A mitigation is blocked no longer"},
	{Recovered, "Recovered", Information, "What kept the agent from its work is over"},
	{IdentityShared, "IdentityShared", Error, "Another server, or a copy of this one, works with the credential of this server, too"},
}

// Table gives all events by number.
func Table() []Definition { return slices.Clone(table) }

// definition finds an event. One that is not in the table is shown as an error, so that it is not overlooked.
func definition(id ID) Definition {
	for _, d := range table {
		if d.ID == id {
			return d
		}
	}
	return Definition{ID: id, Name: "Unknown", Severity: Error}
}
