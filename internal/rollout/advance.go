package rollout

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/schedule"
)

// maxNamed is how many servers a message names.
const maxNamed = 5

// advance passes stages and begins the next ones for as long as nothing stands against it.
func (r *run) advance() {
	// Every turn begins a later stage or ends; a stage can be chosen anew once, when its servers have left.
	for range 2*len(r.stages) + 2 {
		if r.entry.Rollout.State == Complete {
			return
		}
		if len(r.tally.failed) > r.in.Settings.maxFailures()+r.entry.Rollout.ForgivenFailures {
			r.halt()
			return
		}
		if !r.step() {
			return
		}
	}
}

// step does one thing, and reports whether there may be more to do.
func (r *run) step() bool {
	position, stage := r.position()
	without := ""
	if r.entry.Rollout.StageNumber > 0 {
		if r.tally.released == 0 && len(r.crowd) > 0 {
			return r.startAnew(position)
		}
		passed, words := r.passed(stage)
		if !passed {
			return false
		}
		without = words
		if missing := r.approval(stage, ApprovalAfter); missing.reason != "" {
			return r.wait(missing)
		}
	}
	return r.next(position, without)
}

// startAnew chooses the servers of a stage again, since all that had it released have left the pool: a stage that nobody stood
// for has proven nothing.
func (r *run) startAnew(number int) bool {
	if number == 0 {
		return r.next(0, "")
	}
	if held := r.held(); held.reason != "" {
		return r.wait(held)
	}
	r.start(number)
	return true
}

// next begins the stage behind a position, or completes the rollout. Stages that add no server are passed over, except that
// their approvals are asked.
func (r *run) next(position int, without string) bool {
	_, had := r.draw.included(r.entry.Release)
	for number := position + 1; number <= len(r.stages); number++ {
		stage := r.stages[number-1]
		last := number == len(r.stages)
		adds := last && had < len(r.crowd)
		if !adds && !last {
			_, then := r.draw.included(r.draw.release(r.entry.Release, stage))
			adds = then > had
		}
		// In a pool without servers no stage adds one; the first has to be allowed to begin all the same, since those who
		// join get what is complete at once.
		if adds || (number == 1 && len(r.crowd) == 0) {
			if held := r.mayBegin(stage); held.reason != "" {
				return r.wait(held)
			}
		} else if missing := r.approval(stage, ApprovalBefore); missing.reason != "" {
			return r.wait(missing)
		}
		if adds {
			if without != "" {
				r.note(WentOnWithoutData, System, strings.TrimPrefix(without, ", "))
			}
			r.start(number)
			return true
		}
		if missing := r.approval(stage, ApprovalAfter); missing.reason != "" {
			return r.wait(missing)
		}
	}
	r.complete(without)
	return false
}

// obstacle is what stands against the beginning of a stage.
type obstacle struct {
	reason  policy.Reason
	message string
	// by is who holds the rollout, if a person does.
	by string
}

// mayBegin asks everything that a stage has to ask before it begins; the first that stands against it counts.
func (r *run) mayBegin(stage Stage) obstacle {
	if verdict, ok := r.in.Rings[r.id]; ok {
		r.look(verdict.Next)
		if !verdict.Open {
			return obstacle{reason: verdict.Reason, message: verdict.Message}
		}
		if verdict.By != "" && r.entry.Rollout.StageNumber == 0 {
			r.agreed = append(r.agreed, note{Approved, verdict.By, "the ring is approved"})
		}
	}
	if missing := r.approval(stage, ApprovalBefore); missing.reason != "" {
		return missing
	}
	if held := r.held(); held.reason != "" {
		return held
	}
	if r.profile == Emergency {
		return obstacle{}
	}
	verdict := schedule.Open(r.in.Now, r.in.Settings.Windows...)
	r.look(verdict.Next)
	if !verdict.Open {
		return obstacle{reason: policy.AwaitingWindow, message: cmp.Or(verdict.Why, "no window is open")}
	}
	return obstacle{}
}

