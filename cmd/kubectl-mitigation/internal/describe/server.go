package describe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
)

// ServerPage describes a server.
type ServerPage struct {
	Common `json:",inline"`

	// Namespace of the server.
	Namespace string `json:"namespace"`
	// Name of the server.
	Name string `json:"name"`
	// Pool that it belongs to.
	Pool string `json:"pool"`
	// HostName in the network.
	HostName string `json:"hostName,omitempty"`
	// Product that is installed.
	Product string `json:"product,omitempty"`
	// Role of the server within the product.
	Role string `json:"role,omitempty"`
	// Build of the product.
	Build string `json:"build,omitempty"`
	// RewriteModule is Present, Missing or Unknown.
	RewriteModule string `json:"rewriteModule,omitempty"`
	// AgentVersion of the agent.
	AgentVersion string `json:"agentVersion,omitempty"`
	// OperatingSystem of the server.
	OperatingSystem string `json:"operatingSystem,omitempty"`
	// PlanGeneration is that of the plan, FollowedGeneration the one that the server has followed.
	PlanGeneration int64 `json:"planGeneration,omitempty"`
	// FollowedGeneration is the generation of the plan that the server has followed.
	FollowedGeneration int64 `json:"followedGeneration,omitempty"`
	// CredentialExpiry is when the token ends that the agent uses now.
	CredentialExpiry *time.Time `json:"credentialExpiry,omitempty"`
	// ClockSkewSeconds is by how much its clock is ahead of the API server's.
	ClockSkewSeconds int64 `json:"clockSkewSeconds,omitempty"`
	// Local is what people did at the server itself.
	Local []string `json:"local,omitempty"`
	// Feeds that it has followed, and to which sequence.
	Feeds []ServerFeed `json:"feeds"`
	// Mitigations of the plan, and those that it has in place.
	Mitigations []ServerMitigation `json:"mitigations"`
}

// ServerFeed is how far a server has followed a feed.
type ServerFeed struct {
	// Name of the feed.
	Name string `json:"name"`
	// Sequence that it accepted last.
	Sequence int64 `json:"sequence,omitempty"`
}

// ServerMitigation is where a mitigation stands on a server.
type ServerMitigation struct {
	// ID of the mitigation.
	ID string `json:"id"`
	// Standing is how the server compares with what is wished; absent for what no plan mentions.
	Standing insight.Standing `json:"standing,omitempty"`
	// Desired is what the server has to do: Apply, Remove or Hold.
	Desired string `json:"desired,omitempty"`
	// Why it has to, in one word.
	Why string `json:"why,omitempty"`
	// State that it reports.
	State string `json:"state,omitempty"`
	// Reason that it reports.
	Reason string `json:"reason,omitempty"`
	// Message that it reports.
	Message string `json:"message,omitempty"`
	// Revision that is in place.
	Revision int64 `json:"revision,omitempty"`
	// Effective says whether IIS runs it: True, False or Unknown.
	Effective string `json:"effective,omitempty"`
	// LookAlikes are rules of others that do the same.
	LookAlikes []string `json:"lookAlikes,omitempty"`
	// Changed is when the agent last changed the server for it.
	Changed *time.Time `json:"changed,omitempty"`
}

// Server describes a server.
func Server(f *insight.Fleet, server *emsv1.PoolServer, o *explain.Objects, events []eventsv1.Event) *ServerPage {
	s := &server.Status
	p := &ServerPage{
		Common:    common(f, s.Conditions, eventcmd.About(events, eventcmd.Object{Kind: "PoolServer", Namespace: server.Namespace, Name: server.Name})),
		Namespace: server.Namespace, Name: server.Name, Pool: server.Spec.PoolName, HostName: server.Spec.HostName,
		Product: string(s.Facts.Product), Role: s.Facts.Role, Build: s.Facts.Build, RewriteModule: s.Facts.RewriteModule,
		AgentVersion: s.Facts.AgentVersion, OperatingSystem: s.Facts.OperatingSystem, FollowedGeneration: s.ObservedPlanGeneration,
		CredentialExpiry: when(s.Credential.ExpiryTime), Local: local(&s.Local, f.Now), Feeds: []ServerFeed{}, Mitigations: []ServerMitigation{},
	}
	if s.ClockSkewSeconds != nil {
		p.ClockSkewSeconds = *s.ClockSkewSeconds
	}
	for _, feed := range s.Feeds {
		p.Feeds = append(p.Feeds, ServerFeed{feed.Name, feed.Sequence})
	}
	if o == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("there is no pool %s: the server keeps what it has", p.Pool))
		p.hint(rolloutcmd.Hint{Command: fmt.Sprintf("kubectl get poolmitigationconfigs -n %s", p.Namespace), When: "see the pools of the namespace"})
		return p
	}
	asked := *o
	asked.Server, asked.Servers = server, []emsv1.PoolServer{*server}
	if o.Plan != nil {
		p.PlanGeneration = o.Plan.Generation
	}
	for _, id := range ids(&asked) {
		p.mitigation(o, &asked, server, id)
	}
	return p
}

