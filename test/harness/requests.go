package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mitigation.dev/ems/agent/identity"
)

// auditPolicy lets the API server log what the agents ask for: who, what and when, and nothing of what is in it.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:serviceaccount:` + managerNamespace + `:ems-manager"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

// auditLog is the path of the API server's audit log. It is appended to when the API server starts again.
func (c *ControlPlane) auditLog() string { return filepath.Join(c.dir, "logs", "audit.log") }

// Request is one that an agent made and the API server answered.
type Request struct {
	Time time.Time
	// Verb is that of RBAC: "list", "watch", "patch". Resource has the subresource with it: "poolservers/status".
	Verb, Resource string
	// Code is the status of the answer.
	Code int32
}

// Writes reports whether the request changes something.
func (r Request) Writes() bool { return !slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// auditEvent is what we need of an event of audit.k8s.io/v1.
type auditEvent struct {
	Stage string
	Verb  string
	User  struct{ Username string }

	ObjectRef struct{ Resource, Subresource string }

	ResponseStatus struct{ Code int32 }

	RequestReceivedTimestamp time.Time
}

// Requests returns what the agent of a server has asked the API server for since a time, by the API server's own log.
func (e *Environment) Requests(s *Server, since time.Time) ([]Request, error) {
	content, err := os.ReadFile(e.ControlPlane.auditLog())
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	user := identity.User(s.Pool.Namespace, s.Name)
	var requests []Request
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		// The last line may be half written, and a killed API server may have left such a one.
		var event auditEvent
		if json.Unmarshal(scanner.Bytes(), &event) != nil || event.User.Username != user || event.RequestReceivedTimestamp.Before(since) {
			continue
		}
		// Of a watch, the beginning is told and the end.
		if event.Verb == "watch" != (event.Stage == "ResponseStarted") {
			continue
		}
		resource := event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			resource += "/" + event.ObjectRef.Subresource
		}
		requests = append(requests, Request{event.RequestReceivedTimestamp, event.Verb, resource, event.ResponseStatus.Code})
	}
	return requests, scanner.Err()
}
