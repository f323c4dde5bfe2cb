package health

// Checks say what a server has to show beside sites and application pools that run. All of it is on the server itself.
type Checks struct {
	HTTP []HTTPCheck `json:"http,omitempty"`
	// TCPPorts have to accept connections.
	TCPPorts []int `json:"tcpPorts,omitempty"`
	// Services are Windows services, by name and not as Windows displays them, that have to run.
	Services []string `json:"services,omitempty"`
}

// HTTPCheck is a request that the server has to answer well.
type HTTPCheck struct {
	Name string `json:"name"`
	// Scheme is http or https, which it is if empty.
	Scheme string `json:"scheme,omitempty"`
	// Port is that of the scheme if 0.
	Port int `json:"port,omitempty"`
	// Path and query as they go over the wire.
	Path string `json:"path"`
	// Host is the Host header and, over TLS, the name that the certificate must bear. Without it the header is localhost and
	// the certificate is not looked at.
	Host string `json:"host,omitempty"`
	// Statuses that count as well; none means 200 alone.
	Statuses []int `json:"statuses,omitempty"`
	// Body is text that has to stand in the first MaxBody bytes of the answer.
	Body string `json:"body,omitempty"`
}

// Result is what came of one check.
type Result struct {
	// Name tells checks apart: http "owa", TCP port 25, service "W3SVC", site "Default Web Site", application pool "OWA".
	Name string `json:"name"`
	OK   bool   `json:"ok,omitempty"`
	// Unknown means that the check could not be made, which speaks neither for the server nor against it. OK is false then.
	Unknown bool `json:"unknown,omitempty"`
	// Detail says what was found, at most MaxDetail bytes.
	Detail string `json:"detail,omitempty"`
}

// SwitchedOff is what mitigations in place keep from running, which is no fault of the server. Names count without regard to
// case.
type SwitchedOff struct {
	Pools    []string
	Services []string
}

// Worse gives the results of after that are bad and were good before. A check that was not made before is not judged.
func Worse(before, after []Result) []Result {
	good := goodOf(before)
	var worse []Result
	for _, r := range after {
		if !r.OK && !r.Unknown && good[r.Name] {
			worse = append(worse, r)
		}
	}
	return worse
}

// Lost gives the results of after that were good before and of which nothing is known now.
func Lost(before, after []Result) []Result {
	good := goodOf(before)
	var lost []Result
	for _, r := range after {
		if r.Unknown && good[r.Name] {
			lost = append(lost, r)
		}
	}
	return lost
}

func goodOf(results []Result) map[string]bool {
	good := make(map[string]bool, len(results))
	for _, r := range results {
		if r.OK {
			good[r.Name] = true
		}
	}
	return good
}
