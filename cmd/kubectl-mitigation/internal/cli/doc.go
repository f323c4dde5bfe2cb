// Package cli is what the commands of the plugin have in common: how one is described, what it has of the world, and how it says that
// it was called wrongly.
//
// # Usage
//
//	func Commands() []cli.Command {
//		return []cli.Command{{Name: "block", Arguments: "ID", Summary: "...", Bind: bindBlock}}
//	}
//
// # Considerations
//
// A command is a name of a few words, a set of flags and a function; package main makes a tree of github.com/spf13/cobra of them. So
// tests run a command without the tree, and no command depends on that library. What is here stands apart from package main so that
// the commands can live in packages of their own.
package cli