// ids are those of the plan and of what the server reports.
func ids(o *explain.Objects) []string {
	list := o.IDs()
	if o.Plan != nil {
		for i := range o.Plan.Spec.Mitigations {
			if id := string(o.Plan.Spec.Mitigations[i].ID); !slices.ContainsFunc(list, func(known string) bool { return strings.EqualFold(known, id) }) {
				list = append(list, id)
			}
		}
	}
	return list
}

func (m *ServerPage) mitigation(whole, asked *explain.Objects, server *emsv1.PoolServer, id string) {
	line := ServerMitigation{ID: id}
	reported := insight.Reported(server, id)
	if reported != nil {
		line.State, line.Reason, line.Message, line.Revision = string(reported.State), reported.Reason, cmp.Or(reported.Message, reported.Gate.Message), reported.Revision
		line.Effective, line.LookAlikes, line.Changed = string(reported.Effective), reported.LookAlikes, when(reported.ChangedTime)
	}
	var planned *emsv1.PlannedMitigation
	if asked.Plan != nil {
		list := asked.Plan.Spec.Mitigations
		if i := slices.IndexFunc(list, func(planned emsv1.PlannedMitigation) bool { return strings.EqualFold(string(planned.ID), id) }); i >= 0 {
			planned = &list[i]
		}
	}
	if planned == nil {
		m.Mitigations = append(m.Mitigations, line)
		return
	}
	one := insight.Compare(asked, planned)
	line.Standing = one.Worst()
	full := *whole
	full.Server = server
	if x, ok := explain.One(&full, id); ok {
		line.Desired, line.Why = x.Desired, x.Reason
		if line.Standing != insight.AsWished {
			m.hint(x.Next...)
			m.hint(rolloutcmd.Hint{Command: fmt.Sprintf("kubectl mitigation explain %s/%s %s", m.Namespace, m.Name, id), When: "why it is so, question by question"})
		}
	}
	m.Mitigations = append(m.Mitigations, line)
}

// local says what people did at the server.
func local(l *emsv1.ServerLocal, now time.Time) []string {
	var out []string
	use := func(what string, u emsv1.LocalUse) {
		text := what + " by " + u.By
		if u.Time != nil {
			text += ", " + insight.Ago(u.Time.Time, now)
		}
		if u.Reason != "" {
			text += ": " + u.Reason
		}
		out = append(out, text)
	}
	if l.KillSwitch.By != "" {
		use("kill switch thrown", l.KillSwitch)
	}
	for _, b := range l.Blocked {
		what := string(b.ID) + " blocked"
		if b.ExpiryTime != nil {
			what += " until " + b.ExpiryTime.UTC().Format(time.RFC3339)
		}
		use(what, b.Use)
	}
	if l.Repair.By != "" {
		use("repair asked for", l.Repair)
	}
	return out
}

