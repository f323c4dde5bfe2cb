package page

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// maxText is how many characters of one text a page shows; the API allows conditions of 32 KiB. kubectl shows the rest.
const maxText = 600

// plain makes text of others fit to be read: at most maxText characters, no line breaks, nothing invisible, and nothing that changes the
// direction of what stands around it. A server that was taken over chooses its messages.
func plain(text string) string {
	var out strings.Builder
	count := 0
	for _, r := range text {
		if count == maxText {
			out.WriteString("…")
			break
		}
		count++
		switch {
		case r == '\n', r == '\t', r == '\r':
			out.WriteRune(' ')
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Co, r), r == utf8.RuneError:
			out.WriteRune('�')
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// block is plain for a text of several lines.
func block(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], "…")
	}
	for i := range lines {
		lines[i] = plain(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// span is a part of a text; code stands between backticks.
type span struct {
	Text string
	Code bool
}

// prose splits a message at its backticks.
func prose(text string) []span {
	var spans []span
	for i, part := range strings.Split(plain(text), "`") {
		if part != "" {
			spans = append(spans, span{part, i%2 == 1})
		}
	}
	return spans
}

// moment is a time as a page shows it.
type moment struct {
	// ISO is for programs, Text for people, Age is how long ago or how far ahead it is. All are empty for no time.
	ISO, Text, Age string
}

func (c clockwork) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	text := t.Format("2006-01-02 15:04 UTC")
	if t.Year() == c.now.UTC().Year() && t.YearDay() == c.now.UTC().YearDay() {
		text = t.Format("15:04:05 UTC")
	}
	return moment{ISO: t.Format(time.RFC3339), Text: text, Age: c.age(t)}
}

func (c clockwork) at(t *metav1.Time) moment {
	if t == nil {
		return moment{}
	}
	return c.moment(t.Time)
}

// clockwork says how long ago something was.
type clockwork struct{ now time.Time }

// age is coarse, so that a page does not change with every second.
func (c clockwork) age(t time.Time) string {
	if d := t.Sub(c.now); d > 0 {
		return "in " + length(d)
	}
	return length(c.now.Sub(t)) + " ago"
}

func length(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
}

// count puts a number before a word: 1 server, 2 servers.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + one + "s"
}

// number groups the digits of what is long.
func number(n int) string {
	text := fmt.Sprint(n)
	if n < 10000 {
		return text
	}
	return text[:len(text)-3] + " " + text[len(text)-3:]
}

// spaced makes words of a reason: RolloutHalted is "rollout halted".
func spaced(reason string) string {
	var out strings.Builder
	for i, r := range plain(reason) {
		if i > 0 && unicode.IsUpper(r) {
			out.WriteRune(' ')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// verdict is a condition as a page shows it.
type verdict struct {
	Sign    sign
	Type    string
	Word    string
	Reason  string
	Message []span
	Since   moment
}

func (c clockwork) condition(conditions []metav1.Condition, kind string) verdict {
	found := meta.FindStatusCondition(conditions, kind)
	if found == nil {
		return verdict{Sign: signNone, Type: kind, Word: "not known yet"}
	}
	v := verdict{Type: kind, Reason: plain(found.Reason), Message: prose(found.Message), Since: c.moment(found.LastTransitionTime.Time)}
	switch found.Status {
	case metav1.ConditionTrue:
		v.Sign, v.Word = signOK, "yes"
	case metav1.ConditionFalse:
		v.Sign, v.Word = signFailed, "no"
		if kind == emsv1.ReadyCondition && !meta.IsStatusConditionTrue(conditions, emsv1.StalledCondition) {
			v.Sign = signMoving
		}
		if kind != emsv1.ReadyCondition {
			v.Sign = signBroken
		}
	default:
		v.Sign, v.Word = signNone, "unknown"
		if found.Reason == emsv1.AgentSilentReason {
			v.Sign = signSilent
		}
	}
	return v
}
