package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// mitigationView is the page of a mitigation.
type mitigationView struct {
	column

	Feed, Digest   string
	Revision       int64
	Lifecycle      string
	SupersededBy   string
	CVEs, Products []string
	SideEffects    []string
	Samples        int
	Actions        []actionRow
	MoreActions    int
	Ready          verdict
	Protection     protection
	Pools          paged[wherePool]
	Rollouts       []rolloutRow
	MoreRollouts   int
	History        []event
	MoreHistory    int
	Servers        []serverRow
	MoreServers    int
}

type actionRow struct {
	ID, Type, Scope, Target, Description, Value string
}

// wherePool is a pool with where the mitigation stands in it.
type wherePool struct {
	Namespace, Name, Mode string
	Cell                  cell
	Revision              int64
	Track                 track
	HasTrack              bool
}

// event is one thing that happened to a mitigation in a pool.
type event struct {
	Time            moment
	Sign            sign
	Action, By      string
	Namespace, Pool string
	ID, Name        string
	Revision        int64
	Attempt         int32
	Message         []span
}

type serverRow struct {
	Namespace, Name, Host, Pool string
	Sign                        sign
	Word                        string
	Why                         []span
	Build, Agent                string
	Silent                      bool
}

// serverRow tells the state in one column and the cause in another.
func rowOf(at *standing, is sign, word, why string) serverRow {
	server := at.Server
	return serverRow{
		Namespace: server.Namespace, Name: server.Name, Host: plain(server.Spec.HostName), Pool: server.Spec.PoolName, Sign: is, Word: plain(word), Why: prose(why),
		Build: plain(server.Status.Facts.Build), Agent: plain(server.Status.Facts.AgentVersion), Silent: at.Sign == signSilent,
	}
}

func (s *sight) mitigation(name string, q query) *mitigationView {
	m := s.mitigationAt[name]
	if m == nil {
		return nil
	}
	v := &mitigationView{
		column: columnOf(m), Feed: plain(m.Spec.FeedName), Digest: plain(m.Spec.DocumentDigest), Revision: m.Spec.Revision,
		Lifecycle: plain(string(m.Spec.Lifecycle)), SupersededBy: plain(string(m.Spec.SupersededBy)), Samples: len(m.Spec.Samples),
		Ready: s.condition(m.Status.Conditions, emsv1.ReadyCondition), Protection: s.protection(m, s.byName),
	}
	for _, text := range m.Spec.CVEs {
		v.CVEs = append(v.CVEs, plain(text))
	}
	for _, text := range m.Spec.SideEffects {
		v.SideEffects = append(v.SideEffects, plain(text))
	}
	for _, product := range m.Spec.Applicability {
		v.Products = append(v.Products, productText(product))
	}
	v.CVEs, _ = cut(v.CVEs, maxParts)
	v.SideEffects, _ = cut(v.SideEffects, maxParts)
	v.Products, _ = cut(v.Products, maxParts)
	actions, more := cut(m.Spec.Actions, maxParts)
	v.MoreActions = more
	for _, a := range actions {
		v.Actions = append(v.Actions, actionRow{
			plain(string(a.ID)), plain(string(a.Type)), plain(string(a.Scope)), plain(a.Target), plain(a.Description), block(a.Value),
		})
	}
	v.Pools = page(s.where(m.Spec.ID, q), q, maxRows)
	v.Rollouts, v.MoreRollouts = s.rollouts(s.byName, m.Spec.ID)
	v.History, v.MoreHistory = s.history(s.byName, m.Spec.ID)
	v.Servers, v.MoreServers = s.without(m.Spec.ID)
	return v
}

func productText(p emsv1.AffectedProduct) string {
	text := strings.TrimSpace(plain(string(p.Name)) + " " + plain(p.Role))
	var ranges []string
	for _, b := range p.Branches {
		if b.FixedIn == "" {
			ranges = append(ranges, "from "+plain(b.From)+", no fix yet")
		} else {
			ranges = append(ranges, "from "+plain(b.From)+", fixed in "+plain(b.FixedIn))
		}
	}
	if len(ranges) > 0 {
		text += ": " + strings.Join(ranges, "; ")
	}
	return plain(text)
}

func (s *sight) where(id emsv1.MitigationID, q query) []wherePool {
	var rows []wherePool
	for _, p := range s.byName {
		m := p.status[fold(id)]
		if m == nil || !q.finds(p.key(), p.Spec.PoolFQDN) {
			continue
		}
		row := wherePool{Namespace: p.Namespace, Name: p.Name, Mode: plain(p.Status.Summary.Mode), Cell: inPool(p, id), Revision: m.Revision}
		if row.HasTrack = m.Rollout.Stages > 0; row.HasTrack {
			row.Track = trackOf(&m.Rollout)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b wherePool) int { return cmp.Compare(a.Cell.Sign.rank(), b.Cell.Sign.rank()) })
	return rows
}

