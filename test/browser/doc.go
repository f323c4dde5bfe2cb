// Package browser opens the fleet page in a real browser: headless Chromium, as Debian's package chromium brings it.
//
// # Considerations
//
// The fleet is one in memory, and so is the API server's word on tokens: what is looked at here is what a browser makes of the page. Who may
// read it is tested against a real API server in test/access. Without a Chromium the tests are skipped, and say so.
package browser
