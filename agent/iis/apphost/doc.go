// Package apphost understands applicationHost.config: what a server has (sites, pools, rewrite module and section) and
// how rewrite rules and disabled application pools get into the file and out of it again without changing another byte.
//
// # Usage
//
// Parse reads a file. Check says whether something may be installed there at all, Render puts everything wanted into a
// file that holds nothing of ours, Strip takes everything of ours out of a file, Verify reads a finished file back.
// A caller keeps the edits that Render gives, durably and before it writes the file, because Strip needs them.
//
// # Considerations
//
// Strip and Render always work on everything at once. Editing one mitigation at a time would need to know which of
// several mitigations owns the <location> that all of them use; with strip-then-render the file owns its wrappers, and
// the result does not depend on the order in which mitigations came and went.
//
// Rules are found again by their names, never by their content: an administrator's copy of a rule stays.
//
// Rules go into <location path="site"> of applicationHost.config, in front of all others there. The site's web.config
// is not looked at: a <clear /> in it still removes inherited rules, and a rule of the same name in it would break the
// site (reference: URL Rewrite, evaluation order). Whoever verifies a mitigation must read the effective rules.
package apphost
