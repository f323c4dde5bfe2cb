package rolloutcmd

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// maxBar is the width of the widest bar; a longer one says no more.
const maxBar = 52

// layout says how much is shown.
type layout struct {
	style terminal.Style
	// limit is the number of rollouts that are shown one by one; 0 is all of them.
	limit int
	// quiet rollouts, those that need nobody, are shown as well.
	quiet bool
}

// render makes a picture of the status: sums first, then what needs attention, then what goes on.
func render(status *RolloutStatus, l layout) []string {
	var out []string
	for i := range status.Summaries {
		out = append(out, l.summary(&status.Summaries[i])...)
	}
	if len(status.Summaries) == 0 {
		return l.style.Wrap("", "", "No mitigation is planned for the pools that are looked at; -A looks at those of all namespaces.")
	}
	shown, left := l.choose(status.Rollouts)
	for _, r := range shown {
		out = append(out, "")
		out = append(out, l.rollout(r, status.Time)...)
	}
	if len(left) > 0 {
		out = append(out, "")
		out = append(out, l.style.Wrap("", "  ", l.remainder(left))...)
	}
	return out
}

// choose splits the rollouts into those that are shown one by one and those that are only counted.
func (l layout) choose(rollouts []Rollout) (shown, left []*Rollout) {
	for i := range rollouts {
		r := &rollouts[i]
		quiet := urgencyOf(r) >= settled
		if quiet && !l.quiet || l.limit > 0 && len(shown) >= l.limit {
			left = append(left, r)
			continue
		}
		shown = append(shown, r)
	}
	return shown, left
}

func (l layout) remainder(left []*Rollout) string {
	counts, noisy := map[string]int{}, false
	for _, r := range left {
		what := r.State
		if r.State == string(emsv1.RolloutWaiting) || !rolledOut(r) {
			what += " (" + r.Reason + ")"
		}
		counts[what]++
		noisy = noisy || urgencyOf(r) < settled
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[what], what))
	}
	text := fmt.Sprintf("Not shown one by one: %s.", strings.Join(parts, ", "))
	if noisy {
		text += " --limit 0 shows all."
	}
	return text
}

// states in the order in which sums name them, and their words.
var states = []struct {
	state, word string
	tone        terminal.Tone
}{
	{string(emsv1.RolloutHalted), "halted", terminal.Alarm},
	{string(emsv1.RolloutPaused), "paused", terminal.Warning},
	{string(emsv1.RolloutAborted), "aborted", terminal.Alarm},
	{string(emsv1.RolloutProgressing), "progressing", terminal.Normal},
	{string(emsv1.RolloutWaiting), "waiting", terminal.Normal},
	{stateRemoving, "being removed", terminal.Normal},
	{stateHeld, "held", terminal.Faint},
	{stateOff, "off", terminal.Faint},
}

func (l layout) summary(s *RolloutSummary) []string {
	complete := s.States[string(emsv1.RolloutComplete)]
	parts := []string{fmt.Sprintf("%s revision %d: %d of %s complete", terminal.Clean(s.Mitigation), s.Revision, complete, plural(s.Pools, "pool"))}
	for _, state := range states {
		if n := s.States[state.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state.word))
		}
	}
	lines := l.painted(terminal.Strong, "", "  ", strings.Join(parts, ", "))
	if s.Pools > 1 && s.Servers.Total > 0 {
		lines = append(lines, "  "+l.bar(s.Servers))
		lines = append(lines, l.style.Wrap("  ", "  ", numbersText(s.Servers))...)
	}
	var rings []string
	for _, ring := range s.Rings {
		if ring.Pools == 0 {
			continue
		}
		text := fmt.Sprintf("%s %d/%d complete", ring.Name, ring.Complete, ring.Pools)
		if ring.Halted > 0 {
			text += fmt.Sprintf(", %d halted", ring.Halted)
		}
		rings = append(rings, text)
	}
	if len(rings) > 0 {
		lines = append(lines, l.style.Wrap("  rings: ", "    ", strings.Join(rings, "; "))...)
	}
	return lines
}

