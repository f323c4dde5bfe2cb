package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/lastpass"
	"mitigation.dev/ems/agent/switches"
)

// lateAfter is how old the last pass may be: passes come at most 36 seconds apart, and one may have to wait for disks and
// health checks.
const lateAfter = 2 * time.Minute

// errAttention ends "status" with a failure after everything was said.
var errAttention = errors.New("something needs attention")

// statusReport is what "ems-agent status -o json" prints.
type statusReport struct {
	APIVersion string `json:"apiVersion"`
	// Identity is absent on servers that are not enrolled.
	Identity *statusIdentity `json:"identity,omitempty"`
	// Switches are those that count; absent if nobody knows them.
	Switches *switches.Switches `json:"switches,omitempty"`
	// LastPass is absent if no agent has worked yet.
	LastPass *lastpass.Pass `json:"lastPass,omitempty"`
	// Problems are what somebody should look at.
	Problems []string `json:"problems"`
}

type statusIdentity struct {
	Namespace         string    `json:"namespace"`
	Pool              string    `json:"pool"`
	Server            string    `json:"server"`
	CredentialExpires time.Time `json:"credentialExpires"`
	// Authorities are the certificates that the API server has to chain to.
	Authorities []string `json:"authorities"`
}

// showStatus reads files only, so that it may be used at any time.
func showStatus(f *operatorFlags) error {
	if f.output != "text" && f.output != "json" {
		return usageError{fmt.Errorf("-o: %q: want text or json", f.output)}
	}
	now := time.Now()
	report := readStatus(f.stateDir, now)
	var err error
	if f.output == "json" {
		encoder := json.NewEncoder(f.stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.writeText(f.stdout, now)
	}
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if len(report.Problems) > 0 {
		return errAttention
	}
	return nil
}

func readStatus(stateDir string, now time.Time) statusReport {
	r := statusReport{APIVersion: "ems.mitigation.dev/status/v1", Problems: []string{}}
	problem := func(format string, values ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, values...)) }
	switch c, err := credential.Open(stateDir).Load(); {
	case err == nil:
		r.Identity = &statusIdentity{c.Namespace, c.Pool, c.Server, c.Expires.UTC(), c.Authorities()}
		if !now.Before(c.Expires) {
			problem("the credential ran out at %s: enrol the server again", c.Expires.UTC().Format(time.RFC3339))
		}
	case !errors.Is(err, credential.ErrNone):
		problem("%v", err)
	}
	file := switches.Open(stateDir)
	known, err := file.Read()
	ok := err == nil
	if err != nil {
		if known, ok = file.Last(); ok {
			problem("%v; until somebody has looked, the switches count as they last were", err)
		} else {
			problem("%v; until somebody has looked, nothing is put in place here, and what the plan removes is removed", err)
		}
	}
	if ok {
		r.Switches = &known
		if use, on := known.Kill(); on {
			problem("the kill switch is on, thrown %s", use)
		}
	}
	pass, err := lastpass.Read(stateDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		problem("no agent has worked with this state folder yet")
		return r
	case err != nil:
		problem("%v", err)
		return r
	}
	r.LastPass = &pass
	if age := now.Sub(pass.At); age > lateAfter {
		problem("the last pass is %s old: look whether the agent runs", age.Round(time.Second))
	}
	for _, text := range []string{pass.Problem, pass.TrustProblem, pass.Cluster.Problem} {
		if text != "" {
			problem("%s", text)
		}
	}
	for _, m := range pass.Mitigations {
		if m.State == "Failed" || m.Effective == "False" {
			problem("%s: %s (%s): %s", m.ID, m.State, m.Reason, m.Message)
		}
	}
	return r
}

func (r statusReport) writeText(w io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", values...) }
	if i := r.Identity; i != nil {
		row("Server", "%s/%s of pool %s", i.Namespace, i.Server, i.Pool)
		row("Credential", "until %s", i.CredentialExpires.Format(time.RFC3339))
		for _, authority := range i.Authorities {
			row("Authority", "%s", authority)
		}
	} else {
		row("Server", "not enrolled")
	}
	if p := r.LastPass; p != nil {
		row("Last pass", "%s, %s ago, by agent %s", p.At.Format(time.RFC3339), now.Sub(p.At).Round(time.Second), p.AgentVersion)
		row("Plan", "generation %d", p.PlanGeneration)
		if p.Cluster.Heard {
			row("Cluster", "heard of")
		} else {
			row("Cluster", "not heard of since the agent has started; it works from its disk")
		}
	}
	if s := r.Switches; s != nil {
		if use, on := s.Kill(); on {
			row("Kill switch", "on, %s", use)
		} else {
			row("Kill switch", "off")
		}
		for _, b := range s.Blocked {
			until := ""
			if !b.Expires.IsZero() {
				until = ", until " + b.Expires.UTC().Format(time.RFC3339)
			}
			if !b.Counts(now) {
				until += ", which is over"
			}
			row("Blocked", "%s, %s%s", b.ID, b.Use, until)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if p := r.LastPass; p != nil && len(p.Mitigations) > 0 {
		fmt.Fprintln(t, "\nID\tREVISION\tSTATE\tREASON\tEFFECTIVE\tGATE")
		for _, m := range p.Mitigations {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", m.ID, m.Revision, m.State, m.Reason, dash(m.Effective), dash(m.Gate))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for i, problem := range r.Problems {
		if i == 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintln(w, "Attention: "+problem); err != nil {
			return err
		}
	}
	return nil
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
