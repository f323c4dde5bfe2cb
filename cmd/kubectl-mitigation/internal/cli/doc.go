// Package cli is what the commands of the plugin that work with a cluster have in common: how one is described, what it has of the
// world, and how it says that it was called wrongly.
//
// # Usage
//
//	func Commands() []cli.Command {
//		return []cli.Command{{Name: "block", Arguments: "ID", Summary: "...", Bind: bindBlock}}
//	}
//
// # Considerations
//
// The standard flag package stays enough: a command is a name of one or two words, a set of flags and a function. What is here
// stands apart from package main so that the commands can live in packages of their own.
package cli
