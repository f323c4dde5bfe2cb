package iis

import (
	"fmt"
	"os"

	"mitigation.dev/ems/agent/iis/shadow"
	"mitigation.dev/ems/agent/journal/durable"
)

// Preview is a server to which nothing happens: its Reconcile goes every step of a real one and changes neither files, nor
// pools, nor services, nor the journal. What it would have changed, Changes says.
type Preview struct {
	*Server

	log     *shadow.Log
	scratch string
}

// NewPreview opens a server for looking ahead. Close has to be called in the end.
func NewPreview(o Options) (*Preview, error) {
	scratch, err := os.MkdirTemp("", "ems-preview-")
	if err != nil {
		return nil, fmt.Errorf("iis: preview: %w", err)
	}
	p := &Preview{log: shadow.NewLog(o.StateDir), scratch: scratch}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	o.FS = p.log.Files(shadow.NewFiles(o.FS, scratch))
	if o.Pools != nil && o.Services != nil {
		o.Pools, o.Services = p.log.Pools(shadow.NewPools(o.Pools)), p.log.Services(shadow.NewServices(o.Services))
	}
	if p.Server, err = New(o); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Changes gives what would have become different so far.
func (p *Preview) Changes() (shadow.Changes, error) {
	changes, err := p.log.Changes()
	if err != nil {
		return shadow.Changes{}, fmt.Errorf("iis: preview: %w", err)
	}
	return changes, nil
}

// Close removes what the preview needed on the disk.
func (p *Preview) Close() error {
	if err := os.RemoveAll(p.scratch); err != nil {
		return fmt.Errorf("iis: preview: %w", err)
	}
	return nil
}