// held reports whether a person pauses the rollout.
func (r *run) held() obstacle {
	switch {
	case r.in.Settings.Paused:
		return obstacle{reason: policy.RolloutPaused, message: "rollouts are paused"}
	case r.in.Settings.PausedUntil.After(r.in.Now):
		r.look(r.in.Settings.PausedUntil)
		return obstacle{
			reason: policy.RolloutPaused, message: "rollouts are paused until " + r.in.Settings.PausedUntil.UTC().Format(time.RFC3339),
		}
	case r.order.Action == OrderPause:
		return obstacle{
			reason: policy.RolloutPaused, by: r.order.Owner,
			message: fmt.Sprintf("%s paused it: %s", cmp.Or(r.order.Owner, "a person"), r.order.Reason),
		}
	default:
		return obstacle{}
	}
}

// approval looks for the approval of a stage, if it asks for one at that point. What was found is told when it has had an
// effect: a stage may be approved long before its window opens.
func (r *run) approval(stage Stage, point ApprovalPoint) obstacle {
	if stage.Approval != point {
		return obstacle{}
	}
	approval, ok := policy.Approved(r.entry.ID, r.entry.Revision, stage.Name, r.in.Now, r.approvals...)
	switch {
	case ok:
		r.agreed = append(r.agreed, note{Approved, cmp.Or(approval.Owner, System), fmt.Sprintf("stage %q approved: %s", stage.Name, approval.Reason)})
		return obstacle{}
	case point == ApprovalAfter:
		return obstacle{reason: policy.AwaitingApproval, message: fmt.Sprintf("stage %q asks for an approval, now that its servers have passed", stage.Name)}
	default:
		return obstacle{reason: policy.AwaitingApproval, message: fmt.Sprintf("stage %q asks for an approval before it begins", stage.Name)}
	}
}

// asked finds what an approval is wanted for in the words of JudgeRings and of approval.
var asked = regexp.MustCompile(`(ring|stage) "([^"]+)" asks for an approval`)

// AskedFor returns the stage or the ring that the message of a rollout asks a person to approve, so that people are told the
// command for that one and no other.
func AskedFor(message string) (ring bool, name string, ok bool) {
	match := asked.FindStringSubmatch(message)
	if match == nil {
		return false, "", false
	}
	return match[1] == "ring", match[2], true
}

// passed judges the released stage. In profile Emergency servers without data do not hold it beyond the deadline; without then
// tells of them.
func (r *run) passed(stage Stage) (ok bool, without string) {
	empty := len(r.crowd) == 0
	if len(r.tally.waiting) == 0 && !empty {
		return true, ""
	}
	patience := stage.Bake + r.in.Settings.Deadline(r.profile)
	late, over := r.late(patience, stage.Bake)
	if held := r.held(); held.reason != "" {
		return r.wait(held), ""
	}
	switch {
	case empty && over:
		return true, ""
	case len(late) == 0 || (r.profile == Emergency && len(late) < len(r.tally.waiting)):
		r.entry.Rollout.State, r.entry.Rollout.Reason = Progressing, policy.AwaitingStage
		r.say(fmt.Sprintf("the servers of stage %q, %d of %d, are at work or under observation", stage.Name, r.entry.Rollout.StageNumber, len(r.stages)))
		return false, ""
	case r.profile == Emergency:
		return true, fmt.Sprintf(", without data from %s", r.name(late, false))
	default:
		message := fmt.Sprintf("no verdict within %s of stage %q from %s; the rollout goes on when they report, or with an order to promote the stage",
			patience, stage.Name, r.name(late, true))
		if before := r.before.Rollout; before.ID == r.entry.Rollout.ID && before.Reason == policy.RolloutStuck && before.StageNumber == r.entry.Rollout.StageNumber {
			message = before.Message // A plan is not written anew for each server that reports.
		}
		return r.wait(obstacle{reason: policy.RolloutStuck, message: message}), ""
	}
}

