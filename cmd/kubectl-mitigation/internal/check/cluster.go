package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	utilversion "k8s.io/apimachinery/pkg/util/version"

	"mitigation.dev/ems/agent/skew"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
)

// install is the command that installs, or installs again.
const install = "kubectl apply --server-side -k config/default"

// oldest is the first version of Kubernetes that serves ValidatingAdmissionPolicy v1 without being asked to.
var oldest = utilversion.MustParseGeneric("1.30")

func unknown(check string, err error) Item {
	return Item{Check: check, Result: resultUnknown, What: "could not be found out", Why: strings.TrimSpace(err.Error())}
}

// JudgeBefore says whether EMS can be installed.
func JudgeBefore(f *facts) *Health {
	items := []Item{judgeVersion(f), judgeClock(f), judgeServed(f)}
	items = append(items, judgeRights(f)...)
	return report(f.now, append(items, judgeOldCRDs(f)))
}

func judgeVersion(f *facts) Item {
	const check = "api server"
	if f.version.err != nil {
		return Item{Check: check, Result: resultFailed, What: "does not answer", Why: f.version.err.Error(), Next: "kubectl cluster-info"}
	}
	version, err := utilversion.ParseGeneric(f.version.value)
	switch {
	case err != nil:
		return unknown(check, err)
	case version.LessThan(oldest):
		return Item{
			Check: check, Result: resultFailed, What: "is " + f.version.value,
			Why: "agents are kept to their own objects by admission policies (ValidatingAdmissionPolicy v1), which came with 1.30", Next: "kubectl version",
		}
	}
	return Item{Check: check, Result: resultOK, What: f.version.value}
}

func judgeClock(f *facts) Item {
	const check = "clock"
	switch {
	case !f.clock.Known:
		return Item{Check: check, Result: resultUnknown, What: "could not be compared", Why: "the answers of the API server took too long, or said no time"}
	case f.clock.Skewed:
		return Item{
			Check: check, Result: resultWarning, What: fmt.Sprintf("of this machine is %s off against the API server's", f.clock.Ahead),
			Why: "ages and ends are judged by the one of this machine here, and by the others on servers", Next: "date -u",
		}
	}
	return Item{Check: check, Result: resultOK, What: fmt.Sprintf("agrees with the API server's within %s", skew.Limit)}
}

func judgeServed(f *facts) Item {
	const check = "admission"
	switch {
	case f.policiesServed.err != nil:
		return unknown(check, f.policiesServed.err)
	case !f.policiesServed.value:
		return Item{
			Check: check, Result: resultFailed, What: "ValidatingAdmissionPolicy v1 is not served", Why: "agents could change the objects of other servers",
			Next: "kubectl api-resources --api-group admissionregistration.k8s.io",
		}
	}
	return Item{Check: check, Result: resultOK, What: "ValidatingAdmissionPolicy v1 is served"}
}

// judgeRights says what an installation would be refused. Without the rights that the roles grant, nobody may make the roles, unless
// by the verb escalate.
func judgeRights(f *facts) []Item {
	const check = "rights"
	if f.rights.err != nil {
		return []Item{unknown(check, f.rights.err)}
	}
	var refused []string
	escalates := true
	for _, r := range f.rights.value {
		switch {
		case r.allowed:
		case r.verb == "escalate":
			escalates = false
		default:
			text := r.verb + " " + strings.TrimSuffix(r.resource+"."+r.group, ".")
			if r.namespace != "" {
				text += " in " + r.namespace
			}
			refused = append(refused, text)
		}
	}
	var items []Item
	if len(refused) > 0 {
		items = append(items, Item{
			Check: check, Result: resultFailed, What: "you may not " + strings.Join(refused, ", "), Why: "config/default has such objects", Next: "kubectl auth can-i --list",
		})
	}
	if !escalates {
		items = append(items, Item{
			Check: check, Result: resultWarning, What: "you may not escalate roles", Why: "the roles of EMS can be made only by who has their rights, such as cluster-admin",
			Next: "kubectl auth can-i escalate clusterroles",
		})
	}
	if len(items) == 0 {
		items = append(items, Item{Check: check, Result: resultOK, What: fmt.Sprintf("you may make everything of config/default (%d questions)", len(f.rights.value))})
	}
	return items
}

