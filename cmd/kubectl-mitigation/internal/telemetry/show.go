package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/policy/fromapi"
	diagnostics "mitigation.dev/ems/internal/telemetry"
)

// Diagnostics says whether diagnostic data is sent, and what.
type Diagnostics struct {
	// Enabled says whether it is sent, Why why not.
	Enabled bool   `json:"enabled"`
	Why     string `json:"why,omitempty"`
	// URL and ProxyURL are where it goes and by which way; empty if it goes nowhere.
	URL      string `json:"url,omitempty"`
	ProxyURL string `json:"proxyURL,omitempty"`
	// From says who said so: the configuration, or the installation of the manager.
	From string `json:"from,omitempty"`
	// OrganizationID is empty as long as there is none; the bytes then have one of zeros.
	OrganizationID string `json:"organizationID,omitempty"`
	// Result, Message, LastSentTime, NextTime and SentServers are what the manager reports.
	Result       emsv1.TelemetryResult `json:"result,omitempty"`
	Message      string                `json:"message,omitempty"`
	LastSentTime *metav1.Time          `json:"lastSentTime,omitempty"`
	NextTime     *metav1.Time          `json:"nextTime,omitempty"`
	SentServers  *int32                `json:"sentServers,omitempty"`
	// OptedOut are pools whose servers are left out.
	OptedOut []string `json:"optedOut,omitempty"`
	// Servers is how many servers would be part of it, in Requests.
	Servers  int       `json:"servers"`
	Requests []Request `json:"requests,omitempty"`
	// Unknown says what could not be found out, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// Request is one request of a sending.
type Request struct {
	// Bytes is the size before and CompressedBytes after it was compressed.
	Bytes           int `json:"bytes"`
	CompressedBytes int `json:"compressedBytes"`
	// Body is what the endpoint reads.
	Body string `json:"body,omitempty"`
}

// objects are what a page is made of.
type objects struct {
	diagnostics.Fleet
	global    *emsv1.MitigationConfiguration
	installed diagnostics.Endpoint
}

// read makes the page of a cluster.
func read(ctx context.Context, config *rest.Config, namespace string) (*Diagnostics, error) {
	reader, err := fleet.NewReader(config)
	if err != nil {
		return nil, err
	}
	var (
		configurations emsv1.MitigationConfigurationList
		pools          emsv1.PoolMitigationConfigList
		plans          emsv1.MitigationPlanList
		servers        emsv1.PoolServerList
	)
	for resource, list := range map[string]runtime.Object{
		"mitigationconfigurations": &configurations, "poolmitigationconfigs": &pools, "mitigationplans": &plans, "poolservers": &servers,
	} {
		if err := reader.List(ctx, resource, "", list); err != nil {
			return nil, fmt.Errorf("list %s: %w", resource, err)
		}
	}
	o := objects{global: fromapi.Global(configurations.Items), Fleet: diagnostics.Fleet{
		Configurations: configurations.Items, Pools: pools.Items, Plans: plans.Items, Servers: servers.Items,
	}}
	var unknown []string
	if o.installed, err = installed(ctx, config, namespace); err != nil {
		unknown = append(unknown, fmt.Sprintf("what the manager was installed with: %v", err))
	}
	if o.OrganizationID, err = organization(ctx, config, namespace, o.global); err != nil {
		unknown = append(unknown, fmt.Sprintf("the organisation's id: %v", err))
	}
	page, err := o.page()
	if err != nil {
		return nil, err
	}
	page.Unknown = unknown
	return page, nil
}

// installed reads the arguments of the manager's Deployment. Without one there is no choice to be found, as in a cluster whose manager
// runs elsewhere.
func installed(ctx context.Context, config *rest.Config, namespace string) (diagnostics.Endpoint, error) {
	var (
		deployment appsv1.Deployment
		to         diagnostics.Endpoint
	)
	err := fleet.Raw(ctx, config, "/apis/apps/v1/namespaces/"+namespace+"/deployments/ems-manager", &deployment)
	if apierrors.IsNotFound(err) {
		return to, nil
	} else if err != nil {
		return to, err
	}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		for _, argument := range container.Args {
			name, value, _ := strings.Cut(strings.TrimLeft(argument, "-"), "=")
			switch name {
			case "telemetry-url":
				to.URL = value
			case "telemetry-ca-bundle":
				to.CABundle = value
			case "telemetry-proxy-url":
				to.ProxyURL = value
			}
		}
	}
	return to, nil
}

