// Package effective says whether IIS would really run what a mitigation put into its configuration.
//
// # Usage
//
// Resolve looks at a View of the server and gives one Verdict per Target: True, False or Unknown, with a reason, and a
// message that names file, line and element. Whoever implements Files keeps the parsed files and reads one again when it
// has changed; Parse makes a File of bytes.
//
// # Considerations
//
// A rule that stands in a file is not yet a rule that runs: a web.config may clear or remove it, or take RewriteModule away;
// a section that is locked or holds a name twice makes every request fail with 500.19; a rule in front may end the
// processing. So the levels of configuration are merged as IIS does it, level by level along the path of the URL: at each
// level first the <location> elements of the files above, outermost first, then the web.config of the level itself.
//
// What is judged are the URLs at the target and at every level below it that the configuration knows: applications,
// virtual directories, locations. A web.config in an ordinary folder below the target is not looked for, since that would
// mean to walk through all content of a server. One place below where the content is dropped makes the verdict False.
//
// False is only said of what is certain. What cannot be read, or depends on the request, such as an earlier rule with
// conditions, is Unknown. Rules that come later are not judged, and a request that an earlier rule answers by itself does not
// reach the site, so that such a rule takes nothing away from a mitigation.
//
// The order of merging, the switches in the registry and the errors follow the documentation of URL Rewrite and of the IIS
// configuration system; none of it has been compared with a running server.
package effective
