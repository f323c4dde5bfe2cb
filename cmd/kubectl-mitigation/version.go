package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	screen "mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/version"
)

// managerName is that of the manager's Deployment in config/default.
const managerName = "ems-manager"

// Versions are those of the parts of EMS.
type Versions struct {
	// Client is this program.
	Client string `json:"client"`
	// Manager is absent where the cluster was not asked, or its Deployment cannot be seen.
	Manager *ManagerVersion `json:"manager,omitempty"`
	// Agents are sorted by version, the one that most servers have first.
	Agents []AgentVersion `json:"agents,omitempty"`
	// Unknown says what could not be found out, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// ManagerVersion is that of the manager, as its Deployment names it.
type ManagerVersion struct {
	Namespace string `json:"namespace"`
	Image     string `json:"image"`
	// Version is the tag of the image; empty if it has none.
	Version string `json:"version"`
	Ready   int32  `json:"ready"`
	Wanted  int32  `json:"wanted"`
}

// AgentVersion says how many servers report a version of the agent; an empty one stands for servers that have not reported.
type AgentVersion struct {
	Version string `json:"version"`
	Servers int    `json:"servers"`
}

func bindVersion(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.Bind(flags)
	client := flags.Bool("client", false, "only the version of this program: ask no cluster")
	output := flags.StringP("output", "o", outputText, "`form`: text, json or yaml")
	manager := flags.String("manager-namespace", managerNamespace, "`namespace` of the manager")
	cli.OneOf(flags, "output", outputText, outputJSON, "yaml")
	return func(ctx context.Context, _ []string) error {
		if !slices.Contains([]string{outputText, outputJSON, "yaml"}, *output) {
			return misused("--output: %q: want text, json or yaml", *output)
		}
		v := Versions{Client: version.String()}
		var failed error
		if !*client {
			failed = v.ask(ctx, connection, *manager)
		}
		if err := v.print(w.Stdout, *output); err != nil {
			return err
		}
		if errors.Is(failed, fleet.ErrNoConfiguration) {
			fmt.Fprintf(w.Stderr, "note: %v: the versions of the manager and the agents are not known\n", failed)
			return nil
		}
		return failed
	}
}

// ask finds out what runs in the cluster. What the user may not see is said in Unknown.
func (v *Versions) ask(ctx context.Context, connection *fleet.Connection, namespace string) error {
	config, _, err := connection.Config()
	if err != nil {
		return err
	}
	reader, err := fleet.NewReader(config)
	if err != nil {
		return err
	}
	var deployment appsv1.Deployment
	err = fleet.Raw(ctx, config, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+managerName, &deployment)
	switch {
	case apierrors.IsNotFound(err):
		v.Unknown = append(v.Unknown, fmt.Sprintf("manager: there is no Deployment %s/%s: --manager-namespace names another namespace", namespace, managerName))
	case err != nil:
		v.Unknown = append(v.Unknown, fmt.Sprintf("manager: Deployment %s/%s: %v", namespace, managerName, err))
	default:
		v.Manager = managerOf(&deployment)
	}
	var servers emsv1.PoolServerList
	if err := reader.List(ctx, "poolservers", "", &servers); err != nil {
		v.Unknown = append(v.Unknown, fmt.Sprintf("agents: list poolservers: %v", err))
		if v.Manager == nil {
			return errors.New("the cluster says nothing of the manager and the agents")
		}
		return nil
	}
	v.Agents = agentsOf(servers.Items)
	return nil
}

func managerOf(d *appsv1.Deployment) *ManagerVersion {
	m := &ManagerVersion{Namespace: d.Namespace, Ready: d.Status.ReadyReplicas, Wanted: 1}
	if d.Spec.Replicas != nil {
		m.Wanted = *d.Spec.Replicas
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name == "manager" || m.Image == "" {
			m.Image = c.Image
		}
	}
	// A registry may have a port, so the tag is behind the last slash; a digest is none.
	name, _, _ := strings.Cut(m.Image[strings.LastIndexByte(m.Image, '/')+1:], "@")
	_, m.Version, _ = strings.Cut(name, ":")
	return m
}

func agentsOf(servers []emsv1.PoolServer) []AgentVersion {
	counts := map[string]int{}
	for i := range servers {
		counts[servers[i].Status.Facts.AgentVersion]++
	}
	var out []AgentVersion
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, AgentVersion{name, counts[name]})
	}
	slices.SortStableFunc(out, func(a, b AgentVersion) int { return cmp.Compare(b.Servers, a.Servers) })
	return out
}

func (v *Versions) print(w io.Writer, form string) error {
	if form == outputText {
		_, err := io.WriteString(w, v.Text())
		return err
	}
	content, err := json.MarshalIndent(v, "", "  ")
	if err == nil && form == "yaml" {
		content, err = yaml.JSONToYAML(content)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimSuffix(string(content), "\n"))
	return err
}

// Text is for people.
func (v *Versions) Text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "client   %s\n", v.Client)
	if m := v.Manager; m != nil {
		fmt.Fprintf(&out, "manager  %s, image %s, %d of %d ready, in %s\n", cmp.Or(m.Version, "unknown"), screen.Clean(m.Image), m.Ready, m.Wanted, m.Namespace)
	}
	for _, a := range v.Agents {
		fmt.Fprintf(&out, "agents   %s: %d\n", cmp.Or(screen.Clean(a.Version), "not reported"), a.Servers)
	}
	for _, u := range v.Unknown {
		fmt.Fprintf(&out, "unknown  %s\n", screen.Clean(u))
	}
	return out.String()
}