func (l layout) bar(n ServerNumbers) string {
	return l.style.Bar(min(l.style.Width-4, maxBar),
		terminal.Part{Size: n.Passed, Kind: terminal.Done},
		terminal.Part{Size: n.Waiting, Kind: terminal.Busy},
		terminal.Part{Size: n.Failed, Kind: terminal.Bad},
		terminal.Part{Size: max(0, n.Total-n.Passed-n.Waiting-n.Failed), Kind: terminal.Open})
}

func numbersText(n ServerNumbers) string {
	return fmt.Sprintf("%d of %s released: %d passed, %d failed, %d waiting", n.Released, plural(n.Total, "server"), n.Passed, n.Failed, n.Waiting)
}

// rollout is one pool: the state, the stage with its servers, the reason, who fails, what to type.
func (l layout) rollout(r *Rollout, now time.Time) []string {
	lines := l.heading(r)
	if !rolledOut(r) {
		return append(lines, l.style.Wrap("  ", "  ", reasonText(r))...)
	}
	if urgencyOf(r) == takenBack {
		return append(append(lines, l.style.Wrap("  ", "    ", reasonText(r))...), l.hints(r)...)
	}
	if urgencyOf(r) == settled {
		return append(lines, l.style.Wrap("  ", "  ", completeText(r, now))...)
	}
	if r.Servers.Total > 0 {
		lines = append(lines, "  "+l.bar(r.Servers))
	}
	lines = append(lines, l.style.Wrap("  ", "    ", stageText(r))...)
	lines = append(lines, l.style.Wrap("  ", "    ", numbersText(r.Servers))...)
	if text := bakeText(r, now); text != "" {
		lines = append(lines, l.style.Wrap("  ", "    ", text)...)
	}
	lines = append(lines, l.style.Wrap("  ", "    ", reasonText(r))...)
	for _, h := range r.Holders {
		lines = append(lines, l.style.Wrap("  held by ", "    ", terminal.Clean(h.text()))...)
	}
	lines = append(lines, l.failing(r)...)
	return append(lines, l.hints(r)...)
}

// hints are what to type. A command is not broken into lines: it is to be copied.
func (l layout) hints(r *Rollout) []string {
	var lines []string
	for _, hint := range r.Next {
		lines = append(lines, l.style.Wrap("  next    ", "    ", "# "+terminal.Clean(hint.When))...)
		lines = append(lines, "    "+terminal.Clean(hint.Command))
	}
	return lines
}

// failing names servers: each with what it says, and those that were not asked in a row. What the reason says is not said twice.
func (l layout) failing(r *Rollout) []string {
	var lines []string
	var silent []string
	for _, s := range r.Failing {
		text := s.Name + ": " + s.Message
		switch {
		case told(r.Message, s):
		case s.Message == "":
			silent = append(silent, s.Name)
		default:
			lines = append(lines, l.painted(terminal.Alarm, "  failed  ", "    ", terminal.Clean(text))...)
		}
	}
	if len(silent) > 0 {
		lines = append(lines, l.painted(terminal.Alarm, "  failed  ", "    ", terminal.Clean(strings.Join(silent, ", ")))...)
	}
	return lines
}

// told says whether a message names a server, and what it says.
func told(message string, s FailingServer) bool {
	inName := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' }
	for rest := message; ; {
		before, after, found := strings.Cut(rest, s.Name)
		if !found {
			return false
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if !inName(last) && last != '.' && !inName(next) {
			return strings.Contains(message, s.Message)
		}
		rest = after
	}
}

func (l layout) heading(r *Rollout) []string {
	text := fmt.Sprintf("%s  %s revision %d", r.Key(), terminal.Clean(r.Mitigation), r.Revision)
	if r.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", r.Attempt)
	}
	if r.Ring != "" {
		text += ", ring " + terminal.Clean(r.Ring)
	}
	if r.Mode == string(emsv1.ModeAudit) {
		text += ", audit"
	}
	tone := terminal.Strong
	for _, state := range states {
		if state.state == r.State {
			tone = state.tone
		}
	}
	if r.State == string(emsv1.RolloutComplete) {
		tone = terminal.Good
	}
	state := r.State
	if urgencyOf(r) == alarming {
		state = strings.ToUpper(state)
	}
	lines := l.style.Wrap(state+"  ", "  ", text)
	lines[0] = l.style.Paint(tone, state) + strings.TrimPrefix(lines[0], state)
	return lines
}

