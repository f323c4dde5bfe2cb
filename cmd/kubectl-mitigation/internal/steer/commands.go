package steer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
)

// Fields that the verbs write, below spec.
const (
	blockedList   = "blocked"
	suspendedList = "suspendedMitigations"
	approvedList  = "approved"
	suspendField  = "suspend"
	switchField   = "mitigations"
	disabledField = "whenDisabled"
	// telemetryField is written, without content, where a spec would be empty, which the API refuses: absence means the same.
	telemetryField = "telemetry"
)

// SuspendedBecause is the annotation that keeps who threw the switch for every mitigation, and why: spec.suspend has no place for it.
const SuspendedBecause = "ems.mitigation.dev/suspended-because"

// Commands are the verbs.
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "block", Arguments: "ID", Summary: "block a mitigation, or a part of one: it is not applied, and removed where it is", Bind: bindBlock},
		{Name: "unblock", Arguments: "ID", Summary: "take a block back", Bind: bindUnblock},
		{Name: "suspend", Arguments: "[ID]", Optional: true, Summary: "the kill switch: remove a mitigation, or with --all every one, also in Audit mode and while mitigations are disabled", Bind: bindSuspend},
		{Name: "unsuspend", Arguments: "[ID]", Optional: true, Summary: "take the kill switch back; what comes back goes through the stages of its rollout again", Bind: bindUnsuspend},
		{Name: "approve", Arguments: "ID", Summary: "agree to a revision of a mitigation, for rollouts that ask a person", Bind: bindApprove},
		{Name: "unapprove", Arguments: "ID", Summary: "take an approval back; a stage that has begun stays begun", Bind: bindUnapprove},
		{Name: "enable", Summary: "switch the applying of mitigations on", Bind: bindEnable},
		{Name: "disable", Summary: "switch the applying of mitigations off", Bind: bindDisable},
		{Name: "repair", Arguments: "POOL|SERVER...", Summary: "make servers look at everything anew, and try again what they had given up", Bind: bindRepair,
			Completes: []cli.Completion{{Kinds: []cli.Kind{cli.Pools, cli.Servers}}}},
	}
}

// verb opens the cluster for a verb after its flags have been checked.
func (f *Flags) verb() (*Session, []Target, error) {
	session, err := f.Open()
	if err != nil {
		return nil, nil, err
	}
	targets, err := session.Targets()
	return session, targets, err
}

// exceptionOf checks what an entry needs, before the cluster is asked for anything.
func (f *Flags) exceptionOf(operands []string) (emsv1.Exception, error) {
	text, err := One(operands, "ID")
	if err != nil {
		return emsv1.Exception{}, err
	}
	id, err := ParseID(text)
	if err != nil {
		return emsv1.Exception{}, err
	}
	if err := f.Check(); err != nil {
		return emsv1.Exception{}, err
	}
	reason, err := f.Reason()
	if err != nil {
		return emsv1.Exception{}, err
	}
	exception := emsv1.Exception{ID: id, Reason: reason}
	if expiry, _ := f.Expiry(); !expiry.IsZero() {
		exception.ExpiryTime = new(metav1.NewTime(expiry))
	}
	return exception, nil
}

func bindBlock(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Reason: true, Expires: true, Targets: true, Configuration: true})
	return func(ctx context.Context, operands []string) error {
		return f.putException(ctx, operands, blockedList, "blocked")
	}
}

func (f *Flags) putException(ctx context.Context, operands []string, list, done string) error {
	entry, err := f.exceptionOf(operands)
	if err != nil {
		return err
	}
	session, targets, err := f.verb()
	if err != nil {
		return err
	}
	entry.Owner = session.Owner(ctx)
	session.explainID(ctx, string(entry.ID))
	done = string(entry.ID) + " " + done
	if entry.ExpiryTime != nil {
		done += " until " + entry.ExpiryTime.UTC().Format("2006-01-02 15:04:05Z")
	}
	return session.Each(ctx, targets, done, func(_ Target, d *Document) error { return d.Put(entry, list) })
}

func bindUnblock(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Targets: true, Configuration: true})
	return func(ctx context.Context, operands []string) error {
		return f.dropEntry(ctx, operands, blockedList, "unblocked")
	}
}

