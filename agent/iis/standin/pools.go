package standin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/winpath"
	"mitigation.dev/ems/agent/journal/durable"
)

// Pools are the application pools and, for those who list them, the sites of applicationHost.config. One without an entry in the file of states is as it would be
// after a start of the server, that is, stopped if its autoStart is "false".
type Pools struct {
	root string
	fs   durable.FS
	mu   sync.Mutex

	// What configurations said that were read before, by the hashes of their bytes: who waits for a state asks many times.
	known map[[sha256.Size]byte]configured
}

// configured is what a configuration says of pools and sites.
type configured struct {
	pools []apphost.Pool
	sites []apphost.Site
}

// maxKnown is how many configurations are remembered: one with and one without a mitigation, and some that come between.
const maxKnown = 8

var (
	_ control.PoolController = (*Pools)(nil)
	_ control.Lister         = (*Pools)(nil)
)

// maxStates is far above a thousand pools or services with names of 64 characters (90 KB).
const maxStates = 1 << 20

// NewPools makes a controller for the tree below root. A nil fs is the file system of the machine.
func NewPools(root string, fs durable.FS) *Pools {
	if fs == nil {
		fs = durable.OS{}
	}
	return &Pools{root: root, fs: fs, known: map[[sha256.Size]byte]configured{}}
}

// StatePath is the file that holds the states: a JSON object from pool names to states.
func (p *Pools) StatePath() (string, error) {
	dir, err := winpath.Find(p.root, winpath.Inetsrv...)
	if err != nil {
		return "", fmt.Errorf("pools: %w", err)
	}
	return filepath.Join(dir, "pools.json"), nil
}

// State implements control.PoolController.
func (p *Pools) State(_ context.Context, pool string) (control.PoolState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _, state, err := p.read(pool)
	return state, err
}

// Start implements control.PoolController.
func (p *Pools) Start(_ context.Context, pool string) error {
	return p.change(pool, control.PoolStarted, control.ErrPoolRunning)
}

// Stop implements control.PoolController.
func (p *Pools) Stop(_ context.Context, pool string) error {
	return p.change(pool, control.PoolStopped, control.ErrPoolNotRunning)
}

// Reboot forgets all states, so that every pool is as autoStart wants it.
func (p *Pools) Reboot() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, err := p.StatePath()
	if err != nil {
		return err
	}
	if err := p.fs.Remove(path); err != nil {
		return fmt.Errorf("pools: %w", err)
	}
	return nil
}

func (p *Pools) change(pool string, to control.PoolState, already error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	states, name, state, err := p.read(pool)
	if err != nil {
		return err
	}
	if state == to {
		return fmt.Errorf("pools: %q: %w", pool, already)
	}
	states[name] = to
	path, err := p.StatePath()
	if err != nil {
		return err
	}
	if err := writeJSON(p.fs, path, states); err != nil {
		return fmt.Errorf("pools: %w", err)
	}
	return nil
}

// read gives all states, the name of the pool as the configuration spells it, and its state.
func (p *Pools) read(pool string) (map[string]control.PoolState, string, control.PoolState, error) {
	fail := func(err error) (map[string]control.PoolState, string, control.PoolState, error) {
		return nil, "", control.PoolUnknown, fmt.Errorf("pools: %w", err)
	}
	path, err := p.StatePath()
	if err != nil {
		return nil, "", control.PoolUnknown, err
	}
	states := map[string]control.PoolState{}
	if err := readJSON(p.fs, path, &states); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	config, err := p.configured()
	if err != nil {
		return fail(err)
	}
	for _, known := range config.pools {
		if strings.EqualFold(known.Name, pool) {
			return states, known.Name, stateOf(known, states), nil
		}
	}
	return fail(fmt.Errorf("%q: %w", pool, control.ErrPoolNotFound))
}

// stateOf gives the state of a pool: the one that was noted, or the one after a start of the server.
func stateOf(pool apphost.Pool, states map[string]control.PoolState) control.PoolState {
	state, ok := states[pool.Name]
	switch {
	case ok:
		return state
	case strings.EqualFold(pool.AutoStart, "false"):
		return control.PoolStopped
	}
	return control.PoolStarted
}

// configured gives the pools and sites of applicationHost.config.
func (p *Pools) configured() (configured, error) {
	path, err := winpath.Find(p.root, winpath.Config...)
	if err != nil {
		return configured{}, err
	}
	data, err := p.fs.Read(path, lossless.MaxBytes)
	if err != nil {
		return configured{}, err
	}
	hash := sha256.Sum256(data)
	if known, ok := p.known[hash]; ok {
		return known, nil
	}
	config, err := apphost.Parse(data)
	if err != nil {
		return configured{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	p.known[hash] = configured{config.Pools(), config.Sites()}
	return p.known[hash], nil
}

func readJSON(fs durable.FS, path string, into any) error {
	data, err := fs.Read(path, maxStates)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(fs durable.FS, path string, content any) error {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(fs, path, append(data, '\n'))
}