func (l layout) painted(tone terminal.Tone, first, rest, text string) []string {
	lines := l.style.Wrap(first, rest, text)
	for i := range lines {
		lines[i] = l.style.Paint(tone, lines[i])
	}
	return lines
}

func stageText(r *Rollout) string {
	if r.StageNumber == 0 {
		return fmt.Sprintf("none of %s released", plural(int(r.Stages), "stage"))
	}
	text := fmt.Sprintf("stage %d of %d, %s", r.StageNumber, r.Stages, terminal.Clean(r.Stage))
	if r.Profile != "" {
		text += ", profile " + r.Profile
	}
	return text
}

// bakeText tells the stage's time. Every server bakes by itself from the moment it has the mitigation, so the end is the
// earliest one.
func bakeText(r *Rollout, now time.Time) string {
	if r.StageTime == nil || r.State != string(emsv1.RolloutProgressing) && r.State != string(emsv1.RolloutPaused) {
		return ""
	}
	since, bake := max(0, now.Sub(*r.StageTime)), time.Duration(r.BakeSeconds)*time.Second
	if since < bake {
		return fmt.Sprintf("released %s ago, bakes %s: %s left", span(since), span(bake), span(bake-since))
	}
	return fmt.Sprintf("released %s ago, bakes %s: over", span(since), span(bake))
}

func completeText(r *Rollout, now time.Time) string {
	text := fmt.Sprintf("%s, %d passed", plural(r.Servers.Total, "server"), r.Servers.Passed)
	if r.CompletionTime != nil {
		text += fmt.Sprintf(", complete for %s", span(max(0, now.Sub(*r.CompletionTime))))
	}
	return text
}

// words say what a reason means where the plan has no message.
var words = map[string]string{
	emsv1.RolloutHaltedReason:    "too many servers failed",
	emsv1.RolloutAbortedReason:   "a person took the revision back",
	emsv1.RolloutPausedReason:    "a person holds it",
	emsv1.RolloutStuckReason:     "servers are silent or have no data to judge by",
	emsv1.AwaitingApprovalReason: "a person has to agree",
	emsv1.AwaitingRingReason:     "the pools of a ring before have to complete first",
	emsv1.AwaitingWindowReason:   "no window allows changes now",
	emsv1.AwaitingStageReason:    "the servers of the stage are at work or under observation",
	emsv1.HaltedElsewhereReason:  "it halted in another pool",
	emsv1.RolloutCompleteReason:  "every stage passed",
}

func reasonText(r *Rollout) string {
	return terminal.Clean(r.Reason + ": " + cmp.Or(r.Message, words[r.Reason], "no word on why"))
}

// line is a rollout in one line, for logs.
func line(r *Rollout, at time.Time) string {
	text := fmt.Sprintf("%s %s %s revision %d", at.UTC().Format(time.RFC3339), r.Key(), r.Mitigation, r.Revision)
	if r.Attempt > 1 {
		text += fmt.Sprintf(" attempt %d", r.Attempt)
	}
	parts := []string{text + " " + r.State}
	if rolledOut(r) && r.Stages > 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("stage %d/%d %s", r.StageNumber, r.Stages, r.Stage)), numbersText(r.Servers))
	}
	parts = append(parts, reasonText(r))
	for _, s := range r.Failing {
		if s.Message != "" && !told(r.Message, s) {
			parts = append(parts, s.Name+": "+s.Message)
		}
	}
	return terminal.Clean(strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func span(d time.Duration) string { return duration.HumanDuration(d.Truncate(time.Second)) }
