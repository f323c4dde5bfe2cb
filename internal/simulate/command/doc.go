// Package command is the command "simulate" of kubectl-mitigation and of ems-agent: its flags and its output.
//
// # Usage
//
//	c := command.Bind(flags)
//	err := flags.Parse(arguments)
//	err = c.Run(ctx, os.Stdout, os.Stderr)
//
// A program that knows a cluster adds [Command.BindServer], and says what a mitigation is on a server.
//
// An error that is a UsageError is one in how the command was called.
//
// # Considerations
//
// What rules do with requests is no failure of the command, not even if IIS would answer all of them with an error. What
// cannot be answered is one.
package command
