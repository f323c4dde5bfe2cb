package iis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/journal/durable"
)

// FilePools stands in for the pools of a server on machines without IIS: it keeps their states in a file under the
// root. The pools are those of applicationHost.config; one without an entry in the file is as it would be after a
// start of the server, that is, stopped if autoStart is "false". Like the real service it refuses unknown pools, to
// start a pool that runs, and to stop one that does not.
type FilePools struct {
	root string
	fs   durable.FS
	mu   sync.Mutex
}

var _ PoolController = (*FilePools)(nil)

// maxPoolFile is far above a thousand pools with names of 64 characters (90 KB).
const maxPoolFile = 1 << 20

// NewFilePools makes a controller for the tree below root.
func NewFilePools(root string) *FilePools { return &FilePools{root: root, fs: durable.OS{}} }

// StatePath is the file that holds the states: a JSON object from pool names to states.
func (p *FilePools) StatePath() (string, error) {
	dir, err := findFold(p.root, "Windows", "System32", "inetsrv")
	if err != nil {
		return "", fmt.Errorf("pools: %w", err)
	}
	return filepath.Join(dir, "pools.json"), nil
}

// State implements PoolController.
func (p *FilePools) State(_ context.Context, pool string) (PoolState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _, state, err := p.read(pool)
	return state, err
}

// Start implements PoolController.
func (p *FilePools) Start(_ context.Context, pool string) error {
	return p.change(pool, PoolStarted, ErrPoolRunning)
}

// Stop implements PoolController.
func (p *FilePools) Stop(_ context.Context, pool string) error {
	return p.change(pool, PoolStopped, ErrPoolNotRunning)
}

func (p *FilePools) change(pool string, to PoolState, already error) error {
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
	data, err := json.MarshalIndent(states, "", "  ")
	if err != nil {
		return fmt.Errorf("pools: %w", err)
	}
	path, err := p.StatePath()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(p.fs, path, append(data, '\n')); err != nil {
		return fmt.Errorf("pools: %w", err)
	}
	return nil
}

// read gives all states, the name of the pool as the configuration spells it, and its state.
func (p *FilePools) read(pool string) (map[string]PoolState, string, PoolState, error) {
	path, err := p.StatePath()
	if err != nil {
		return nil, "", PoolUnknown, err
	}
	states := map[string]PoolState{}
	data, err := p.fs.Read(path, maxPoolFile)
	if err == nil {
		err = json.Unmarshal(data, &states)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", PoolUnknown, fmt.Errorf("pools: %s: %w", path, err)
	}
	configPath, err := findFold(p.root, configNames...)
	if err != nil {
		return nil, "", PoolUnknown, fmt.Errorf("pools: %w", err)
	}
	if data, err = p.fs.Read(configPath, lossless.MaxBytes); err != nil {
		return nil, "", PoolUnknown, fmt.Errorf("pools: %w", err)
	}
	config, err := apphost.Parse(data)
	if err != nil {
		return nil, "", PoolUnknown, fmt.Errorf("pools: %s: %w", configPath, err)
	}
	for _, known := range config.Pools() {
		if !strings.EqualFold(known.Name, pool) {
			continue
		}
		if s, ok := states[known.Name]; ok {
			return states, known.Name, s, nil
		}
		if strings.EqualFold(known.AutoStart, "false") {
			return states, known.Name, PoolStopped, nil
		}
		return states, known.Name, PoolStarted, nil
	}
	return nil, "", PoolUnknown, fmt.Errorf("pools: %q: %w", pool, ErrPoolNotFound)
}
