package fleet

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/xmlsig"
)

// Resources of the API.
const (
	pools       = "poolmitigationconfigs"
	servers     = "poolservers"
	plans       = "mitigationplans"
	mitigations = "mitigations"
	bundles     = "mitigationbundles"
	feeds       = "mitigationfeeds"
)

// source says which revision out of which document is asked for.
type source struct {
	id                 string
	revision           int64
	feed, bundle, hash string
	blocked            []emsv1.MitigationID
}

// Look returns what a mitigation is on a server: its signed content, less the actions that policy blocks, and what there is to say
// about it. If the plan does not mention it, that is what the cluster knows as its newest revision.
func Look(ctx context.Context, r Reader, server types.NamespacedName, id string, now time.Time) (*View, ocs.Config, error) {
	var object emsv1.PoolServer
	if err := get(ctx, r, servers, server, &object); err != nil {
		return nil, ocs.Config{}, err
	}
	view := &View{Namespace: server.Namespace, Name: server.Name, Pool: object.Spec.PoolName, Notes: []string{}}
	from, err := planned(ctx, r, &object, id, view)
	if err != nil {
		return nil, ocs.Config{}, err
	}
	view.Mitigation, view.Revision, view.Feed, view.Bundle, view.Digest = from.id, from.revision, from.feed, from.bundle, from.hash
	view.Reported = reported(object.Status.Mitigations, id)
	if view.Reported != nil && view.Reported.Revision > 0 && view.Reported.Revision != from.revision {
		view.note("revision %d is evaluated, not revision %d, which the server reports", from.revision, view.Reported.Revision)
	}
	config, err := read(ctx, r, from, view, now)
	return view, config, err
}

func get(ctx context.Context, r Reader, resource string, key types.NamespacedName, into runtime.Object) error {
	if err := r.Get(ctx, resource, key, into); err != nil {
		name := key.Name
		if key.Namespace != "" {
			name = key.String()
		}
		return fmt.Errorf("get %s %s: %w", resource, name, err)
	}
	return nil
}

// planned says what the plan of the server's pool wants.
func planned(ctx context.Context, r Reader, server *emsv1.PoolServer, id string, view *View) (source, error) {
	var plan emsv1.MitigationPlan
	err := get(ctx, r, plans, types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}, &plan)
	switch {
	case apierrors.IsNotFound(err):
		view.note("pool %s has no plan: what is evaluated is the newest revision, which no server of it gets", server.Spec.PoolName)
		return newest(ctx, r, id)
	case err != nil:
		return source{}, err
	}
	view.Plan = &Plan{
		Name: plan.Name, Generation: plan.Generation, Mode: string(plan.Spec.Mode),
		Placement: string(cmp.Or(plan.Spec.Placement, emsv1.PlacementApplicationHost)),
	}
	if seen := server.Status.ObservedPlanGeneration; seen < plan.Generation {
		view.note("the server has not reported on generation %d of the plan, only on %d", plan.Generation, seen)
	}
	// The API allows ids that differ only in case; agents take the first one.
	i := slices.IndexFunc(plan.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool { return strings.EqualFold(string(m.ID), id) })
	if i < 0 {
		view.note("the plan does not mention the mitigation: what is evaluated is the newest revision, as if it were installed")
		return newest(ctx, r, id)
	}
	entry := &plan.Spec.Mitigations[i]
	view.Plan.Desired, view.Plan.Reason, view.Plan.Message = string(entry.Desired), entry.Reason, entry.Message
	switch {
	case entry.Desired != emsv1.DesiredApply:
		view.note("the plan says %s: what is evaluated is revision %d, as if it were installed", entry.Desired, entry.Revision)
	case plan.Spec.Mode == emsv1.ModeAudit:
		view.note("the pool is in mode Audit: what is evaluated is what the server would install")
	}
	return source{string(entry.ID), entry.Revision, entry.FeedName, entry.BundleName, entry.DocumentDigest, entry.BlockedActions}, nil
}

// newest is the revision that the feed brought last.
func newest(ctx context.Context, r Reader, id string) (source, error) {
	var m emsv1.Mitigation
	if err := get(ctx, r, mitigations, types.NamespacedName{Name: strings.ToLower(id)}, &m); err != nil {
		return source{}, fmt.Errorf("no plan mentions mitigation %q: %w", id, err)
	}
	return source{string(m.Spec.ID), m.Spec.Revision, m.Spec.FeedName, m.Spec.BundleName, m.Spec.DocumentDigest, nil}, nil
}

