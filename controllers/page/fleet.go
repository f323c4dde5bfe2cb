package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
)

// How much a page shows. The largest page stays below 1 MB of HTML, whatever there is in the cluster: what is left out is counted, and
// search and further pages lead to it.
const (
	maxRows     = 50  // pools in a table
	maxColumns  = 20  // mitigations in the matrix
	maxServers  = 100 // servers in a table
	maxRollouts = 50
	maxTroubles = 50
	maxEntries  = 100 // of a history or of exceptions
	maxFeeds    = 50
	maxParts    = 200 // actions of a mitigation, mitigations of a server or a pool
	maxLines    = 200 // lines of an action's value
	maxQuery    = 64  // characters that are searched for
)

// fleetView is the page of everything.
type fleetView struct {
	Empty    bool
	Steps    []step
	Lead     lead
	Alerts   []alert
	Shown    []column
	Hidden   int
	Pools    paged[matrixRow]
	Rollouts []rolloutRow
	// MoreRollouts and MoreTroubles are how many are left out.
	MoreRollouts int
	Troubles     []trouble
	MoreTroubles int
	Feeds        []feedRow
	MoreFeeds    int
}

// lead is the summary line.
type lead struct {
	Sign           sign
	Protected, All int
	Pools          int
	Shares         []share
	Per            []protection
	More           int
	// Elsewhere tells of servers in pools of other managers.
	Elsewhere string
}

// protection is how many servers a mitigation protects, of those that it is for, wherever policy stands.
type protection struct {
	column

	Have, Need int
	Sign       sign
	Shares     []share
	// Rest says in words what the others do.
	Rest string
}

// column is a mitigation in a few words.
type column struct {
	ID, Name, Severity, Description string
}

type matrixRow struct {
	Namespace, Name string
	Sign            sign
	Mode            string
	Servers         int
	Cells           []cell
}

// step is one thing to do in an empty fleet.
type step struct {
	Done    bool
	What    string
	Command string
}

// alert is something that holds for many at once.
type alert struct {
	Sign sign
	Text []span
}

type rolloutRow struct {
	Namespace, Pool, ID, Name         string
	Revision                          int64
	Sign                              sign
	Word                              string
	Profile                           string
	Track                             track
	Passed, Failed, Waiting, Released int
	Total                             int
	Since                             moment
	Reason                            string
	Message                           []span
}

// trouble is a server on which a mitigation failed, or has no effect.
type trouble struct {
	Namespace, Pool, Server, ID, Name string
	Sign                              sign
	Word                              string
	Reason                            string
	Message                           []span
	Since                             moment
	// Elsewhere says that another manager's page has the server.
	Elsewhere bool
}

type feedRow struct {
	Name, Source, Publisher, Signer string
	Ready, Fresh, Anchors, Checks   verdict
	Sequence                        int64
	Mitigations                     int
	Refused                         int
	Read, Issued, Expires, Accepted moment
	SignerEnds                      moment
}

func columnOf(m *emsv1.Mitigation) column {
	return column{ID: string(m.Spec.ID), Name: m.Name, Severity: plain(string(m.Spec.Severity)), Description: plain(m.Spec.Description)}
}

// inForce reports whether a column is worth its room: what the publisher stands behind, and what has not left every server yet.
func (s *sight) inForce(m *emsv1.Mitigation) bool {
	return m.Spec.Lifecycle == emsv1.LifecycleActive || m.Spec.Lifecycle == "" ||
		ptr.Deref(m.Status.Servers.Applied, 0)+ptr.Deref(m.Status.Servers.Ineffective, 0) > 0
}

func (s *sight) fleet(q query) *fleetView {
	v := &fleetView{Empty: len(s.byName) == 0 || len(s.mitigations) == 0 || s.size() == 0}
	if v.Empty {
		v.Steps = s.firstSteps()
	}
	v.Lead = s.lead()
	v.Alerts = s.alerts()
	var ids []emsv1.MitigationID
	for i := range s.mitigations {
		m := &s.mitigations[i]
		if !s.inForce(m) {
			continue
		}
		if len(v.Shown) == maxColumns {
			v.Hidden++
			continue
		}
		v.Shown = append(v.Shown, columnOf(m))
		ids = append(ids, m.Spec.ID)
	}
	v.Pools = page(s.matrix(ids, q), q, maxRows)
	v.Rollouts, v.MoreRollouts = s.rollouts(s.byName, "")
	v.Troubles, v.MoreTroubles = s.troubles(s.byName, "", maxTroubles)
	v.Feeds, v.MoreFeeds = cut(s.feedRows(), maxFeeds)
	return v
}

