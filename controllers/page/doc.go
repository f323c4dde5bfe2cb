// Package page serves the fleet page: a read-only view of mitigations, pools and servers for browsers.
//
// # Usage
//
//	err := page.Options{Address: ":8444"}.Add(mgr)
//
// A reader needs the right to get the URL /fleet (role ems-page-viewer). It shows a token of the cluster in the header Authorization, as a
// proxy does that has signed its user in, or in a form; then the token stays here, and the browser has the random id of a session.
//
// # Considerations
//
// Pages are made by html/template from what the manager has in its cache anyway, with files that are part of the program. One look at the
// cache serves everybody for a second, and each page has limits (fleet.go), so that ten thousand servers cost what one page costs.
// The functions that make the views are pure: objects and a time go in.
//
// Everything in an object is text, whoever wrote it. A server that was taken over chooses its messages, so beside the escaping of the
// templates no invisible characters get through ([plain]), links are made of names alone, and the policy of the page lets a browser run no
// script and load no file but the manager's own.
//
// Reading needs no script. One small script asks for the main part of the page again and puts in what has changed; it is told by an ETag
// when nothing has. Sessions are in the memory of one manager: with several, its Service sends a reader always to the same one.
package page