// late lists those released servers that should have had their say: the silent and inconclusive ones when patience is over, and
// those under observation a bake time later, since they may have joined or returned in the middle of the stage.
func (r *run) late(patience, bake time.Duration) (late []int, over bool) {
	deadline := r.entry.Rollout.StageTime.Add(patience)
	r.look(deadline)
	r.look(deadline.Add(bake))
	over = !r.in.Now.Before(deadline)
	bakingIsLate := !r.in.Now.Before(deadline.Add(bake))
	for _, i := range r.tally.waiting {
		if bakingIsLate || (over && r.draw.words[i] != baking) {
			late = append(late, i)
		}
	}
	return late, over
}

// wait writes down what the rollout waits for. There is nothing more to do then, which is what it returns.
func (r *run) wait(o obstacle) (more bool) {
	rollout := &r.entry.Rollout
	rollout.State, rollout.Reason = Waiting, o.reason
	if rollout.StageNumber > 0 && (o.reason == policy.RolloutPaused || o.reason == policy.RolloutStuck) {
		rollout.State = Paused
	}
	r.say(o.message)
	r.heldBy, r.agreed = o.by, nil
	return false
}

func (r *run) say(message string) {
	message, _, _ = strings.Cut(message, ignoredMark)
	if r.ignored != "" {
		message += ignoredMark + r.ignored
	}
	r.entry.Rollout.Message = shorten(message, maxMessage)
}

// ignoredMark begins what is said of an order without effect, behind the message proper.
const ignoredMark = "; the order to promote stage "

// halt stops the rollout until a person acts.
func (r *run) halt() {
	rollout := &r.entry.Rollout
	position, stage := r.position()
	if rollout.StageNumber == 0 {
		position, stage = 1, r.stages[0]
	}
	words := fmt.Sprintf("%s in stage %q, where at most %d may: %s", servers(len(r.tally.failed), "failed"), stage.Name,
		r.in.Settings.maxFailures(), r.name(r.tally.failed, true))
	rollout.State, rollout.Reason = Halted, policy.RolloutHalted
	rollout.Stage, rollout.StageNumber = stage.Name, max(position, 1)
	if rollout.StageTime.IsZero() {
		rollout.StageTime = r.now
	}
	if r.in.Settings.OnFailure == FailureHold {
		rollout.Unreleased = Keep
	} else {
		rollout.Unreleased = Revert
		r.entry.Release = r.draw.releaseOf(r.stages[:max(position-1, 0)], r.entry.Release)
	}
	r.promotes()
	r.say(words + "; a corrected revision, or an order with action Promote, Retry or Abort, goes on")
	r.note(HaltedByFailures, System, words)
	r.recount()
}

// reverted notes when the servers of a halted or aborted rollout are back, as far as servers say. It waits for the second after
// the halt, so that each of the two gets its place in the history.
func (r *run) reverted() {
	last := r.before.Transition
	action := last.Action == HaltedByFailures || last.Action == AbortedByPerson
	if len(r.notes) > 0 || !action || r.identity.Audit || r.entry.Rollout.Unreleased != Revert || len(r.tally.left) > 0 {
		return
	}
	if !r.now.After(last.Time) {
		r.look(last.Time.Add(time.Second))
		return
	}
	r.note(Reverted, System, "no server outside of the release reports that it still has it")
}

// name lists servers, with what they said.
func (r *run) name(members []int, withWords bool) string {
	var names []string
	for _, i := range members[:min(len(members), maxNamed)] {
		words := r.draw.crowd[i].Name
		if gate := r.draw.crowd[i].Gates[r.id]; withWords && gate.Rollout == r.entry.Rollout.ID && gate.Message != "" {
			words += " (" + shorten(gate.Message, maxWords) + ")"
		}
		names = append(names, words)
	}
	if more := len(members) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(slices.Clip(names), ", ")
}

func servers(n int, verb string) string {
	if n == 1 {
		return "1 server " + verb
	}
	return fmt.Sprintf("%d servers %s", n, verb)
}