func (f *Flags) dropEntry(ctx context.Context, operands []string, list, done string) error {
	text, err := One(operands, "ID")
	if err != nil {
		return err
	}
	id, err := ParseID(text)
	if err != nil {
		return err
	}
	if err := f.Check(); err != nil {
		return err
	}
	session, targets, err := f.verb()
	if err != nil {
		return err
	}
	return session.Each(ctx, targets, string(id)+" "+done, func(target Target, d *Document) error {
		err := d.Drop(string(id), list)
		if errors.Is(err, ErrNotThere) {
			return fmt.Errorf("%s: spec.%s has no entry for %s%s", target.Words(), list, id, d.kin(string(id), list))
		}
		return err
	})
}

// kin names entries that cover an id, or are covered by it: what people may have meant.
func (d *Document) kin(id, list string) string {
	var related []string
	spec, _ := d.live[specField].(map[string]any)
	entries, _ := spec[list].([]any)
	for _, e := range entries {
		other := idOf(e)
		if shorter, longer := strings.ToLower(id), strings.ToLower(other); strings.HasPrefix(longer, shorter+".") || strings.HasPrefix(shorter, longer+".") {
			related = append(related, other)
		}
	}
	if len(related) == 0 {
		return ""
	}
	return ", only for " + strings.Join(related, ", ")
}

// bindAll adds --all and returns what tells it from an id.
func bindAll(flags *pflag.FlagSet) func(operands []string) (bool, error) {
	all := flags.Bool("all", false, "every mitigation")
	return func(operands []string) (bool, error) {
		if *all == (len(operands) > 0) {
			return false, cli.Misused("ID, --all: want one of them")
		}
		return *all, nil
	}
}

// onlyAbove refuses pools where only configurations have a list.
func (f *Flags) onlyAbove() error {
	if len(f.pools) > 0 {
		return cli.Misused("--pool: a pool has no kill switch for a single mitigation: block it there, or suspend it with --organization or --configuration")
	}
	return nil
}

// bindKillSwitch binds a verb that is about one mitigation by its id, or with --all about every one.
func bindKillSwitch(w cli.World, flags *pflag.FlagSet, has Has, one func(f *Flags, ctx context.Context, operands []string) error, all func(f *Flags, ctx context.Context) error) func(context.Context, []string) error {
	f := BindFlags(flags, w, has)
	isAll := bindAll(flags)
	return func(ctx context.Context, operands []string) error {
		everything, err := isAll(operands)
		if err != nil {
			return err
		}
		if everything {
			return all(f, ctx)
		}
		if err := f.onlyAbove(); err != nil {
			return err
		}
		return one(f, ctx, operands)
	}
}

func bindSuspend(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	has := Has{Reason: true, Expires: true, Targets: true, Configuration: true}
	return bindKillSwitch(w, flags, has, func(f *Flags, ctx context.Context, operands []string) error {
		return f.putException(ctx, operands, suspendedList, "suspended")
	}, (*Flags).suspendAll)
}

func (f *Flags) suspendAll(ctx context.Context) error {
	if f.expires != "" {
		return cli.Misused("--expires: the switch for every mitigation has no expiry; take it back with unsuspend")
	}
	if err := f.Check(); err != nil {
		return err
	}
	session, targets, err := f.verb()
	if err != nil {
		return err
	}
	because := session.Owner(ctx)
	if f.reason != "" {
		because += ": " + f.reason
	}
	return session.Each(ctx, targets, "all mitigations suspended", func(_ Target, d *Document) error {
		d.Set(string(emsv1.SuspendRevert), suspendField)
		d.Annotate(SuspendedBecause, because)
		return nil
	})
}

func bindUnsuspend(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	return bindKillSwitch(w, flags, Has{Targets: true, Configuration: true}, func(f *Flags, ctx context.Context, operands []string) error {
		return f.dropEntry(ctx, operands, suspendedList, "no longer suspended")
	}, (*Flags).unsuspendAll)
}

func (f *Flags) unsuspendAll(ctx context.Context) error {
	if err := f.Check(); err != nil {
		return err
	}
	session, targets, err := f.verb()
	if err != nil {
		return err
	}
	return session.Each(ctx, targets, "no longer suspended as a whole", func(_ Target, d *Document) error {
		d.switchBack(string(emsv1.SuspendNone), suspendField)
		d.Unannotate(SuspendedBecause)
		return nil
	})
}

// switchBack takes a switch of the plugin away. Where another manager has one too, it wants the value that absence would mean, which
// is a conflict if the other says otherwise.
func (d *Document) switchBack(absence string, field ...string) {
	if len(d.Others(field...)) > 0 {
		d.Set(absence, field...)
		return
	}
	d.Unset(field...)
}

