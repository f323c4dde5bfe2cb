//go:build unix

package browser

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/page"
	"mitigation.dev/ems/controllers/page/pagetest"
	"mitigation.dev/ems/controllers/tokens"
	"mitigation.dev/ems/test/chromium"
)

// limit of one test. A browser on a busy machine takes some seconds.
const limit = 90 * time.Second

// token is one that the API server of these tests knows.
const token = "a-token-of-the-cluster"

// stage is the fleet page with a browser in front of it.
type stage struct {
	fleet   *pagetest.Fleet
	url     string
	browser *chromium.Browser
}

func newStage(t *testing.T, fleet *pagetest.Fleet) (*stage, context.Context) {
	t.Helper()
	path, ok := chromium.Find()
	if !ok {
		t.Skip("SKIPPED: there is no Chromium (Debian: apt-get install chromium; or $EMS_CHROMIUM), so nothing is known of the page in a browser")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	judge := tokens.NewJudge(clock.RealClock{}, func(_ context.Context, shown, _ string) (tokens.Answer, error) {
		if shown == token {
			return tokens.Answer{Code: http.StatusOK, User: "alice"}, nil
		}
		return tokens.Answer{Code: http.StatusUnauthorized}, nil
	})
	server := httptest.NewUnstartedServer(page.NewHandler(fleet, judge, clock.RealClock{}, logr.Discard()))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the browser tries the certificate first
	server.StartTLS()
	t.Cleanup(server.Close)
	browser, err := chromium.Start(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browser.Stop)
	return &stage{fleet, server.URL, browser}, ctx
}

// open opens a page and signs in by hand: with the keyboard, and without a script.
func (s *stage) open(ctx context.Context, t *testing.T, where string, o chromium.Options) *chromium.Page {
	t.Helper()
	o.Width, o.Height = max(o.Width, 400), max(o.Height, 800)
	p, err := s.browser.Open(ctx, o)
	must(t, err)
	must(t, p.Go(ctx, s.url+where))
	// The form has the focus.
	must(t, p.Wait(ctx, "document.activeElement.id === 'token'"))
	must(t, p.Type(ctx, token))
	must(t, p.Press(ctx, "Enter"))
	must(t, p.Wait(ctx, "document.querySelector('.user')?.textContent === 'alice'"))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is what an expression gives in the page.
func text(ctx context.Context, t *testing.T, p *chromium.Page, expression string) string {
	t.Helper()
	got, err := p.Text(ctx, expression)
	must(t, err)
	return got
}

// quiet checks that the page asked nobody else for anything, and that the browser has nothing to complain of but the answer 401 to those who have
// not signed in yet.
func (s *stage) quiet(t *testing.T, p *chromium.Page) {
	t.Helper()
	for _, problem := range p.Problems() {
		if !strings.Contains(problem, "status of 401") {
			t.Errorf("the console says: %s", problem)
		}
	}
	own, err := url.Parse(s.url)
	must(t, err)
	for _, request := range p.Requests() {
		asked, err := url.Parse(request)
		must(t, err)
		if asked.Host != own.Host && asked.Scheme != "about" {
			t.Errorf("the page asks %s", request)
		}
		if strings.Contains(request, token) {
			t.Errorf("the token stands in the URL %s", request)
		}
	}
}

func TestReadingNeedsNoScript(t *testing.T) {
	s, ctx := newStage(t, pagetest.Small(time.Now()))
	p := s.open(ctx, t, "/fleet", chromium.Options{Width: 1280, NoScript: true})
	all := text(ctx, t, p, "document.body.innerText")
	for _, want := range []string{"2 of 26 servers are protected", "halted 0/8", "RuleInvalid", "AnchorExpiring", "Sign out"} {
		if !strings.Contains(all, want) {
			t.Errorf("the page lacks %q:\n%s", want, all)
		}
	}
	if live := text(ctx, t, p, "document.getElementById('live').childElementCount"); live != "0" {
		t.Error("without a script there is nothing to switch")
	}
	if cookies := text(ctx, t, p, "document.cookie"); cookies != "" {
		t.Errorf("a script could read the cookies %q", cookies)
	}
	must(t, p.Eval(ctx, "document.querySelector('form.search input').value = 'lab'; document.querySelector('form.search').requestSubmit()", nil))
	must(t, p.Wait(ctx, "location.search === '?q=lab' && document.querySelectorAll('#matrix tbody tr').length === 1"))
	must(t, p.Eval(ctx, "document.querySelector('#matrix tbody a').click()", nil))
	must(t, p.Wait(ctx, "location.pathname === '/fleet/pools/staging/lab' && document.querySelector('#servers tbody a')"))
	must(t, p.Eval(ctx, "document.querySelector('#servers tbody a').click()", nil))
	must(t, p.Wait(ctx, "location.pathname === '/fleet/servers/staging/lab01' && document.querySelector('h1')?.textContent === 'lab01'"))
	must(t, p.Eval(ctx, "document.querySelector('.tools form').requestSubmit()", nil))
	must(t, p.Wait(ctx, "document.getElementById('token')"))
	s.quiet(t, p)
}

func TestThePageIsLive(t *testing.T) {
	s, ctx := newStage(t, pagetest.Small(time.Now()))
	p := s.open(ctx, t, "/fleet/mitigations/m1", chromium.Options{Width: 1280})
	// What a reader has opened, scrolled to and is at stays as it is.
	must(t, p.Wait(ctx, "document.querySelector('#live button')?.textContent === 'Pause'"))
	must(t, p.Eval(ctx, `document.getElementById('action-0').open = true; document.querySelector('#where tbody a').focus(); window.same = true`, nil))
	s.fleet.Change(func(f *pagetest.Fleet) {
		for i := range f.Pools {
			if f.Pools[i].Name != "mailbox" {
				continue
			}
			f.Pools[i] = *f.Pools[i].DeepCopy()
			rollout := &f.Pools[i].Status.Mitigations[0].Rollout
			rollout.State, rollout.Reason, rollout.Message = emsv1.RolloutHalted, emsv1.RolloutHaltedReason, "seen only by those who look again"
		}
	})
	must(t, p.Wait(ctx, "document.body.innerText.includes('seen only by those who look again')"))
	if text(ctx, t, p, "window.same === true") != "true" {
		t.Error("the page was loaded anew")
	}
	if text(ctx, t, p, "document.getElementById('action-0').open") != "true" {
		t.Error("what was open was closed")
	}
	if at := text(ctx, t, p, "document.activeElement.closest('section')?.id + ' ' + document.activeElement.tagName"); at != "where A" {
		t.Errorf("the focus went to %s", at)
	}
	if said := text(ctx, t, p, "document.getElementById('said').textContent"); !strings.Contains(said, "updated") {
		t.Errorf("a screen reader is told %q", said)
	}

	must(t, p.Eval(ctx, "document.querySelector('#live button').click()", nil))
	must(t, p.Wait(ctx, "document.querySelector('#live span').textContent.startsWith('Paused')"))
	asked := len(p.Requests())
	time.Sleep(7 * time.Second) // more than one round
	if more := len(p.Requests()) - asked; more != 0 {
		t.Errorf("%d requests while the page is paused", more)
	}
	// A session that ends leads to the form.
	must(t, p.Eval(ctx, "document.querySelector('#live button').click()", nil))
	must(t, p.Eval(ctx, "fetch('/fleet/signout', {method: 'POST', body: new URLSearchParams({csrf: document.querySelector('[name=csrf]').value})})", nil))
	must(t, p.Wait(ctx, "document.getElementById('token')"))
	s.quiet(t, p)
}

func TestHostileTextRunsNothing(t *testing.T) {
	const payload = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload="window.hacked=1"><a href="javascript:window.hacked=1">`
	s, ctx := newStage(t, pagetest.Hostile(time.Now(), payload))
	p := s.open(ctx, t, "/fleet", chromium.Options{Width: 1280})
	for _, where := range []string{"/fleet", "/fleet/mitigations/m1", "/fleet/pools/exchange/frontend", "/fleet/servers/exchange/frontend01"} {
		must(t, p.Go(ctx, s.url+where))
		if !strings.Contains(text(ctx, t, p, "document.body.innerText"), "<script>window.hacked=1</script>") {
			t.Errorf("%s does not show the text", where)
		}
		// Through the script that puts in what is new, too.
		must(t, p.Eval(ctx, "fetch(document.getElementById('main').dataset.live).then(r => r.text()).then(t => { document.getElementById('main').replaceChildren(...new DOMParser().parseFromString(t, 'text/html').body.childNodes); })", nil))
		if got := text(ctx, t, p, "window.hacked"); got != "undefined" {
			t.Errorf("%s ran what an object says", where)
		}
	}
	s.quiet(t, p)
}

func TestThePageFits(t *testing.T) {
	s, ctx := newStage(t, pagetest.Small(time.Now()))
	p := s.open(ctx, t, "/fleet", chromium.Options{Width: 400})
	for _, where := range []string{"/fleet", "/fleet/mitigations/owa1", "/fleet/pools/exchange/frontend", "/fleet/servers/exchange/frontend01"} {
		must(t, p.Go(ctx, s.url+where))
		if wide := text(ctx, t, p, "document.documentElement.scrollWidth"); wide != "400" {
			t.Errorf("%s is %s pixels wide in a window of 400", where, wide)
		}
	}
	// Everything can be reached with the keyboard: first the way past the head, then what is there in order.
	must(t, p.Go(ctx, s.url+"/fleet"))
	var seen []string
	for range 5 {
		must(t, p.Press(ctx, "Tab"))
		seen = append(seen, text(ctx, t, p, "document.activeElement.textContent.trim()"))
	}
	if want := []string{"Skip to the content", "EMS fleet", "Pause", "Sign out", "M1"}; !slices.Equal(seen, want) {
		t.Errorf("Tab goes to %q, want %q", seen, want)
	}
	if outline := text(ctx, t, p, "getComputedStyle(document.activeElement).outlineStyle"); outline != "solid" {
		t.Errorf("what has the focus has the outline %q", outline)
	}
	if hidden := text(ctx, t, p, "[...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent.length > 20)"); hidden != "true" {
		t.Error("a table has no caption")
	}
	s.quiet(t, p)
}

func TestMotionIsForThoseWhoWantIt(t *testing.T) {
	s, ctx := newStage(t, pagetest.Small(time.Now()))
	for _, still := range []bool{true, false} {
		p := s.open(ctx, t, "/fleet", chromium.Options{Still: still})
		must(t, p.Eval(ctx, "document.querySelector('#matrix tbody tr').classList.add('changed')", nil))
		animation := text(ctx, t, p, "getComputedStyle(document.querySelector('.changed')).animationName")
		if want := map[bool]string{true: "none", false: "changed"}[still]; animation != want {
			t.Errorf("reduced motion %t: the animation is %q, want %q", still, animation, want)
		}
		must(t, p.Close(ctx))
	}
}
