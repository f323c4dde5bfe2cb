// Package pagetest has fleets in memory for tests of the fleet page.
//
// # Usage
//
//	fleet := pagetest.Small(now)
//	handler := page.NewHandler(fleet, judge, clock, log)
//	fleet.Change(func(f *pagetest.Fleet) { … })
//
// # Considerations
//
// A fleet stands in for the manager's cache and knows what the page uses of it: lists of whole kinds. Statuses are written as the manager and the
// agents would have, which test/access and the pictures of the documents, made with a real manager, hold against the truth.
package pagetest
