// Package chromium drives a headless Chromium, for tests of pages and for pictures of them.
//
// # Usage
//
//	path, ok := chromium.Find()
//	browser, err := chromium.Start(ctx, path)
//	defer browser.Stop()
//	page, err := browser.Open(ctx, chromium.Options{Width: 1280, Height: 800})
//	err = page.Go(ctx, "https://localhost:8444/fleet")
//	text, err := page.Text(ctx, "document.title")
//
// # Considerations
//
// Chromium speaks its DevTools protocol over two pipes, one JSON message after the other with a zero byte between them. The few commands that are
// needed here are a few lines each; the ready libraries bring tens of thousands of lines of generated types. Nothing listens on a port, and the
// browser ends with its pipes, whatever becomes of the program that started it.
//
// It runs without its sandbox, which needs rights that containers do not have: open pages of one's own only. Certificates are not verified.
// Unix only: Windows hands no pipes to a child this way.
package chromium