// FeedPage describes a feed.
type FeedPage struct {
	Common `json:",inline"`

	// Name of the feed.
	Name string `json:"name"`
	// Source is its URL, or the ConfigMap that holds the document.
	Source string `json:"source"`
	// Product that its documents are made for.
	Product string `json:"product,omitempty"`
	// Polling is Enabled or Disabled.
	Polling string `json:"polling"`
	// IntervalSeconds is the time between two polls.
	IntervalSeconds int64 `json:"intervalSeconds"`
	// Push says whether the endpoint tells of new documents at once.
	Push string `json:"push,omitempty"`
	// LastRead is when it was last read successfully.
	LastRead *time.Time `json:"lastRead,omitempty"`
	// Failures is how many polls failed in a row.
	Failures int `json:"failures"`
	// Publisher of the accepted document.
	Publisher string `json:"publisher,omitempty"`
	// Sequence of the accepted document.
	Sequence int64 `json:"sequence,omitempty"`
	// HighestSequence that was ever accepted.
	HighestSequence int64 `json:"highestSequence,omitempty"`
	// Digest of the accepted document.
	Digest string `json:"digest,omitempty"`
	// Signer of the accepted document.
	Signer string `json:"signer,omitempty"`
	// Signed is when it was signed, as a counter-signature proves.
	Signed *time.Time `json:"signed,omitempty"`
	// Accepted is when the manager accepted it.
	Accepted *time.Time `json:"accepted,omitempty"`
	// Expires is until when it may be newly accepted.
	Expires *time.Time `json:"expires,omitempty"`
	// Mitigations that it brings.
	Mitigations []string `json:"mitigations"`
	// Refused are Configs of the document that were refused alone, as ID: reason: message.
	Refused []string `json:"refused,omitempty"`
	// Anchors are what trust rests on.
	Anchors []insight.Anchor `json:"anchors"`
}

// Feed describes a feed.
func Feed(f *insight.Fleet, feed *emsv1.MitigationFeed, events []eventsv1.Event) *FeedPage {
	s, d := &feed.Status, &feed.Status.Document
	p := &FeedPage{
		Common: common(f, s.Conditions, eventcmd.About(events, eventcmd.Object{Kind: "MitigationFeed", Name: feed.Name})),
		Name:   feed.Name, Source: feed.Spec.URL, Product: string(feed.Spec.Product), Polling: cmp.Or(string(feed.Spec.Polling), string(emsv1.Enabled)),
		IntervalSeconds: int64(feed.Spec.Interval() / time.Second), Push: string(s.Push), LastRead: when(s.LastReadTime),
		Publisher: d.Publisher, Sequence: d.Sequence, HighestSequence: s.HighestSequence, Digest: d.Digest, Signer: d.Signer,
		Signed: when(d.SignedTime), Accepted: when(d.AcceptedTime), Expires: when(d.ExpiryTime), Mitigations: []string{}, Anchors: []insight.Anchor{},
	}
	if p.Source == "" {
		p.Source = "ConfigMap " + feed.Spec.ConfigMapRef.Name
	}
	if s.Failures != nil {
		p.Failures = int(*s.Failures)
	}
	for i := range f.Mitigations {
		if m := &f.Mitigations[i].Spec; m.FeedName == feed.Name {
			text := fmt.Sprintf("%s revision %d", m.ID, m.Revision)
			if m.Lifecycle != emsv1.LifecycleActive {
				text += ", " + string(m.Lifecycle)
			}
			p.Mitigations = append(p.Mitigations, text)
		}
	}
	for _, r := range s.Refused {
		p.Refused = append(p.Refused, r.ID+": "+r.Reason+": "+r.Message)
	}
	anchors, err := insight.Anchors(feed)
	if err != nil {
		p.Notes = append(p.Notes, "spec.trust cannot be read: "+err.Error())
	}
	p.Anchors = append(p.Anchors, anchors...)
	for _, c := range p.Conditions {
		if c.Type == emsv1.ReadyCondition && c.Status != "True" && feed.Spec.URL != "" {
			p.hint(rolloutcmd.Hint{Command: "kubectl mitigation test-connectivity --trust FILE --url " + feed.Spec.URL, When: "go the way of the feed from here: fetch, verify, read"})
		}
	}
	p.hint(
		rolloutcmd.Hint{Command: fmt.Sprintf("kubectl annotate mitigationfeed %s %s=\"$(date +%%s)\" --overwrite", feed.Name, emsv1.ReconcileRequestAnnotation), When: "read it now instead of in its turn"},
		rolloutcmd.Hint{Command: "kubectl mitigation events --for feed/" + feed.Name, When: "see what happened to it"},
	)
	return p
}
