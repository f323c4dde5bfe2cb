package iis

import (
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/health/requests"
	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/switchoff"
	"mitigation.dev/ems/agent/journal/durable"
)

// SwitchedOff names the application pools and services that mitigations keep from running, with those that have to be off for
// their sake.
func SwitchedOff(list []Mitigation) (pools, services []string) {
	var targets []switchoff.Target
	for _, m := range list {
		targets = append(targets, m.targets()...)
	}
	for _, t := range once(targets) {
		if t.Kind == switchoff.Pool {
			pools = append(pools, t.Name)
		} else {
			services = append(services, t.Name)
		}
	}
	return pools, services
}

// Effects says in words what a mitigation puts on a server, one phrase for each site and for each thing that it switches off.
func (m Mitigation) Effects() []string {
	var out []string
	content, err := m.content()
	if err != nil {
		return nil // a Reconcile says why
	}
	rules := map[string][]string{}
	for _, g := range content.Groups {
		if g.Section != apphost.Rules && g.Section != apphost.GlobalRules {
			continue
		}
		for _, item := range g.Items {
			rules[g.Path] = append(rules[g.Path], fmt.Sprintf("%q", item.Name))
		}
	}
	for _, path := range sortedKeys(rules) {
		where := fmt.Sprintf("at %q", path)
		if path == "" {
			where = "for the whole server"
		}
		out = append(out, fmt.Sprintf("rules %s %s", strings.Join(rules[path], ", "), where))
	}
	for _, t := range m.targets() {
		out = append(out, "switches off "+t.String())
	}
	return out
}

// AccessLogs gives the folders in which the sites of a mitigation log requests; none where nothing is logged.
func (s *Server) AccessLogs(m Mitigation) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sites []string
	for _, a := range m.Actions {
		if a.Type != ActionUrlRewrite {
			continue
		}
		name, _, _ := strings.Cut(strings.Trim(a.Site, "/"), "/")
		if name == "" {
			sites = nil
			break
		}
		sites = append(sites, name)
	}
	c, err := s.readConfig(map[string]stamp{})
	if err != nil {
		return nil, fmt.Errorf("iis: access logs: %w", err)
	}
	folders, err := requests.Folders(c.Data(), sites, s.folder)
	if err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	return folders, nil
}

// Forget makes the server be looked at as by a new process: nothing that was read is believed, fights with other programs are
// over, and revisions that had ended the agent are tried again.
func (s *Server) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := durable.Lock(s.lockPath)
	if err != nil {
		return fmt.Errorf("iis: forget: %w", err)
	}
	defer unlock()
	s.memo, s.led, s.facts, s.effective, s.sampled = nil, nil, nil, nil, nil
	s.survived = map[string]bool{}
	s.keeper.Forget()
	led, err := s.loadLedger()
	if err != nil {
		return fmt.Errorf("iis: forget: %w", err)
	}
	for _, k := range slices.Clone(sortedKeys(led.attempts)) {
		if err := led.deleteAttempt(k); err != nil {
			return fmt.Errorf("iis: forget: %w", err)
		}
	}
	return nil
}
