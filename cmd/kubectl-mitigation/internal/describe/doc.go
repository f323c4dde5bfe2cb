// Package describe is the command "describe": everything that an operator wants to know of one mitigation, pool, server or feed, on one
// page.
//
// # Usage
//
//	for _, c := range describe.Commands() { ... }
//	page := describe.Mitigation(fleet, "M1", events)
//
// # Considerations
//
// Each page is a model, which -o json prints, and a text made of it. What a page says is decided elsewhere: where rollouts stand by
// package rolloutcmd, why something is so by package explain, how servers stand by package insight. Commands to go on with are those
// that these propose.
//
// Lists are bounded in the text and whole in the models: a pool may have thousands of servers. Events are an extra: who may not list
// them sees the page without, and a note.
package describe