// without are servers that should have a mitigation and are not protected by it, the worst first.
func (s *sight) without(id emsv1.MitigationID) (rows []serverRow, more int) {
	type lacking struct {
		at        *standing
		is        sign
		word, why string
	}
	var all []lacking
	for _, p := range s.byName {
		planned := p.planned[fold(id)]
		if planned == nil {
			continue
		}
		hint := slices.IndexFunc(p.plan.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool { return m.ID == planned.ID })
		for _, at := range p.servers {
			is, word, why := onServer(planned, members.Reported(at.Server, planned.ID, hint))
			if is != signOK && is != signNone && is != signOff {
				all = append(all, lacking{at, is, word, why})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b lacking) int { return cmp.Compare(a.is.rank(), b.is.rank()) })
	shown, more := cut(all, maxServers)
	for _, l := range shown {
		rows = append(rows, rowOf(l.at, l.is, l.word, l.why))
	}
	return rows, more
}

// history is what happened last in pools, the newest first; to one mitigation if id is not empty.
func (s *sight) history(pools []*poolSight, id emsv1.MitigationID) (events []event, more int) {
	type happened struct {
		pool  *poolSight
		entry *emsv1.PoolHistoryEntry
	}
	var all []happened
	for _, p := range pools {
		for i := range slices.Backward(p.Status.History) {
			if e := &p.Status.History[i]; e.Time != nil && (id == "" || fold(id) == fold(e.ID)) {
				all = append(all, happened{p, e})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b happened) int { return b.entry.Time.Compare(a.entry.Time.Time) })
	shown, more := cut(all, maxEntries)
	for _, h := range shown {
		e := h.entry
		events = append(events, event{
			Time: s.at(e.Time), Sign: signOfAction(e.Action), Action: spaced(e.Action), By: plain(e.By), Namespace: h.pool.Namespace, Pool: h.pool.Name,
			ID: string(e.ID), Name: fold(e.ID), Revision: e.Revision, Attempt: e.Attempt, Message: prose(e.Message),
		})
	}
	return events, more
}

func signOfAction(action string) sign {
	switch rollout.Action(action) {
	case rollout.HaltedByFailures, rollout.Stuck:
		return signHalted
	case rollout.AbortedByPerson, rollout.Reverted, rollout.Withdrawn, rollout.Superseded:
		return signOff
	case rollout.Blocked, rollout.Suspended, rollout.Disabled:
		return signBlocked
	case rollout.PausedByPerson:
		return signPaused
	case rollout.Completed:
		return signOK
	default:
		return signMoving
	}
}

// poolView is the page of a pool.
type poolView struct {
	Namespace, Name, FQDN, Mode, Profile string
	Ready                                verdict
	Shares                               []share
	All, Protected                       int
	Mitigations                          []poolMitigation
	MoreMitigations                      int
	Rollouts                             []rolloutRow
	MoreRollouts                         int
	Servers                              paged[serverRow]
	Exceptions                           []exceptionRow
	MoreExceptions                       int
	ScopeError                           []span
	// Elsewhere says whose the servers are, if they are another manager's; there are Size of them.
	Elsewhere   string
	Size        int
	History     []event
	MoreHistory int
}

type poolMitigation struct {
	ID, Name string
	Cell     cell
	Revision int64
	Reason   string
	Message  []span
}

// exceptionRow is an entry of a list of exceptions or approvals.
type exceptionRow struct {
	What, ID, Where, Reason, Owner string
	Expiry                         moment
	Expired                        bool
}

func (s *sight) pool(key types.NamespacedName, q query) *poolView {
	p := s.poolAt[key]
	if p == nil {
		return nil
	}
	v := &poolView{
		Namespace: p.Namespace, Name: p.Name, FQDN: plain(p.Spec.PoolFQDN), Mode: plain(p.Status.Summary.Mode), Profile: plain(string(p.Spec.Rollout.Profile)),
		Ready: s.condition(p.Status.Conditions, emsv1.ReadyCondition), Shares: p.tally.shares(), All: p.tally.all, Protected: p.tally.of(signOK),
	}
	if p.manager != "" {
		v.Elsewhere, v.Size = p.manager, p.size()
	}
	for i := range p.Status.Mitigations {
		m := &p.Status.Mitigations[i]
		row := poolMitigation{ID: string(m.ID), Name: fold(m.ID), Cell: inPool(p, m.ID), Revision: m.Revision, Reason: plain(m.Reason)}
		if planned := p.planned[fold(m.ID)]; planned != nil {
			row.Message = prose(planned.Message)
		}
		v.Mitigations = append(v.Mitigations, row)
	}
	slices.SortStableFunc(v.Mitigations, func(a, b poolMitigation) int { return cmp.Compare(a.Cell.Sign.rank(), b.Cell.Sign.rank()) })
	v.Mitigations, v.MoreMitigations = cut(v.Mitigations, maxParts)
	v.Rollouts, v.MoreRollouts = s.rollouts([]*poolSight{p}, "")
	var found []*standing
	for _, at := range p.servers {
		if q.finds(at.Server.Name, at.Server.Spec.HostName) {
			found = append(found, at)
		}
	}
	v.Servers = rowsOf(page(found, q, maxServers))
	v.Exceptions, v.ScopeError = s.exceptions(p)
	v.Exceptions, v.MoreExceptions = cut(v.Exceptions, maxEntries)
	v.History, v.MoreHistory = s.history([]*poolSight{p}, "")
	return v
}

func rowsOf(p paged[*standing]) paged[serverRow] {
	out := paged[serverRow]{Query: p.Query, All: p.All, From: p.From, To: p.To, Page: p.Page, Pages: p.Pages, Previous: p.Previous, Next: p.Next}
	for _, at := range p.Items {
		out.Items = append(out.Items, rowOf(at, at.Sign, at.Word, at.Why))
	}
	return out
}

// exceptions are those that speak for a pool, its own and those of configurations; those that no longer count come last.
func (s *sight) exceptions(p *poolSight) ([]exceptionRow, []span) {
	var rows []exceptionRow
	add := func(what, where string, list []emsv1.Exception) {
		for _, e := range list {
			row := exceptionRow{What: what, ID: string(e.ID), Where: where, Reason: plain(e.Reason), Owner: plain(e.Owner), Expiry: s.at(e.ExpiryTime)}
			row.Expired = e.ExpiryTime != nil && !s.now.Before(e.ExpiryTime.Time)
			rows = append(rows, row)
		}
	}
	approvals := func(where string, list []emsv1.Approval) {
		for _, a := range list {
			row := exceptionRow{What: "approved", ID: string(a.ID), Where: where, Reason: plain(a.Reason), Owner: plain(a.Owner), Expiry: s.at(a.ExpiryTime)}
			if a.Revision != 0 {
				row.What = fmt.Sprintf("approved revision %d", a.Revision)
			}
			if len(a.Stages) > 0 {
				row.What = plain(row.What + " for " + strings.Join(a.Stages, ", "))
			}
			row.Expired = a.ExpiryTime != nil && !s.now.Before(a.ExpiryTime.Time)
			rows = append(rows, row)
		}
	}
	add("blocked", "this pool", p.Spec.Blocked)
	approvals("this pool", p.Spec.Approved)
	configurations, err := fromapi.InScope(p.PoolMitigationConfig, s.configurations)
	for i := range configurations {
		c := &configurations[i]
		where := "MitigationConfiguration " + c.Name
		add("blocked", where, c.Spec.Blocked)
		add("suspended", where, c.Spec.SuspendedMitigations)
		approvals(where, c.Spec.Approved)
	}
	slices.SortStableFunc(rows, func(a, b exceptionRow) int {
		switch {
		case a.Expired == b.Expired:
			return 0
		case b.Expired:
			return -1
		default:
			return 1
		}
	})
	if err != nil {
		return rows, prose(err.Error())
	}
	return rows, nil
}

// serverView is the page of a server.
type serverView struct {
	serverRow

	Facts       []fact
	Conditions  []verdict
	Mitigations []serverMitigation
	More        int
	Local       []localRow
	Feeds       []followed
	// Behind says that the server has not followed the newest plan yet.
	Behind string
}

type fact struct{ Name, Value string }

// followed is how far a server has followed a feed.
type followed struct {
	Name     string
	Sequence int64
}

type serverMitigation struct {
	ID, Name            string
	Sign                sign
	Word, Reason        string
	Message             []span
	Revision            int64
	Document, Effective string
	Gate                string
	GateMessage         []span
	Changed             moment
	LookAlikes          []string
}

type localRow struct {
	What, By, Reason string
	Time, Expiry     moment
}

func (s *sight) server(key types.NamespacedName) *serverView {
	at := s.serverAt[key]
	if at == nil {
		return nil
	}
	server := at.Server
	v := &serverView{serverRow: rowOf(at, at.Sign, at.Word, at.Why)}
	feeds, _ := cut(server.Status.Feeds, maxParts)
	for _, f := range feeds {
		v.Feeds = append(v.Feeds, followed{plain(f.Name), f.Sequence})
	}
	f := &server.Status.Facts
	expiry := s.at(server.Status.Credential.ExpiryTime)
	skew := ""
	if server.Status.ClockSkewSeconds != nil {
		skew = fmt.Sprintf("%d seconds ahead", *server.Status.ClockSkewSeconds)
	}
	for _, is := range []fact{
		{"Host name", server.Spec.HostName}, {"Product", strings.TrimSpace(string(f.Product) + " " + f.Role)}, {"Build", f.Build},
		{"URL Rewrite module", f.RewriteModule}, {"Agent", f.AgentVersion}, {"Operating system", f.OperatingSystem}, {"Clock", skew},
		{"Credential ends", strings.TrimSpace(expiry.Text + " " + parens(expiry.Age))},
	} {
		if is.Value != "" {
			v.Facts = append(v.Facts, fact{is.Name, plain(is.Value)})
		}
	}
	for _, kind := range []string{emsv1.ReadyCondition, emsv1.TrustAnchorsCurrentCondition, emsv1.TrustChecksPassedCondition, emsv1.ClockInSyncCondition} {
		if c := s.condition(server.Status.Conditions, kind); c.Reason != "" {
			v.Conditions = append(v.Conditions, c)
		}
	}
	v.Local = s.local(&server.Status.Local)
	p := s.poolAt[types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}]
	if p != nil && p.plan != nil && server.Status.ObservedPlanGeneration < p.plan.Generation {
		v.Behind = fmt.Sprintf("What is told here is of generation %d of the plan; the newest is %d.", server.Status.ObservedPlanGeneration, p.plan.Generation)
	}
	v.Mitigations = s.onThisServer(server, p)
	v.Mitigations, v.More = cut(v.Mitigations, maxParts)
	return v
}

// onThisServer lists what the plan speaks of, and what the server reports beside it, the worst first.
func (s *sight) onThisServer(server *emsv1.PoolServer, p *poolSight) []serverMitigation {
	var rows []serverMitigation
	seen := map[string]bool{}
	add := func(planned *emsv1.PlannedMitigation, said *emsv1.ServerMitigation) {
		is, word, why := onServer(planned, said)
		row := serverMitigation{ID: string(planned.ID), Name: fold(planned.ID), Sign: is, Word: word, Message: prose(why)}
		if said != nil {
			row.Reason, row.Revision, row.Document, row.Effective = plain(said.Reason), said.Revision, plain(said.Document), string(said.Effective)
			row.Gate, row.GateMessage, row.Changed = plain(string(said.Gate.Verdict)), prose(said.Gate.Message), s.at(said.ChangedTime)
			looks, _ := cut(said.LookAlikes, maxParts)
			for _, look := range looks {
				row.LookAlikes = append(row.LookAlikes, plain(look))
			}
		}
		seen[row.Name] = true
		rows = append(rows, row)
	}
	if p != nil && p.plan != nil {
		for i := range p.plan.Spec.Mitigations {
			planned := &p.plan.Spec.Mitigations[i]
			add(planned, members.Reported(server, planned.ID, i))
		}
	}
	for i := range server.Status.Mitigations {
		if said := &server.Status.Mitigations[i]; !seen[fold(said.ID)] {
			add(&emsv1.PlannedMitigation{ID: said.ID, Desired: emsv1.DesiredHold, Reason: "not in the plan"}, said)
		}
	}
	slices.SortStableFunc(rows, func(a, b serverMitigation) int { return cmp.Compare(a.Sign.rank(), b.Sign.rank()) })
	return rows
}

func (s *sight) local(l *emsv1.ServerLocal) []localRow {
	var rows []localRow
	use := func(what string, u *emsv1.LocalUse, expiry moment) {
		if u.Time != nil {
			rows = append(rows, localRow{what, plain(u.By), plain(u.Reason), s.at(u.Time), expiry})
		}
	}
	use("kill switch", &l.KillSwitch, moment{})
	for i := range l.Blocked {
		use("blocked "+string(l.Blocked[i].ID), &l.Blocked[i].Use, s.at(l.Blocked[i].ExpiryTime))
	}
	use("repair asked for", &l.Repair, moment{})
	rows, _ = cut(rows, maxParts)
	return rows
}

func parens(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}
