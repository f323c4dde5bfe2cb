// Package apphost understands configuration files of IIS: what a server has (sites, pools, rewrite module and sections) and
// how rewrite content and disabled application pools get into a file and out of it again without changing another byte.
//
// # Usage
//
// Parse reads applicationHost.config or a web.config, ParseSource a file that a configSource names. ReadContent takes the
// elements out of a <rewrite> element of a document. Check says whether something may be installed on a server at all,
// CheckWebConfig and CheckHere whether in a web.config, Render puts everything wanted into a file that holds nothing of
// ours, Strip takes everything of ours out of a file, StripRevived also what came back into it, Verify reads a finished file back. A caller keeps the edits that
// Render gives, durably and before it writes the file, because Strip needs them. Site.Directory says which folder a path is
// served from.
//
// # Considerations
//
// Strip and Render always work on everything at once. Editing one mitigation at a time would need to know which of
// several mitigations owns the <location> that all of them use; with strip-then-render the file owns its wrappers, and
// the result does not depend on the order in which mitigations came and went. Each renders from one reading of the file:
// an edit per element that something goes into, never one inside of another.
//
// Elements are found again by their bytes at their place, else by their names, never by their content alone: an
// administrator's copy of a rule stays. What was taken out earlier and came back with another program's stale copy of the
// file has to have both, our name and our content (StripRevived).
//
// Rules go in front of all others of their section, but behind a leading <clear /> or <remove />. A server variable is only
// allowed if nobody allows it yet, at the level or above it; what others allowed is not ours to remove.
//
// This package sees one file at a time. Names that collide with those of another file, and a <clear /> in one below, are for
// its caller (reference: URL Rewrite, evaluation order).
package apphost
