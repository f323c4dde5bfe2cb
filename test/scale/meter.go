package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"mitigation.dev/ems/test/harness"
)

// counters are what the API server counts.
type counters struct {
	// requests by verb and resource: "PATCH leases".
	requests map[string]float64
	// refused are those that were answered with an error, with its status: "429 PATCH leases".
	refused map[string]float64
	// bytes are those of answers and of events of watches.
	bytes float64
	// terminated are the watches that it closed because nobody read them in time, by resource.
	terminated map[string]float64
}

var (
	sampleLine = regexp.MustCompile(`^([a-z0-9_]+)\{([^}]*)\} ([0-9.e+-]+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// readCounters reads the text format of Prometheus. Requests for the API server's own sake are left out.
func readCounters(text io.Reader) (counters, error) {
	c := counters{requests: map[string]float64{}, refused: map[string]float64{}, terminated: map[string]float64{}}
	scanner := bufio.NewScanner(text)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		m := sampleLine.FindStringSubmatch(scanner.Text())
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return c, fmt.Errorf("metrics: %w", err)
		}
		switch m[1] {
		case "apiserver_request_total":
			labels := labelsOf(m[2])
			if !slices.Contains(ourGroups, labels["group"]) || labels["resource"] == "" {
				continue
			}
			resource := labels["resource"]
			if labels["subresource"] != "" {
				resource += "/" + labels["subresource"]
			}
			c.requests[labels["verb"]+" "+resource] += value
			if labels["code"] >= "400" { // three digits, or 0 for a watch that goes on
				c.refused[labels["code"]+" "+labels["verb"]+" "+resource] += value
			}
		case "apiserver_response_sizes_sum", "apiserver_watch_events_sizes_sum":
			c.bytes += value
		case "apiserver_terminated_watchers_total":
			c.terminated[labelsOf(m[2])["resource"]] += value
		}
	}
	return c, scanner.Err()
}

// ourGroups are those of what agents and manager ask for.
var ourGroups = []string{"ems.mitigation.dev", "coordination.k8s.io", "events.k8s.io"}

func labelsOf(text string) map[string]string {
	labels := map[string]string{}
	for _, pair := range labelPair.FindAllStringSubmatch(text, -1) {
		labels[pair[1]] = pair[2]
	}
	return labels
}

// plus adds counters of an API server that has ended.
func (c counters) plus(other counters) counters {
	return counters{
		requests: added(c.requests, other.requests), refused: added(c.refused, other.refused), bytes: c.bytes + other.bytes,
		terminated: added(c.terminated, other.terminated),
	}
}

func added(a, b map[string]float64) map[string]float64 {
	sum := map[string]float64{}
	for _, part := range []map[string]float64{a, b} {
		for key, value := range part {
			sum[key] += value
		}
	}
	return sum
}

// usage is what a process has used of the machine.
type usage struct {
	cpu       time.Duration
	rss, peak int64
}

// sample is everything at one time.
type sample struct {
	at        time.Time
	counters  counters
	processes map[string]usage
}

// meter reads what the API server counts and what the system says of processes.
type meter struct {
	client *http.Client
	url    string
	env    *harness.Environment
	// before are the counters of API servers that have ended, ended the usage of managers that have.
	before counters
	ended  map[string]usage
}

func newMeter(env *harness.Environment) (*meter, error) {
	config := env.ControlPlane.Config()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	return &meter{client: client, url: config.Host, env: env, ended: map[string]usage{}}, nil
}

func (m *meter) counters(ctx context.Context) (counters, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+"/metrics", http.NoBody)
	if err != nil {
		return counters{}, fmt.Errorf("meter: %w", err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return counters{}, fmt.Errorf("meter: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	return readCounters(response.Body)
}

// keep adds what a process has counted and used before it is ended.
func (m *meter) keep(ctx context.Context, p *harness.Process) error {
	if p == m.env.ControlPlane.APIServer {
		now, err := m.counters(ctx)
		if err != nil {
			return err
		}
		m.before = m.before.plus(now)
	}
	used, err := usageOf(p.Pid())
	old := m.ended[p.Name]
	m.ended[p.Name] = usage{cpu: old.cpu + used.cpu, peak: max(old.peak, used.peak)}
	return err
}

// sample reads everything.
func (m *meter) sample(ctx context.Context) (sample, error) {
	now, err := m.counters(ctx)
	if err != nil {
		return sample{}, err
	}
	s := sample{at: time.Now(), counters: now.plus(m.before), processes: map[string]usage{}}
	if s.processes[simulator], err = usageOf(os.Getpid()); err != nil {
		return s, err
	}
	for _, p := range m.env.Processes() {
		if !p.Running() {
			continue
		}
		used, err := usageOf(p.Pid())
		if err != nil {
			return s, err
		}
		old := m.ended[p.Name]
		used.cpu, used.peak = used.cpu+old.cpu, max(used.peak, old.peak)
		s.processes[p.Name] = used
	}
	return s, nil
}

// simulator is the name of this process in results.
const simulator = "ems-sim (all agents)"

// ticks of the clock in a second, in /proc on every Linux.
const ticks = 100

// usageOf reads what a process has used.
func usageOf(pid int) (usage, error) {
	var u usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const userTime, systemTime = 11, 12
	for _, i := range []int{userTime, systemTime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, fmt.Errorf("usage: %w", err)
		}
		u.cpu += time.Duration(n) * time.Second / ticks
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "VmRSS:" && fields[0] != "VmHWM:" {
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return u, fmt.Errorf("usage: %w", err)
		}
		if fields[0] == "VmRSS:" {
			u.rss = kilobytes << 10
		} else {
			u.peak = kilobytes << 10
		}
	}
	return u, nil
}

// load is that of the machine in the last minute.
func load() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}
