// Package facts finds out what a server runs: product, role and build, from what the operator says (flags, a file) and, on
// Windows, from the registry.
//
// # Usage
//
//	f, err := facts.Read(facts.Sources{Said: facts.Facts{Product: "ExchangeServer"}, File: path, Registry: facts.Registry})
//
// The file is YAML: product, role, build, all optional. Its version is the line apiVersion: ems.mitigation.dev/facts/v1.
//
// # Considerations
//
// What was said goes before the file, and the file before the registry, field by field: a person may know better than
// a setup key that an interrupted update left behind. What nobody knows stays empty, and speaks for a mitigation.
//
// Facts are read again on every pass of the agent's loop, so that an installed update is noticed without a restart.
//
// The reader of the registry compiles for Windows and has not been run there yet. Its arithmetic is in registry.go and
// is tested everywhere.
package facts
