package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// roll tells of the rollout as the planner sees it now.
func (x *Explanation) roll(o *Objects, m *emsv1.Mitigation, now *rollout.Entry) {
	if now == nil || now.Rollout.ID == "" || now.Desired == policy.Remove {
		return
	}
	r := now.Rollout
	progress := rollout.ProgressOf(*now, o.input.Servers)
	x.Rollout = &Rollout{
		ID: r.ID, State: string(r.State), Reason: string(r.Reason), Message: r.Message, Stage: r.Stage, Number: r.StageNumber, Stages: []string{},
		Released: progress.Released, Servers: progress.Servers, Passed: progress.Passed, Failed: progress.Failed, Waiting: progress.Waiting, Failing: []string{},
	}
	x.failing(o, now, progress.Failing)
	severity := ""
	if m != nil {
		severity = string(m.Spec.Severity)
	}
	profile, own, stages := o.input.Settings.For(severity)
	for _, s := range stages {
		x.Rollout.Stages = append(x.Rollout.Stages, stageInWords(s))
	}
	if !own {
		x.Rollout.Profile = string(profile)
	}
	x.ring(o, now)
	x.windows(o, profile)
}

// failing puts the words of the first failed servers beside their names.
func (x *Explanation) failing(o *Objects, now *rollout.Entry, names []string) {
	const most = 5
	if len(names) == 0 {
		return
	}
	said := map[string]string{}
	for i := range o.input.Servers {
		s := &o.input.Servers[i]
		said[s.Name] = s.Gates[strings.ToLower(now.ID)].Message
	}
	for _, name := range names[:min(len(names), most)] {
		text := name
		if said[name] != "" {
			text += ": " + said[name]
		}
		x.Rollout.Failing = append(x.Rollout.Failing, text)
	}
	if more := len(names) - most; more > 0 {
		x.Rollout.Failing = append(x.Rollout.Failing, fmt.Sprintf("and %d more", more))
	}
}

func stageInWords(s rollout.Stage) string {
	var what []string
	switch {
	case s.Servers.Said && s.Servers.Percent:
		what = append(what, fmt.Sprintf("%d %%", s.Servers.Value))
	case s.Servers.Said && s.Servers.Value == 1:
		what = append(what, "1 server")
	case s.Servers.Said:
		what = append(what, fmt.Sprintf("%d servers", s.Servers.Value))
	}
	if len(s.ServerNames) > 0 {
		what = append(what, strings.Join(s.ServerNames, " "))
	}
	if s.Selects != nil {
		what = append(what, "those that its selector chooses")
	}
	what = append(what, "observed for "+length(s.Bake))
	if s.MinRequests > 0 {
		what = append(what, fmt.Sprintf("%d requests each", s.MinRequests))
	}
	if s.Approval == rollout.ApprovalBefore || s.Approval == rollout.ApprovalAfter {
		what = append(what, "approval "+strings.ToLower(string(s.Approval)))
	}
	return s.Name + ": " + strings.Join(what, ", ")
}

// length leaves out what is zero: 5m, not 5m0s.
func length(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ring says which ring the pool is in, and what the others make of it.
func (x *Explanation) ring(o *Objects, now *rollout.Entry) {
	rings, err := fromapi.Rings(o.Configurations)
	if err != nil {
		x.note("%s", err)
	}
	if len(rings) > 0 {
		x.Rollout.Ring = fmt.Sprintf("after the last of %d rings", len(rings))
		if i := rollout.RingOf(rings, o.Pool.Labels); i < len(rings) {
			x.Rollout.Ring = fmt.Sprintf("%s (%d of %d)", rings[i].Name, i+1, len(rings))
		}
	}
	if verdict, judged := o.input.Rings[strings.ToLower(now.ID)]; judged && !verdict.Open {
		x.Rollout.RingSays = fmt.Sprintf("%s: %s", verdict.Reason, verdict.Message)
	}
}

// windows says whether stages may begin now. An Emergency asks no window.
func (x *Explanation) windows(o *Objects, profile rollout.Profile) {
	sets := o.input.Settings.Windows
	if len(sets) == 0 || profile == rollout.Emergency {
		return
	}
	verdict := schedule.Open(o.Now, sets...)
	switch {
	case verdict.Open && verdict.Next.IsZero():
		x.Rollout.Windows = "open"
	case verdict.Open:
		x.Rollout.Windows = "open until " + verdict.Next.UTC().Format(time.RFC3339)
	default:
		x.Rollout.Windows = "closed: " + verdict.Why
	}
}

// next says what a person can type. What to do about a decision of policy depends on the object that has it.
func (x *Explanation) next(o *Objects, decision, pool policy.Decision, steps []policy.Step) {
	hint := func(when, format string, arguments ...any) {
		x.Next = append(x.Next, rolloutcmd.Hint{Command: "kubectl mitigation " + fmt.Sprintf(format, arguments...), When: when})
	}
	target, entry := origin(steps)
	switch {
	case target == "" || pool.Desired == policy.Apply:
		x.Next = append(x.Next, rolloutcmd.Next(o.Pool, o.Plan, fromapi.Global(o.Configurations), x.Mitigation, o.Now)...)
	case pool.Reason.Blocked() && entry != "":
		hint("take the block back", "unblock %s %s", entry, target)
	case pool.Reason == policy.Suspended && entry != "":
		hint("take the kill switch back", "unsuspend %s %s", entry, target)
	case pool.Reason == policy.Suspended:
		hint("take the kill switch back", "unsuspend --all %s", target)
	case pool.Reason == policy.MitigationsDisabled:
		hint("switch mitigations on", "enable %s", target)
	}
	if len(x.Behind) > 0 && x.Server == "" || decision.Reason == policy.AwaitingPlan {
		x.Next = append(x.Next, rolloutcmd.Hint{Command: "kubectl get deployments -A -l app.kubernetes.io/name=ems", When: "see whether the manager runs"})
	}
	if r := x.Reported; r != nil && (r.State == string(emsv1.StateFailed) || r.Effective == string(emsv1.EffectiveFalse)) {
		hint("the cause is gone: let the servers of the pool look anew", "repair %s/%s", x.Namespace, x.Server)
	}
}

// origin reads out of the decisive step which object settled the matter, as flags, and which entry of a list. Sources have the form
// "Kind/name spec.field[id]", where the name of a pool has its namespace.
func origin(steps []policy.Step) (target, entry string) {
	i := slices.IndexFunc(steps, func(s policy.Step) bool { return s.Decisive })
	if i < 0 {
		return "", ""
	}
	object, field, _ := strings.Cut(steps[i].Source, " ")
	kind, name, _ := strings.Cut(object, "/")
	switch {
	case kind == "PoolMitigationConfig" && name != "":
		target = "--pool " + name
	case kind == "MitigationConfiguration" && name == emsv1.GlobalConfigurationName:
		target = "--organization"
	case kind == "MitigationConfiguration":
		target = "--configuration " + name
	}
	if _, rest, ok := strings.Cut(field, "["); ok {
		entry = strings.TrimSuffix(rest, "]")
	}
	return target, entry
}
