package standin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/winpath"
)

// Pools implements control.Lister.
func (p *Pools) Pools(context.Context) ([]control.Pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, err := p.StatePath()
	if err != nil {
		return nil, err
	}
	states := map[string]control.PoolState{}
	if err := readJSON(p.fs, path, &states); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("pools: %w", err)
	}
	config, err := p.configured()
	if err != nil {
		return nil, fmt.Errorf("pools: %w", err)
	}
	pools := make([]control.Pool, 0, len(config.pools))
	for _, known := range config.pools {
		pools = append(pools, control.Pool{Name: known.Name, State: stateOf(known, states)})
	}
	return pools, nil
}

// Sites implements control.Lister. One without an entry in the file of states is stopped if its serverAutoStart is "false".
func (p *Pools) Sites(context.Context) ([]control.Site, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states, err := p.siteStates()
	if err != nil {
		return nil, err
	}
	config, err := p.configured()
	if err != nil {
		return nil, fmt.Errorf("sites: %w", err)
	}
	sites := make([]control.Site, 0, len(config.sites))
	for _, known := range config.sites {
		s := control.Site{Name: known.Name, ID: known.ID, State: control.SiteStarted}
		if !known.AutoStart {
			s.State = control.SiteStopped
		}
		if state, ok := states[strings.ToLower(known.Name)]; ok {
			s.State = state
		}
		for _, text := range known.Bindings {
			protocol, information, _ := strings.Cut(text, " ")
			s.Bindings = append(s.Bindings, control.Binding{Protocol: protocol, Information: information})
		}
		sites = append(sites, s)
	}
	return sites, nil
}

// SetSite puts a site into a state, whether there is one of that name or not.
func (p *Pools) SetSite(site string, state control.SiteState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	states, err := p.siteStates()
	if err != nil {
		return err
	}
	states[strings.ToLower(site)] = state
	path, err := p.SitesPath()
	if err != nil {
		return err
	}
	if err := writeJSON(p.fs, path, states); err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	return nil
}

// SitesPath is the file that holds the states of sites: a JSON object from names in lower case to states.
func (p *Pools) SitesPath() (string, error) {
	dir, err := winpath.Find(p.root, winpath.Inetsrv...)
	if err != nil {
		return "", fmt.Errorf("sites: %w", err)
	}
	return filepath.Join(dir, "sites.json"), nil
}

func (p *Pools) siteStates() (map[string]control.SiteState, error) {
	path, err := p.SitesPath()
	if err != nil {
		return nil, err
	}
	states := map[string]control.SiteState{}
	if err := readJSON(p.fs, path, &states); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("sites: %w", err)
	}
	return states, nil
}
