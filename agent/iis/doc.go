// Package iis makes an IIS server match a list of mitigations: URL Rewrite rules in applicationHost.config and application
// pools that are switched off.
//
// # Usage
//
// New opens a server by the root of its system drive and a folder for the agent's state. Reconcile is level-based: it
// takes everything that shall be on the server and gives one Outcome per mitigation. Applied says from the journal what
// is on the server now, with its full content, so that a caller can keep holding a mitigation whose document it no
// longer has. Facts describes the server.
//
// # Considerations
//
// Every Reconcile takes all of ours out of the file and renders all that is wanted (package apphost), and writes only
// when the bytes differ: a global configuration change can rotate ASP.NET Core applications. Drift is repaired by the same
// way as the first installation.
//
// The order of a change is: pools are stopped, the journal is on the disk, the file is replaced in one step, the file is
// read back, pools that are no longer wanted off are started again. Stopping comes first because it is the step most likely
// to fail, and a mitigation of several actions is one unit: it fails before the file was touched. A crash between any
// two steps leaves the old or the new file; the next New or Reconcile finds out which and goes on from there.
//
// A pool that two mitigations switch off has one record with its state before the first of them, and is started when the
// last one goes.
//
// What this package does not do: rules in web.config, globalRules, outbound rules, rewrite maps and server variables are
// refused with UnsupportedContent. A <clear /> in a site's web.config drops inherited rules unnoticed here.
package iis
