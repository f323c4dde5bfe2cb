package harness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/standin"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/test/iistree"
)

// Server is a server of a pool: the files of its IIS, and its agent.
type Server struct {
	Name string
	Pool Pool
	// Root stands for the drive that IIS is installed on.
	Root string
	// TrustFile is the trust policy of the server.
	TrustFile string
	// StateDir is where its agent keeps what it remembers.
	StateDir string
	// Agent is the process of its agent.
	Agent *Process
	// URL is where its site is served, by a stand-in for IIS.
	URL string

	// address and port are those of its site.
	address string
	port    int
	site    *http.Server
}

// Command runs one of the agent's commands for people at the server, and returns what it prints, also if it fails.
func (s *Server) Command(ctx context.Context, arguments ...string) (string, error) {
	output, err := run(ctx, "", s.Agent.Path, append(arguments, "--state-dir="+s.StateDir)...)
	if err != nil {
		return string(output), fmt.Errorf("server %s: %w", s.Name, err)
	}
	return string(output), nil
}

// ConfigFile is the path of applicationHost.config.
func (s *Server) ConfigFile() string {
	return filepath.Join(s.Root, filepath.FromSlash(iistree.ConfigFile))
}

// HostName is the full name of the server.
func (s *Server) HostName() string {
	_, domain, _ := strings.Cut(s.Pool.FQDN, ".")
	return s.Name + "." + domain
}

// Request says what IIS would do with a request to the site, under the rules that stand in applicationHost.config now.
func (s *Server) Request(method, target string) (rewrite.Result, error) {
	levels, err := s.levels()
	if err != nil {
		return rewrite.Result{}, err
	}
	site := rewrite.NewSite(rewrite.Options{}, levels...)
	result, err := site.Evaluate(rewrite.SplitTarget(method, s.HostName(), target, nil))
	if err != nil {
		return result, fmt.Errorf("server %s: %w", s.Name, err)
	}
	// A check of the stand-in is about what is certain. What is not would be a mistake in the rules of the check.
	if result.Verdict() == rewrite.Unknown {
		return result, fmt.Errorf("server %s: what becomes of %s %s is uncertain: %s", s.Name, method, target, result)
	}
	return result, nil
}

// levels returns the rules that act on the site, those of the server first. Files that IIS could not read are an error.
func (s *Server) levels() ([]rewrite.Level, error) {
	doc, err := s.readConfig()
	if err != nil {
		return nil, err
	}
	levels, err := rewrite.ServerLevels(s.ConfigFile(), doc.Data, Site)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	return levels, nil
}

// readConfig reads applicationHost.config the way the agent does, which refuses what IIS would not read.
func (s *Server) readConfig() (*lossless.Document, error) {
	content, err := os.ReadFile(s.ConfigFile())
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	if _, err := apphost.Parse(content); err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	doc, err := lossless.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	return doc, nil
}

// RuleNames lists the names of the rules that act on the site, in order.
func (s *Server) RuleNames() ([]string, error) {
	levels, err := s.levels()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, level := range levels {
		if level.Err != nil {
			return nil, fmt.Errorf("server %s: %w", s.Name, level.Err)
		}
		names = append(names, level.Config.Names("rules")...)
	}
	return names, nil
}

// PoolState is whether an application pool of the server runs.
func (s *Server) PoolState(ctx context.Context, pool string) (control.PoolState, error) {
	return standin.NewPools(s.Root, nil).State(ctx, pool)
}

// Service is how a service of the server stands.
func (s *Server) Service(ctx context.Context, service string) (control.Service, error) {
	return standin.NewServices(s.Root, nil).Query(ctx, service)
}

// WriteConfig replaces applicationHost.config, as an administrator or a tool would. It is done in one step, so that whoever
// watches the file never sees half of it.
func (s *Server) WriteConfig(content []byte) error {
	beside := s.ConfigFile() + ".by-hand"
	err := os.WriteFile(beside, content, 0o644)
	if err == nil {
		err = os.Rename(beside, s.ConfigFile())
	}
	if err != nil {
		return fmt.Errorf("server %s: %w", s.Name, err)
	}
	return nil
}

// Believe writes the trust file of the server: whose documents it accepts, by feed.
func (s *Server) Believe(feeds map[string]emsv1.TrustPolicy) error {
	content, err := yaml.Marshal(map[string]any{"apiVersion": trust.APIVersion, "feeds": feeds})
	if err != nil {
		return fmt.Errorf("server %s: trust file: %w", s.Name, err)
	}
	// A mistake here would look like a refusal by the agent.
	if _, err := trust.ParseFile(content); err != nil {
		return fmt.Errorf("server %s: trust file: %w", s.Name, err)
	}
	if err := os.WriteFile(s.TrustFile, content, 0o600); err != nil {
		return fmt.Errorf("server %s: trust file: %w", s.Name, err)
	}
	return nil
}
