package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"mitigation.dev/ems/internal/pause"
)

// profiler takes profiles of this process, of the API server and of the manager while a scenario runs.
type profiler struct {
	folder string
	// scenarios are the names of those that are profiled, and length is how long.
	scenarios []string
	length    time.Duration
	// after is how long after its beginning.
	after time.Duration
	// api reaches the API server at apiURL, managerURL is where the manager serves its profiles.
	api                *http.Client
	apiURL, managerURL string
}

// newProfiler makes a profiler for the scenarios that are named, separated by commas.
func newProfiler(folder, names string, after, length time.Duration) (*profiler, error) {
	p := &profiler{folder: folder, after: after, length: length}
	if names == "" {
		return p, nil
	}
	p.scenarios = strings.Split(names, ",")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	return p, nil
}

// begin begins profiles if they were asked for. end waits for them and takes those of memory.
func (p *profiler) begin(ctx context.Context, scenario string) (end func() error) {
	if !slices.Contains(p.scenarios, scenario) {
		return func() error { return nil }
	}
	file := func(process, kind string) string {
		return filepath.Join(p.folder, fmt.Sprintf("%s-%s-%s.pprof", scenario, process, kind))
	}
	var running sync.WaitGroup
	var errs [3]error
	seconds := fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(p.length.Seconds()))
	for i, take := range []func() error{
		func() error { return p.own(ctx, file("ems-sim", "cpu")) },
		func() error { return fetch(ctx, p.api, p.apiURL+seconds, file("kube-apiserver", "cpu")) },
		func() error { return fetch(ctx, http.DefaultClient, p.managerURL+seconds, file("manager", "cpu")) },
	} {
		running.Go(func() {
			if errs[i] = pause.For(ctx, p.after); errs[i] == nil {
				errs[i] = take()
			}
		})
	}
	return func() error {
		running.Wait()
		runtime.GC() // so that what is kept counts and not what was
		var heap bytes.Buffer
		return errors.Join(errors.Join(errs[:]...),
			pprof.Lookup("heap").WriteTo(&heap, 0), os.WriteFile(file("ems-sim", "heap"), heap.Bytes(), 0o644),
			fetch(ctx, p.api, p.apiURL+"/debug/pprof/heap?gc=1", file("kube-apiserver", "heap")),
			fetch(ctx, http.DefaultClient, p.managerURL+"/debug/pprof/heap?gc=1", file("manager", "heap")))
	}
}

// own profiles this process.
func (p *profiler) own(ctx context.Context, path string) error {
	var content bytes.Buffer
	if err := pprof.StartCPUProfile(&content); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	err := pause.For(ctx, p.length)
	pprof.StopCPUProfile()
	return errors.Join(err, os.WriteFile(path, content.Bytes(), 0o644))
}

// fetch puts what a URL answers into a file.
func fetch(ctx context.Context, client *http.Client, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, content)
	}
	if err != nil {
		return fmt.Errorf("profiles: %s: %w", url, err)
	}
	return os.WriteFile(path, content, 0o644)
}
