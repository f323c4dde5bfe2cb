// Package lastpass keeps what an agent found out in its last pass in one small file, so that people at the server can look
// without a cluster, and without stopping the agent.
//
// # Usage
//
//	err := lastpass.Write(stateDir, lastpass.Pass{At: now, Mitigations: list})
//	pass, err := lastpass.Read(stateDir) // wraps os.ErrNotExist where no agent has worked yet
//
// # Considerations
//
// The file is for people and scripts to read. Nothing is decided by it: the agent never reads it.
package lastpass

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"mitigation.dev/ems/agent/journal/durable"
)

const (
	fileName = "last-pass.json"
	// maxBytes bounds the file: 2,048 mitigations with messages of 4 KiB each.
	maxBytes = 8 << 20
)

// Pass is what an agent found out.
type Pass struct {
	At           time.Time `json:"at"`
	AgentVersion string    `json:"agentVersion"`
	// PlanGeneration is that of the plan that was followed; 0 for none.
	PlanGeneration int64   `json:"planGeneration"`
	Cluster        Cluster `json:"cluster"`
	// Problem keeps the agent from its work; empty if nothing does.
	Problem string `json:"problem,omitempty"`
	// TrustProblem is why the trust file cannot be used.
	TrustProblem string       `json:"trustProblem,omitempty"`
	Mitigations  []Mitigation `json:"mitigations"`
}

// Cluster is how the agent stands to the cluster.
type Cluster struct {
	// Heard says that the cluster was heard of since the agent has started, and that the plan is its present one as far as the
	// agent knows. Otherwise the plan is the last one that was heard of.
	Heard bool `json:"heard"`
	// Problem is why the status could not be reported.
	Problem string `json:"problem,omitempty"`
}

// Mitigation is where one stands, in the words of a PoolServer.
type Mitigation struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Reason    string `json:"reason"`
	Message   string `json:"message,omitempty"`
	Revision  int64  `json:"revision,omitempty"`
	Effective string `json:"effective,omitempty"`
	// Gate is how the server fares with a rollout.
	Gate string `json:"gate,omitempty"`
}

// Write replaces the file.
func Write(stateDir string, p Pass) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = durable.WriteFile(durable.OS{}, filepath.Join(stateDir, fileName), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("last pass: %w", err)
	}
	return nil
}

// Read reads the file.
func Read(stateDir string) (Pass, error) {
	var p Pass
	data, err := durable.OS{}.Read(filepath.Join(stateDir, fileName), maxBytes)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return Pass{}, fmt.Errorf("last pass: %w", err)
	}
	return p, nil
}
