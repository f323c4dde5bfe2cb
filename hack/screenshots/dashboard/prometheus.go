//go:build unix

package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Options of Scrape.
type Options struct {
	// Program is the path of Prometheus, Dir an empty folder for it.
	Program, Dir string
	// Listen and Target are addresses: its own, and that of the manager's metrics. Token may read them.
	Listen, Target, Token string
}

// Prometheus is one that runs.
type Prometheus struct {
	command *exec.Cmd
	url     string
}

// config trusts whatever certificate the manager has signed itself: both are on this machine.
const config = `global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: ems
  scheme: https
  authorization: {credentials_file: token}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%q]}]
`

// Scrape starts Prometheus.
func Scrape(ctx context.Context, o Options) (*Prometheus, error) {
	for name, text := range map[string]string{"prometheus.yml": fmt.Sprintf(config, o.Target), "token": o.Token} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("prometheus: %w", err)
		}
	}
	p := &Prometheus{url: "http://" + o.Listen}
	p.command = exec.CommandContext(ctx, o.Program, "--config.file="+filepath.Join(o.Dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(o.Dir, "data"), "--web.listen-address="+o.Listen, "--log.level=error")
	p.command.Stderr = os.Stderr
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return p, nil
}

// Stop ends it.
func (p *Prometheus) Stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait()
}

// Draw asks all queries of a dashboard and draws the answers: those over time between from and to, the others at the end.
func (p *Prometheus) Draw(ctx context.Context, b *Board, from, to time.Time) (string, error) {
	answers := make([][][]Series, len(b.Panels))
	for i, panel := range b.Panels {
		for _, t := range panel.Targets {
			answer, err := p.ask(ctx, t, from, to)
			if err != nil {
				return "", fmt.Errorf("panel %q: %s: %w", panel.Title, t.Expr, err)
			}
			answers[i] = append(answers[i], answer)
		}
	}
	return page(b, answers, from, to)
}

func (p *Prometheus) ask(ctx context.Context, t Target, from, to time.Time) ([]Series, error) {
	seconds := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	path, values := "/api/v1/query_range", url.Values{"query": {t.query()}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {step.String()}}
	if t.Instant {
		path, values = "/api/v1/query", url.Values{"query": {t.query()}, "time": {seconds(to)}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  sample
				Values []sample
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("prometheus: %s", answer.Error)
	}
	var all []Series
	for _, result := range answer.Data.Result {
		s := Series{Labels: result.Metric}
		if t.Instant {
			result.Values = []sample{result.Value}
		}
		for _, v := range result.Values {
			s.Points = append(s.Points, Point(v))
		}
		all = append(all, s)
	}
	return all, nil
}

// sample is [seconds, "value"].
type sample Point

// UnmarshalJSON reads one.
func (s *sample) UnmarshalJSON(data []byte) error {
	var seconds float64
	var value string
	if err := json.Unmarshal(data, &[]any{&seconds, &value}); err != nil {
		return err
	}
	number, err := strconv.ParseFloat(value, 64)
	s.Time, s.Value = time.UnixMilli(int64(seconds*1000)), number
	return err
}