// organization is the id that the manager keeps, and has in the status of the configuration for those who may not read where; zero if
// there is none yet.
func organization(ctx context.Context, config *rest.Config, namespace string, global *emsv1.MitigationConfiguration) (uuid.UUID, error) {
	if global != nil && global.Status.Telemetry.OrganizationID != "" {
		return diagnostics.ParseOrganization(global.Status.Telemetry.OrganizationID)
	}
	var kept corev1.ConfigMap
	err := fleet.Raw(ctx, config, "/api/v1/namespaces/"+namespace+"/configmaps/"+diagnostics.OrganizationName, &kept)
	if apierrors.IsNotFound(err) {
		return uuid.Nil, nil
	} else if err != nil {
		return uuid.Nil, err
	}
	return diagnostics.ParseOrganization(kept.Data[diagnostics.OrganizationKey])
}

// page makes the page of the objects.
func (o *objects) page() (*Diagnostics, error) {
	to, on, why := diagnostics.Choose(o.global, o.installed)
	page := &Diagnostics{Enabled: on, Why: why, URL: to.URL, ProxyURL: to.ProxyURL}
	if on {
		page.From = "the installation of the manager"
	}
	if o.global != nil {
		if ptr.Deref(o.global.Spec.Telemetry, emsv1.TelemetrySpec{}) != (emsv1.TelemetrySpec{}) {
			page.From = "MitigationConfiguration global"
		}
		s := o.global.Status.Telemetry
		page.Result, page.Message, page.LastSentTime, page.NextTime, page.SentServers = s.Result, s.Message, s.LastSentTime, s.NextTime, s.Servers
	}
	if o.OrganizationID != uuid.Nil {
		page.OrganizationID = o.OrganizationID.String()
	}
	for i := range o.Pools {
		if !diagnostics.Takes(&o.Pools[i]) {
			page.OptedOut = append(page.OptedOut, o.Pools[i].Namespace+"/"+o.Pools[i].Name)
		}
	}
	records, err := diagnostics.Records(o.Fleet)
	if err != nil {
		return nil, err
	}
	bodies, err := diagnostics.Bodies(records)
	if err != nil {
		return nil, err
	}
	page.Servers = len(records)
	for _, body := range bodies {
		page.Requests = append(page.Requests, Request{Bytes: len(body), CompressedBytes: len(diagnostics.Compress(body)), Body: string(body)})
	}
	return page, nil
}

func (p *Diagnostics) print(w io.Writer, form string) error {
	if form != "text" {
		return rolloutcmd.Write(w, form, p, nil)
	}
	_, err := io.WriteString(w, p.Text())
	return err
}

// Text is for people.
func (p *Diagnostics) Text() string {
	var out strings.Builder
	line := func(name, format string, arguments ...any) {
		fmt.Fprintf(&out, "%-13s %s\n", name, terminal.Clean(fmt.Sprintf(format, arguments...)))
	}
	switch {
	case p.Enabled:
		line("telemetry", "enabled by %s", p.From)
		line("to", "%s", p.URL)
		if p.ProxyURL != "" {
			line("by proxy", "%s", p.ProxyURL)
		}
	case p.From != "":
		line("telemetry", "disabled by %s: %s", p.From, p.Why)
	default:
		line("telemetry", "disabled: %s", p.Why)
	}
	line("organisation", "%s", cmp.Or(p.OrganizationID, "has no id yet: one is made when telemetry is enabled first, and takes the place of the zeros in the bytes"))
	if p.LastSentTime != nil {
		line("sent", "%s, %d servers", moment(p.LastSentTime), ptr.Deref(p.SentServers, 0))
	}
	if p.Enabled && p.Result == emsv1.TelemetryFailed {
		line("failed", "%s", p.Message)
	}
	if p.Enabled && p.NextTime != nil {
		line("next", "%s", moment(p.NextTime))
	}
	if len(p.OptedOut) > 0 {
		line("opted out", "%s", strings.Join(p.OptedOut, ", "))
	}
	line("servers", "%d", p.Servers)
	for _, u := range p.Unknown {
		line("unknown", "%s", u)
	}
	for i, r := range p.Requests {
		if r.Body == "" {
			break
		}
		would := "would be"
		if p.Enabled {
			would = "is"
		}
		fmt.Fprintf(&out, "\nRequest %d of %d, this %s sent (by gzip):\n%s", i+1, len(p.Requests), would, r.Body)
	}
	return out.String()
}

func moment(t *metav1.Time) string { return t.UTC().Format(time.RFC3339) }
