// Package terminal draws on terminals and on what is none: bars, colours, lines of a given width, and a picture that is drawn again
// in place.
//
// # Usage
//
//	style := terminal.Detect(os.Stdout, os.Getenv)
//	fmt.Fprintln(w, style.Bar(20, terminal.Part{Size: 3, Kind: terminal.Done}, terminal.Part{Size: 1, Kind: terminal.Bad}))
//	screen := terminal.NewScreen(os.Stdout)
//	screen.Draw(style, lines) // again and again
//	screen.Close()
//
// # Considerations
//
// What is drawn is a function of values: a Style says width, colour and characters, and only Detect looks at the world. Colour is
// off with NO_COLOR (https://no-color.org), on a terminal that calls itself dumb, and where the output is no terminal; there the
// characters are ASCII too, because nobody knows who reads them. Nothing is ever said by colour alone.
//
// Text that comes from elsewhere goes through Clean first: what a server reports must not move the cursor of the person who reads it.
//
// Every rune counts as one column. Names and messages of EMS are of Latin letters; with wide ones a line is cut too late, which
// looks bad and does no harm. A library for the width of characters would bring its tables along for that.
package terminal
