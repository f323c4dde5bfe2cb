// Package sheet writes rows of text: as a table for people, as CSV for spreadsheets and as XML for programs.
//
// # Usage
//
//	err := sheet.CSV(w, []string{"Pool", "ID"}, rows)
//	err := sheet.XML(w, sheet.Document{Root: "Mitigations", Item: "Mitigation"}, []string{"Pool", "ID"}, rows)
//
// # Considerations
//
// The text comes from publishers, from operators and from servers, each of which may be hostile to the one who opens the file. So XML is
// well-formed whatever a description holds, and no cell of CSV is a formula: neither where commas separate cells, nor in the
// spreadsheets of countries where semicolons do, which take a cell apart that is quoted correctly.
package sheet
