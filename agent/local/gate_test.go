package local

import (
	"context"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/test/iistree"
)

// runs has another name than the method that lists pools.
type runs = standin.Pools

// frail are sites of which one stops while the configuration holds a word.
type frail struct {
	*runs
	*box
	illFrom string
}

func (f frail) Sites(context.Context) ([]control.Site, error) {
	site := control.Site{Name: "Default Web Site", ID: "1", State: control.SiteStarted}
	if strings.Contains(f.config(), f.illFrom) {
		site.State = control.SiteStopped
	}
	return []control.Site{site}, nil
}

var _ control.Lister = frail{}

// impatient is a clock on which waiting takes no time.
type impatient struct{ *clocktesting.FakeClock }

func (i impatient) After(d time.Duration) <-chan time.Time {
	i.Step(d)
	done := make(chan time.Time, 1)
	done <- i.Now()
	return done
}

func TestWhatMakesTheServerWorseIsTakenBack(t *testing.T) {
	b := newBox(t, iistree.Options{})
	run := func(document, illFrom string) *Report {
		o := b.options(document)
		o.Pools = frail{standin.NewPools(b.path("drive"), nil), b, illFrom}
		o.Clock = impatient{b.clock}
		return Apply(b.Context(), o)
	}
	before := b.config()
	r := run(b.publish(1, rule("M1", 1, "one"), rule("M2", 1, "two")), `"one"`)
	b.wantReport(r, Failed, 1, "M1 Failed/GateFailed 0", "M2 Failed/GateFailed 0")
	if got := r.Mitigations[0].Message; !strings.Contains(got, `site "Default Web Site"`) || !strings.Contains(got, "taken back") {
		t.Errorf("message = %q, want the site", got)
	}
	if b.config() != before {
		t.Error("the configuration is not as it was")
	}
	b.wantReport(run(b.publish(2, rule("M1", 1, "one"), rule("M2", 1, "two")), `"two"`), Failed, 1, "M1 Applied/Enabled 1", "M2 Failed/GateFailed 0")
	b.wantReport(run(b.publish(3, rule("M1", 2, "three"), rule("M2", 1, "two")), `"three"`), Failed, 1, "M1 Failed/GateFailed 1", "M2 Failed/GateFailed 0")
	if text := b.config(); !strings.Contains(text, `"one"`) || strings.Contains(text, `"three"`) {
		t.Error("the revision before is not back")
	}
	b.wantReport(run(b.publish(4, rule("M1", 2, "three")), "none of them"), Changed, 0, "M1 Applied/Enabled 2")
}
