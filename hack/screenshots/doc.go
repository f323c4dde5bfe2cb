// Command screenshots takes the pictures of the documents.
//
// # Usage
//
//	make screenshots
//
// writes docs/images/*.png: the fleet page in the light, in the dark and in a narrow window, a mitigation's page, and the terminal of
// `kubectl mitigation rollout status`, and the dashboard of config/grafana. It needs a Chromium, the program script and a Prometheus (Debian:
// chromium, bsdutils, prometheus), which EMS_CHROMIUM and EMS_PROMETHEUS name if they are not on the PATH.
//
// # Considerations
//
// API server, manager, documents, signatures, plugin and page are real. The servers are actors: they follow the plans of their pools and report as
// agents do, so that there can be some dozens of them, and one that gets worse when it is asked to. Stages bake until the pictures are taken.
//
// Pictures have at most 256 colours, which is enough for pages, and a third of the size.
package main
