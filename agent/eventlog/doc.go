// Package eventlog writes what administrators have to know of an agent into the Application event log of Windows, under the
// source "EMS Mitigation Service", and each event as a line into a text log as well.
//
// # Usage
//
//	err := eventlog.Install()                  // once, by an administrator: makes the source known
//	log := eventlog.Open(mirror)               // mirror may be nil
//	defer log.Close()
//	log.Write(eventlog.ServiceStarted, "Version v1.2.0 …")
//
//	var observer eventlog.Observer
//	for _, e := range observer.Observe(pass) { log.Write(e.ID, e.Message) }
//
// docs/reference/events.md lists the events; Table is where they stand in the code.
//
// # Considerations
//
// The numbers 1005, 1006 and 1008 mean what they mean for the emergency mitigation service of Exchange, so that what watches
// for them goes on working with another source. Numbers are never given another meaning.
//
// An event is written when something becomes different, not while it lasts. After a restart of the agent what is wrong or
// blocked is told once more, what is in place is not.
//
// The texts are whole sentences in the event itself. The message file of the source is EventLogMessages.dll of the .NET
// Framework, which is part of Windows Server since 2012 and shows any text for any number; the usual EventCreate.exe knows
// numbers up to 1000 only.
//
// Where the event log does not take an event, the text log says so, once. Elsewhere than on Windows there is the text log
// alone.
package eventlog