func bindEnable(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Targets: true, Configuration: true})
	return func(ctx context.Context, _ []string) error {
		if err := f.Check(); err != nil {
			return err
		}
		session, targets, err := f.verb()
		if err != nil {
			return err
		}
		return session.Each(ctx, targets, "mitigations enabled", func(_ Target, d *Document) error {
			d.switchBack(string(emsv1.Enabled), switchField)
			// Said by "disable --when-disabled"; what a repository says of it stays.
			d.Unset(disabledField)
			return nil
		})
	}
}

func bindDisable(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Targets: true, Configuration: true})
	action := flags.String("when-disabled", "", "what becomes of applied mitigations, for pools: Keep or Remove, an `action`; as it is said there if absent, which is Keep if nobody does")
	return func(ctx context.Context, _ []string) error {
		if err := f.Check(); err != nil {
			return err
		}
		switch {
		case *action == "":
		case *action != string(emsv1.KeepWhenDisabled) && *action != string(emsv1.RemoveWhenDisabled):
			return cli.Misused("--when-disabled: %q: want %s or %s", *action, emsv1.KeepWhenDisabled, emsv1.RemoveWhenDisabled)
		case len(f.pools) == 0:
			return cli.Misused("--when-disabled: needs --pool: each pool says it for itself")
		}
		session, targets, err := f.verb()
		if err != nil {
			return err
		}
		return session.Each(ctx, targets, "mitigations disabled", func(_ Target, d *Document) error {
			d.Set(string(emsv1.Disabled), switchField)
			if *action != "" {
				d.Set(*action, disabledField)
			}
			return nil
		})
	}
}

func bindUnapprove(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Targets: true, Configuration: true})
	return func(ctx context.Context, operands []string) error {
		return f.dropEntry(ctx, operands, approvedList, "no longer approved")
	}
}

func bindApprove(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{Reason: true, Expires: true, Targets: true, Configuration: true})
	revision := flags.Int64("revision", 0, "`revision` that was looked at; the one that is planned now if 0")
	var stages cli.Names
	flags.Var(&stages, "stage", "`names` of stages and rings that the approval is for, with commas between them; may be repeated; all of them if absent")
	return func(ctx context.Context, operands []string) error {
		if *revision < 0 {
			return cli.Misused("--revision: %d: want 1 or more", *revision)
		}
		exception, err := f.exceptionOf(operands)
		if err != nil {
			return err
		}
		session, targets, err := f.verb()
		if err != nil {
			return err
		}
		approval := emsv1.Approval{
			ID: exception.ID, Revision: *revision, Reason: exception.Reason, ExpiryTime: exception.ExpiryTime, Owner: session.Owner(ctx),
			Stages: slices.Compact(slices.Sorted(slices.Values(stages))),
		}
		var failed []error
		for _, target := range targets {
			failed = append(failed, session.approve(ctx, target, approval))
		}
		return errors.Join(failed...)
	}
}

// approve takes the planned revision where none is given: it is the one that a person can have looked at.
func (s *Session) approve(ctx context.Context, target Target, approval emsv1.Approval) error {
	if approval.Revision == 0 {
		revision, err := s.planned(ctx, target, string(approval.ID))
		if err != nil {
			return err
		}
		approval.Revision = revision
	}
	done := fmt.Sprintf("%s revision %d approved", approval.ID, approval.Revision)
	if len(approval.Stages) > 0 {
		done += " for " + strings.Join(approval.Stages, ", ")
		s.explainStages(ctx, target, approval)
	}
	return s.Each(ctx, []Target{target}, done, func(_ Target, d *Document) error {
		return d.Put(d.together(approval, s.flags.world.Now()), approvedList)
	})
}

// together adds the stages of an approval of the plugin that counts already: a list has one entry for each id, and agreeing to the
// next stage does not take back the one before. An approval for every stage stays one.
func (d *Document) together(approval emsv1.Approval, now time.Time) emsv1.Approval {
	there, spelling := d.entry(string(approval.ID), []string{approvedList})
	if there == nil || len(d.others([]string{approvedList}, spelling)) > 0 {
		return approval
	}
	var before emsv1.Approval
	expired := func() bool { return before.ExpiryTime != nil && !now.Before(before.ExpiryTime.Time) }
	switch err := convert(there, &before); {
	case err != nil || before.Revision != approval.Revision || expired():
	case len(before.Stages) == 0 || len(approval.Stages) == 0:
		approval.Stages = nil
	default:
		approval.Stages = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before.Stages, approval.Stages))))
	}
	return approval
}