func judgeOldCRDs(f *facts) Item {
	const check = "crds"
	if f.crds.err != nil {
		return unknown(check, f.crds.err)
	}
	var present, other []string
	for _, s := range f.crds.value {
		if !s.absent {
			present = append(present, s.name)
		}
		if s.differs != "" {
			other = append(other, fmt.Sprintf("%s (%s)", s.name, s.differs))
		}
	}
	switch {
	case len(other) > 0:
		return Item{
			Check: check, Result: resultWarning, What: fmt.Sprintf("%d there that would be changed: %s", len(other), few(other)),
			Why: "another version of EMS is installed", Next: "kubectl mitigation version",
		}
	case len(present) > 0:
		return Item{Check: check, Result: resultOK, What: fmt.Sprintf("%d of %d are there, as this version has them", len(present), len(f.crds.value))}
	}
	return Item{Check: check, Result: resultOK, What: "none is there yet"}
}

// maxNamed is how many things of a kind a line names.
const maxNamed = 3

func few(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:maxNamed], ", ") + fmt.Sprintf(" and %d more", len(names)-maxNamed)
}

// graceLeases is how many lease times a manager may be late: renewing takes a moment, and so does taking over.
const graceLeases = 2

// leads reports whether somebody holds a Lease. The other clock wrote the time in it.
func (f *facts) leads(l leadership) bool {
	return l.holder != "" && f.now.Add(-f.clock.Ahead).Sub(l.renewed) < graceLeases*l.duration
}

func judgeManager(f *facts) Item {
	const check = "manager"
	const look = "kubectl get deployments -A -l app.kubernetes.io/name=ems"
	if f.leaders.err != nil {
		return unknown(check, f.leaders.err)
	}
	var leading []string
	var last leadership
	for _, l := range f.leaders.value {
		if l.renewed.After(last.renewed) {
			last = l
		}
		if f.leads(l) {
			leading = append(leading, l.namespace+"/"+l.holder)
		}
	}
	slices.Sort(leading)
	switch {
	case len(leading) == 1:
		return Item{Check: check, Result: resultOK, What: leading[0] + " leads"}
	case len(leading) > 1:
		return Item{
			Check: check, Result: resultFailed, What: "several lead: " + few(leading), Why: "managers in different namespaces do not know of each other, and write the same plans", Next: look,
		}
	case last.renewed.IsZero():
		return Item{Check: check, Result: resultFailed, What: "none has ever led in this cluster", Why: "unless one runs without --leader-elect, nothing new is fetched, planned or rolled out; what is applied stays", Next: look}
	}
	return Item{
		Check: check, Result: resultFailed, What: fmt.Sprintf("none leads; the last sign, in namespace %s, was %s", last.namespace, insight.Ago(last.renewed, f.now)),
		Why: "nothing new is fetched, planned or rolled out; what is applied stays", Next: look,
	}
}

// judgeShipped says whether what is installed is what this version ships.
func judgeShipped(check string, found answer[[]state]) []Item {
	if found.err != nil {
		return []Item{unknown(check, found.err)}
	}
	var absent, other []string
	for _, s := range found.value {
		switch {
		case s.absent:
			absent = append(absent, strings.TrimSpace(s.kind+" "+s.name))
		case s.differs != "":
			other = append(other, fmt.Sprintf("%s (%s)", strings.TrimSpace(s.kind+" "+s.name), s.differs))
		}
	}
	var items []Item
	if len(absent) > 0 {
		items = append(items, Item{Check: check, Result: resultFailed, What: "missing: " + few(absent), Next: install})
	}
	if len(other) > 0 {
		items = append(items, Item{Check: check, Result: resultWarning, What: "otherwise than this plugin knows them: " + few(other), Why: "another version is installed, or somebody changed them", Next: "kubectl mitigation version"})
	}
	if len(items) == 0 {
		items = append(items, Item{Check: check, Result: resultOK, What: fmt.Sprintf("all %d are there as shipped", len(found.value))})
	}
	return items
}

// days counts whole days.
func days(d time.Duration) int { return int(d / (24 * time.Hour)) }
