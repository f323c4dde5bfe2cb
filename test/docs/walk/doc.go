// Package walk reads the commands out of a page of the documents, and runs them as a reader would.
//
// # Usage
//
//	page, err := walk.Parse("docs/quickstart.md", text)
//	shell, err := walk.Open(ctx, folder, environment)
//	for i, command := range page.Commands() {
//		output, exit, err := shell.Run(ctx, command.Text, time.Minute)
//		…  walk.Normalise(output) == walk.Normalise(command.Output)
//	}
//
// # Considerations
//
// What a page needs stands in the page, in HTML comments that no reader sees (Directives). One shell runs all commands of a page,
// so that cd and export do what a reader expects. Outputs are compared after Normalise: ages, times, hashes, ports, tokens and the
// width of columns differ from run to run, everything else does not.
package walk