// firstSteps say what to do where nothing is yet.
func (s *sight) firstSteps() []step {
	return []step{
		{len(s.feeds) > 0, "Say whose signed mitigations you trust: a MitigationFeed.", "kubectl apply -f config/samples/mitigationfeed_exchange.yaml"},
		{len(s.mitigations) > 0, "Wait until its document was read and verified.", "kubectl wait --for=condition=Ready mitigationfeed --all"},
		{len(s.byName) > 0, "Make a pool: a namespace with a PoolMitigationConfig.", "kubectl apply -f config/samples/poolmitigationconfig.yaml"},
		{s.size() > 0, "Enrol its servers, and run on each what this prints.", "kubectl mitigation enroll --namespace NAMESPACE POOL/SERVER"},
	}
}

// size is the number of all servers, as far as they are counted anywhere.
func (s *sight) size() int {
	n := len(s.servers)
	for _, p := range s.byName {
		if p.manager != "" {
			n += p.size()
		}
	}
	return n
}

// elsewhere tells of the pools of other managers.
func (s *sight) elsewhere() string {
	pools, servers, silent := 0, 0, 0
	for _, p := range s.byName {
		if p.manager != "" {
			pools, servers, silent = pools+1, servers+p.size(), silent+p.silent()
		}
	}
	if pools == 0 {
		return ""
	}
	text := fmt.Sprintf("%s in %s of other managers", count(servers, "more server"), count(pools, "pool"))
	if silent > 0 {
		text += fmt.Sprintf(", %s of them silent", number(silent))
	}
	return text + ": here those pools are summed up, and the page of each manager has their servers one by one"
}

func (s *sight) lead() lead {
	l := lead{Pools: len(s.byName), Elsewhere: s.elsewhere()}
	var all tally
	for i := range s.servers {
		if at := s.serverAt[keyOf(&s.servers[i])]; at != nil {
			all.add(at.Sign)
		}
	}
	// A server that needs nothing is as protected as one that has everything: stand says ok for both.
	l.All, l.Protected, l.Sign, l.Shares = all.all, all.of(signOK), all.worst(), all.shares()
	for i := range s.mitigations {
		m := &s.mitigations[i]
		if m.Spec.Lifecycle != emsv1.LifecycleActive && m.Spec.Lifecycle != "" {
			continue
		}
		if len(l.Per) == maxColumns {
			l.More++
			continue
		}
		l.Per = append(l.Per, s.protection(m, s.byName))
	}
	return l
}

// protection counts from the statuses of pools.
func (s *sight) protection(m *emsv1.Mitigation, pools []*poolSight) protection {
	out := protection{column: columnOf(m)}
	var t tally
	for _, p := range pools {
		said := p.status[fold(m.Spec.ID)]
		if said == nil {
			continue
		}
		c := said.Servers
		in := inPool(p, m.Spec.ID)
		applied, failed, broken := ptr.Deref(c.Applied, 0), ptr.Deref(c.Failed, 0), ptr.Deref(c.Ineffective, 0)
		rest := ptr.Deref(c.Total, 0) - ptr.Deref(c.NotApplicable, 0) - applied - failed - broken
		t.addMany(signOK, applied)
		t.addMany(signFailed, failed)
		t.addMany(signBroken, broken)
		switch in.Sign {
		case signBlocked, signAudit, signHeld, signOff:
			t.addMany(in.Sign, rest)
		default:
			t.addMany(signMoving, rest)
		}
	}
	out.Need, out.Have, out.Sign, out.Shares = t.all, t.of(signOK), t.worst(), t.shares()
	var words []string
	for _, s := range slices.Backward(out.Shares) {
		if s.Sign != signOK {
			words = append(words, number(s.Count)+" "+s.Word)
		}
	}
	out.Rest = strings.Join(words, ", ")
	return out
}

