package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// playgroundBake is how long the stages of the playground look, where the profiles take minutes to hours.
const playgroundBake = 5

// Names in the playground, those of the documents.
const (
	PlaygroundFeed = "contoso"
	// PlaygroundEnv is the file of the playground's folder that a shell reads, and PlaygroundManifest the manifest of its feed.
	PlaygroundEnv      = "env.sh"
	PlaygroundManifest = "feed.yaml"
)

// PlaygroundPool is the pool of the playground. It is in Audit mode, so that nothing on a server changes before somebody wants it.
func PlaygroundPool() Pool {
	return Pool{
		Name: "frontends", Namespace: "pool-frontends", FQDN: "frontends.contoso.com", Mode: emsv1.ModeAudit,
		Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{
			{Name: "first", Servers: new(intstr.FromInt32(1)), BakeSeconds: new(int32(playgroundBake))},
			{Name: "all", Servers: new(intstr.FromString("100%")), BakeSeconds: new(int32(playgroundBake))},
		}},
	}
}

// Playground makes a fleet that a newcomer can try things on, on an installed control plane: the manager, an endpoint that serves a
// signed document with PING1, M1 and ECP1, and the pool with three servers whose agents run and report. Nobody has told the manager
// of the feed yet: its manifest is written to the environment's folder, beside a file that a shell reads for kubectl.
func (e *Environment) Playground(ctx context.Context, limit time.Duration) ([]*Server, error) {
	// As in a cluster: `kubectl mitigation check` finds a manager by its lease.
	e.ManagerFlags = append(e.ManagerFlags, "--leader-elect")
	if err := e.StartManager(ctx); err != nil {
		return nil, err
	}
	document, err := e.Publisher.Publish(PING1(), M1(), ECP1())
	if err != nil {
		return nil, err
	}
	e.Endpoint.Serve(document)
	pool := PlaygroundPool()
	if err := e.AddPool(ctx, pool); err != nil {
		return nil, err
	}
	var servers []*Server
	for _, name := range []string{"fe01", "fe02", "fe03"} {
		s, err := e.AddServer(ctx, pool, name, ServerOptions{Believes: map[string]emsv1.TrustPolicy{PlaygroundFeed: e.Publisher.Trust()}})
		if err != nil {
			return nil, err
		}
		if err := s.Agent.Start(); err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	if _, err := e.Kubectl.Run(ctx, "wait", "--for=condition=Ready", "--timeout="+limit.String(), "poolservers", "--all", "-n", pool.Namespace); err != nil {
		return nil, err
	}
	return servers, e.writePlayground(servers)
}

func (e *Environment) writePlayground(servers []*Server) error {
	feed, err := e.Manifests(e.Feed(PlaygroundFeed, e.Publisher.Trust()))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.Dir, PlaygroundManifest), feed, 0o600); err != nil {
		return fmt.Errorf("playground: %w", err)
	}
	var env strings.Builder
	env.WriteString("# For a shell: . env.sh\n")
	for _, v := range e.PlaygroundVariables(servers) {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&env, "export %s='%s'\n", name, value)
	}
	fmt.Fprintf(&env, "export PATH='%s':\"$PATH\"\n", strings.Join(e.Folders(), "':'"))
	if err := os.WriteFile(filepath.Join(e.Dir, PlaygroundEnv), []byte(env.String()), 0o600); err != nil {
		return fmt.Errorf("playground: %w", err)
	}
	return nil
}

// PlaygroundVariables are those that kubectl needs, the folder of the environment, and for each server the URL of its site.
func (e *Environment) PlaygroundVariables(servers []*Server) []string {
	variables := []string{
		"KUBECONFIG=" + e.Kubectl.Kubeconfig,
		// Ports come back, and kubectl remembers for hours which kinds an API server has.
		"KUBECACHEDIR=" + e.Kubectl.cacheDir,
		"PLAYGROUND=" + e.Dir,
	}
	for _, s := range servers {
		variables = append(variables, strings.ToUpper(s.Name)+"="+s.URL)
	}
	return variables
}

// Folders are those of the programs, for the PATH.
func (e *Environment) Folders() []string {
	return []string{filepath.Dir(e.Programs.Plugin), filepath.Dir(e.Programs.Kubectl)}
}