func reported(list []emsv1.ServerMitigation, id string) *Reported {
	for _, m := range list {
		if strings.EqualFold(string(m.ID), id) {
			return &Reported{
				State: string(m.State), Reason: m.Reason, Message: m.Message,
				Effective: string(m.Effective), Revision: m.Revision, Document: m.Document,
			}
		}
	}
	return nil
}

// read takes the mitigation out of the verified document.
func read(ctx context.Context, r Reader, from source, view *View, now time.Time) (ocs.Config, error) {
	var bundle emsv1.MitigationBundle
	var feed emsv1.MitigationFeed
	if err := get(ctx, r, bundles, types.NamespacedName{Name: from.bundle}, &bundle); err != nil {
		return ocs.Config{}, err
	}
	if bundle.Spec.FeedName != from.feed {
		return ocs.Config{}, fmt.Errorf("MitigationBundle %s: is of feed %q, not of %q", from.bundle, bundle.Spec.FeedName, from.feed)
	}
	if err := get(ctx, r, feeds, types.NamespacedName{Name: from.feed}, &feed); err != nil {
		return ocs.Config{}, fmt.Errorf("trust policy: %w", err)
	}
	signed, err := verify(&bundle, &feed, now)
	if err != nil {
		return ocs.Config{}, fmt.Errorf("MitigationBundle %s: under spec.trust of MitigationFeed %s: %w", from.bundle, from.feed, err)
	}
	if digest := hex.EncodeToString(signed.Digest[:]); digest != from.hash {
		return ocs.Config{}, fmt.Errorf("MitigationBundle %s: its document has the digest %s, want %s; look for who changed the plan", from.bundle, digest, from.hash)
	}
	view.Signer = signed.Signer.Subject.String()
	for _, finding := range signed.Findings {
		view.note("spec.trust only logs this: %s", finding)
	}
	document, err := ocs.Parse(signed.Canonical)
	if err != nil {
		return ocs.Config{}, fmt.Errorf("MitigationBundle %s: %w", from.bundle, err)
	}
	config, err := find(document, from)
	if err != nil {
		return ocs.Config{}, fmt.Errorf("MitigationBundle %s: %w", from.bundle, err)
	}
	config.Actions, view.BlockedActions = allowed(config.Actions, from.blocked)
	if len(config.Actions) == 0 {
		return ocs.Config{}, fmt.Errorf("mitigation %q: the plan blocks each of its actions, so that the server installs none", from.id)
	}
	return config, nil
}

// verify judges the document as the manager did, by the lists that it handed out beside it.
func verify(bundle *emsv1.MitigationBundle, feed *emsv1.MitigationFeed, now time.Time) (*xmlsig.Signed, error) {
	rules, err := feedtrust.Policy(feed.Spec.Trust).Compile()
	if err != nil {
		return nil, err
	}
	if rules.Revocation.Mode != "" && rules.Revocation.Mode != xmlsig.RevocationOff {
		authorities := feedtrust.Authorities(bundle.Spec.Document, rules, now)
		for _, der := range bundle.Spec.RevocationLists {
			if list, err := revocation.Parse(der); err == nil && list.VerifyBy(authorities, now) == nil {
				rules.Revocation.CRLs = append(rules.Revocation.CRLs, list.RevocationList)
			}
		}
	}
	return xmlsig.Verify(bundle.Spec.Document, rules, now)
}

func find(document *ocs.Document, from source) (ocs.Config, error) {
	for _, refused := range document.Refused {
		if strings.EqualFold(refused.ID, from.id) {
			return ocs.Config{}, fmt.Errorf("mitigation %q is refused: %s", refused.ID, refused.Message)
		}
	}
	for _, config := range document.Configs {
		switch {
		case !strings.EqualFold(config.ID, from.id):
		case config.Revision != from.revision:
			return ocs.Config{}, fmt.Errorf("mitigation %q: the document holds revision %d, want %d; look for who changed the plan", from.id, config.Revision, from.revision)
		default:
			return config, nil
		}
	}
	return ocs.Config{}, fmt.Errorf("the document holds no mitigation %q", from.id)
}

// allowed leaves out the blocked actions, as agents do.
func allowed(actions []ocs.Action, blocked []emsv1.MitigationID) (rest []ocs.Action, out []string) {
	for _, a := range actions {
		if slices.ContainsFunc(blocked, func(b emsv1.MitigationID) bool { return policy.Covers(string(b), a.ID) }) {
			out = append(out, a.ID)
			continue
		}
		rest = append(rest, a)
	}
	return rest, out
}