func (t *tally) addMany(is sign, n int32) {
	if n > 0 {
		t.all += int(n)
		t.by[is.rank()] += int(n)
	}
}

// matrix has the pools that the query finds, those with trouble first.
func (s *sight) matrix(ids []emsv1.MitigationID, q query) []matrixRow {
	var rows []matrixRow
	for _, p := range s.byName {
		if !q.finds(p.key(), p.Spec.PoolFQDN) {
			continue
		}
		row := matrixRow{Namespace: p.Namespace, Name: p.Name, Sign: signOK, Mode: plain(p.Status.Summary.Mode), Servers: p.size()}
		for _, id := range ids {
			c := inPool(p, id)
			row.Sign = worse(row.Sign, c.Sign)
			row.Cells = append(row.Cells, c)
		}
		if p.silent() > 0 {
			row.Sign = worse(row.Sign, signSilent)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b matrixRow) int { return cmp.Compare(a.Sign.rank(), b.Sign.rank()) })
	return rows
}

// rollouts are those of pools that are not complete, the most urgent first; of one mitigation if id is not empty.
func (s *sight) rollouts(pools []*poolSight, id emsv1.MitigationID) (rows []rolloutRow, more int) {
	type underway struct {
		pool *poolSight
		m    *emsv1.PoolMitigationStatus
		cell cell
	}
	var all []underway
	for _, p := range pools {
		for i := range p.Status.Mitigations {
			m := &p.Status.Mitigations[i]
			if (id == "" || fold(id) == fold(m.ID)) && m.Desired == emsv1.DesiredApply && m.Rollout.State != "" && m.Rollout.State != emsv1.RolloutComplete {
				all = append(all, underway{p, m, inPool(p, m.ID)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b underway) int { return cmp.Compare(a.cell.Sign.rank(), b.cell.Sign.rank()) })
	shown, more := cut(all, maxRollouts)
	for _, u := range shown {
		rows = append(rows, s.rolloutRow(u.pool, u.m, u.cell))
	}
	return rows, more
}

func (s *sight) rolloutRow(p *poolSight, m *emsv1.PoolMitigationStatus, c cell) rolloutRow {
	r := &m.Rollout
	row := rolloutRow{
		Namespace: p.Namespace, Pool: p.Name, ID: string(m.ID), Name: fold(m.ID), Revision: m.Revision, Sign: c.Sign, Word: c.Word,
		Profile: plain(string(r.Profile)), Track: trackOf(r), Since: s.at(r.StageTime), Reason: plain(r.Reason), Message: prose(r.Message),
		Released: int(ptr.Deref(r.Released, 0)), Passed: int(ptr.Deref(r.Passed, 0)), Failed: int(ptr.Deref(r.Failed, 0)),
		Total: int(ptr.Deref(m.Servers.Total, 0)),
	}
	row.Waiting = max(0, row.Released-row.Passed-row.Failed)
	if row.Since.ISO == "" {
		row.Since = s.at(r.StartTime)
	}
	return row
}

// troubles are failures and mitigations without effect on servers, in the order of pools and servers; of one mitigation if id is not empty.
func (s *sight) troubles(pools []*poolSight, id emsv1.MitigationID, most int) (found []trouble, more int) {
	for _, p := range pools {
		if p.plan == nil {
			continue
		}
		if p.manager != "" {
			for _, t := range p.namedTroubles(id) {
				if len(found) < most {
					found = append(found, t)
				} else {
					more++
				}
			}
			continue
		}
		for _, at := range p.servers {
			// Servers with trouble come first, and one that has failed is never called anything better.
			if at.Sign.rank() > signBroken.rank() {
				break
			}
			for i := range p.plan.Spec.Mitigations {
				planned := &p.plan.Spec.Mitigations[i]
				if id != "" && fold(id) != fold(planned.ID) {
					continue
				}
				said := members.Reported(at.Server, planned.ID, i)
				is, word, why := onServer(planned, said)
				if is != signFailed && is != signBroken {
					continue
				}
				if len(found) == most {
					more++
					continue
				}
				found = append(found, trouble{
					Namespace: p.Namespace, Pool: p.Name, Server: at.Server.Name, ID: string(planned.ID), Name: fold(planned.ID), Sign: is, Word: word,
					Reason: plain(said.Reason), Message: prose(why), Since: s.at(said.ChangedTime),
				})
			}
		}
	}
	return found, more
}

// namedTroubles are what the status of a pool names, at most 20 of a kind and mitigation; of one mitigation if id is not empty.
func (p *poolSight) namedTroubles(id emsv1.MitigationID) (found []trouble) {
	add := func(m *emsv1.PoolMitigationStatus, servers []string, is sign, word string) {
		for _, server := range servers {
			found = append(found, trouble{
				Namespace: p.Namespace, Pool: p.Name, Server: server, ID: string(m.ID), Name: fold(m.ID), Sign: is, Word: word, Elsewhere: true,
				Message: prose("The page of " + p.manager + " says why."),
			})
		}
	}
	for i := range p.Status.Mitigations {
		if m := &p.Status.Mitigations[i]; id == "" || fold(id) == fold(m.ID) {
			add(m, m.Failing, signFailed, "failed")
			add(m, m.Ineffective, signBroken, "not effective")
		}
	}
	return found
}

// alerts are settings that hold for the whole fleet or for many pools.
func (s *sight) alerts() []alert {
	var out []alert
	for i := range s.configurations {
		c := &s.configurations[i]
		where := "MitigationConfiguration " + c.Name
		if c.Spec.Suspend == emsv1.SuspendRevert {
			out = append(out, alert{signBlocked, prose("The kill switch of " + where + " is on: every mitigation is taken off the pools that it speaks for.")})
		}
		if c.Spec.Mitigations == emsv1.Disabled {
			out = append(out, alert{signBlocked, prose(where + " switches mitigations off.")})
		}
		if c.Spec.Rollout.Progress == emsv1.ProgressPaused {
			out = append(out, alert{signPaused, prose(where + " pauses all rollouts.")})
		}
		if meta.IsStatusConditionTrue(c.Status.Conditions, emsv1.StalledCondition) {
			out = append(out, alert{signFailed, prose(where + ": " + meta.FindStatusCondition(c.Status.Conditions, emsv1.StalledCondition).Message)})
		}
	}
	suspended := 0
	for _, p := range s.byName {
		if p.Spec.Suspend == emsv1.SuspendRevert {
			suspended++
		}
	}
	if suspended > 0 {
		out = append(out, alert{signBlocked, prose("The kill switch is on in " + count(suspended, "pool") + ".")})
	}
	out, _ = cut(out, maxEntries)
	return out
}

func (s *sight) feedRows() []feedRow {
	var rows []feedRow
	for i := range s.feeds {
		f := &s.feeds[i]
		d := &f.Status.Document
		row := feedRow{
			Name: f.Name, Source: "ConfigMap", Publisher: plain(d.Publisher), Signer: plain(d.Signer), Sequence: d.Sequence,
			Ready: s.condition(f.Status.Conditions, emsv1.ReadyCondition), Fresh: s.condition(f.Status.Conditions, emsv1.FreshCondition),
			Anchors: s.condition(f.Status.Conditions, emsv1.TrustAnchorsCurrentCondition), Checks: s.condition(f.Status.Conditions, emsv1.TrustChecksPassedCondition),
			Mitigations: int(ptr.Deref(f.Status.Mitigations, 0)), Refused: len(f.Status.Refused),
			Read: s.at(f.Status.LastReadTime), Issued: s.at(d.IssuedTime), Expires: s.at(d.ExpiryTime), Accepted: s.at(d.AcceptedTime),
			SignerEnds: s.at(d.SignerExpiryTime),
		}
		if f.Spec.URL != "" {
			row.Source = withoutSecrets(f.Spec.URL)
		}
		rows = append(rows, row)
	}
	return rows
}

// withoutSecrets is a URL without what may be one: user, password and query.
func withoutSecrets(text string) string {
	parsed, err := url.Parse(text)
	if err != nil {
		return "a URL that cannot be read"
	}
	parsed.User, parsed.RawQuery, parsed.Fragment = nil, "", ""
	return plain(parsed.String())
}
