package gate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/health/requests"
)

var begin = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)

const (
	owa  = `http "owa"`
	smtp = "TCP port 25"
	site = `site "Default Web Site"`
)

// results are good for the names given, bad for those behind a minus, unknown for those behind a question mark.
func results(names ...string) []health.Result {
	var list []health.Result
	for _, name := range names {
		switch name[0] {
		case '-':
			list = append(list, health.Result{Name: name[1:], Detail: "answered 503, expected 200"})
		case '?':
			list = append(list, health.Result{Name: name[1:], Unknown: true, Detail: "no answer in time"})
		default:
			list = append(list, health.Result{Name: name, OK: true, Detail: "answered 200"})
		}
	}
	return list
}

func seen(names ...string) Observation { return Observation{Results: results(names...)} }

// look is one look and what shall come of it.
type look struct {
	at      time.Duration // since the begin
	o       Observation
	want    Verdict
	wantIn  string // in the message
	restart bool   // of the agent, before the look
}

var (
	emergency = Terms{Bake: 15 * time.Second}
	fast      = Terms{Bake: time.Minute}
)

func TestVerdicts(t *testing.T) {
	good, bad := seen(owa, smtp, site), seen("-"+owa, smtp, site)
	logged := func(n int64) Observation {
		o := seen(owa, smtp, site)
		o.Requests, o.Log = n, true
		return o
	}
	tests := map[string]struct {
		terms    Terms
		baseline []health.Result // that of good if nil
		looks    []look
		wantNote string
	}{
		"one look is enough without a bake time": {looks: []look{{o: good, want: Passed}}},
		"a healthy server passes when its bake time is over": {terms: emergency, looks: []look{
			{at: 0, o: good, want: Baking}, {at: 5 * time.Second, o: good, want: Baking}, {at: 10 * time.Second, o: good, want: Baking}, {at: 15 * time.Second, o: good, want: Passed}}},
		"a bad look counts when it comes again a second later": {terms: emergency, looks: []look{
			{at: time.Second, o: bad, want: Baking, wantIn: "to be looked at again: " + owa},
			{at: 2 * time.Second, o: bad, want: Failed, wantIn: owa + ": before: answered 200, now: answered 503, expected 200"}}},
		"without a bake time as well": {looks: []look{{o: bad, want: Baking}, {at: time.Second, o: bad, want: Failed}}},
		"with time to spare it takes two seconds": {terms: fast, looks: []look{
			{o: bad, want: Baking}, {at: 900 * time.Millisecond, o: bad, want: Baking}, {at: 2 * time.Second, o: bad, want: Failed}}},
		"looks that follow each other at once are one": {terms: emergency, looks: []look{
			{o: bad, want: Baking}, {at: time.Millisecond, o: bad, want: Baking}, {at: 2 * time.Millisecond, o: bad, want: Baking}, {at: time.Second, o: bad, want: Failed}}},
		"one lost packet takes nothing back": {terms: emergency, looks: []look{
			{o: good, want: Baking}, {at: 2 * time.Second, o: bad, want: Baking}, {at: 3 * time.Second, o: good, want: Baking},
			{at: 8 * time.Second, o: good, want: Baking}, {at: 13 * time.Second, o: good, want: Baking}, {at: 18 * time.Second, o: good, want: Passed}}},
		"time in which something is bad does not count": {terms: Terms{Bake: 6 * time.Second}, looks: []look{
			{o: good, want: Baking}, {at: 4 * time.Second, o: bad, want: Baking}, {at: 6 * time.Second, o: good, want: Baking}, {at: 9 * time.Second, o: good, want: Baking},
			{at: 11 * time.Second, o: good, want: Baking}, {at: 12 * time.Second, o: good, want: Passed}}},
		"different checks that take turns count at the fourth look": {terms: emergency, looks: []look{
			{o: bad, want: Baking}, {at: time.Second, o: seen(owa, "-"+smtp, site), want: Baking}, {at: 2 * time.Second, o: bad, want: Baking},
			{at: 3 * time.Second, o: seen(owa, smtp, "-"+site), want: Failed, wantIn: "something else at each of 4 looks, now " + site}}},
		"a check that comes and goes fails at the end": {terms: Terms{Bake: 4 * time.Second}, looks: []look{
			{o: good, want: Baking}, {at: 2 * time.Second, o: bad, want: Baking}, {at: 3 * time.Second, o: good, want: Baking}, {at: 5 * time.Second, o: bad, want: Baking},
			{at: 6 * time.Second, o: good, want: Baking}, {at: 8 * time.Second, o: bad, want: Baking}, {at: 9 * time.Second, o: good, want: Baking},
			{at: 13 * time.Second, o: good, want: Failed, wantIn: "at 3 of 8 looks"}}},
		"what was bad before is noted": {baseline: results("-"+owa, smtp), looks: []look{{o: seen("-"+owa, smtp), want: Passed}}, wantNote: owa + " failed before as well: answered 503"},
		"what was bad before may get better and bad again": {terms: emergency, baseline: results("-"+owa, smtp), looks: []look{
			{o: seen(owa, smtp), want: Baking}, {at: time.Second, o: seen("-"+owa, smtp), want: Baking}, {at: 2 * time.Second, o: seen("-"+owa, smtp), want: Baking}}},
		"what was not looked at before is not judged":     {baseline: results(smtp), looks: []look{{o: seen("-"+owa, smtp), want: Passed}}},
		"what was not known before is not judged":         {baseline: results("?"+owa, smtp), looks: []look{{o: seen("-"+owa, smtp), want: Passed}}},
		"what cannot be looked at any more is no success": {looks: []look{{o: seen("?"+owa, smtp, site), want: Inconclusive, wantIn: owa + ": no answer in time"}, {at: time.Second, o: good, want: Passed}}},
		"a sample that passes fails at once": {terms: emergency, looks: []look{{o: Observation{NotBlocked: []string{"sample 1", "sample 2", "sample 3", "sample 4", "sample 5"}},
			want: Failed, wantIn: "does not protect: sample 1; sample 2; sample 3; and 2 more"}}},
		"a request that is blocked and must pass fails at once": {terms: emergency, looks: []look{{o: Observation{NotPassed: []string{"sample 1"}}, want: Failed, wantIn: "blocks what must pass: sample 1"}}},
		"no effect fails at once":                               {terms: emergency, looks: []look{{o: Observation{Effective: EffectiveFalse, Why: "the module is missing"}, want: Failed, wantIn: "not in effect: the module is missing"}}},
		"an effect of which nothing is known is noted": {looks: []look{{o: Observation{Effective: EffectiveUnknown, Why: "a file cannot be read"}, want: Passed}},
			wantNote: "whether it is in effect is not known: a file cannot be read"},
		"too few requests are no success until they come": {terms: Terms{MinRequests: 100}, looks: []look{
			{o: logged(99), want: Inconclusive, wantIn: "99 of 100 requests"}, {at: time.Hour, o: logged(99), want: Inconclusive}, {at: 2 * time.Hour, o: logged(100), want: Passed}}},
		"a server without data can still fail":   {terms: Terms{MinRequests: 100}, looks: []look{{o: logged(1), want: Inconclusive}, {at: time.Second, o: bad, want: Baking}, {at: 3 * time.Second, o: bad, want: Failed}}, wantNote: "no access log"},
		"without a log nobody asks for requests": {terms: Terms{MinRequests: 100}, looks: []look{{o: good, want: Passed}}, wantNote: "there is no access log to count requests in"},
		"a failed one stays failed":              {looks: []look{{o: bad, want: Baking}, {at: time.Second, o: bad, want: Failed}, {at: time.Hour, o: good, want: Failed, wantIn: "before: answered 200"}}},
		"a passed one stays passed":              {looks: []look{{o: good, want: Passed}, {at: time.Hour, o: Observation{Effective: EffectiveFalse}, want: Passed}}},
		"a clock set forward does not end the bake time": {terms: fast, looks: []look{
			{o: good, want: Baking}, {at: 5 * time.Hour, o: good, want: Baking}, {at: 5*time.Hour + 50*time.Second, o: good, want: Baking}}},
		"a clock set back makes it longer": {terms: Terms{Bake: 6 * time.Second}, looks: []look{
			{o: good, want: Baking}, {at: 4 * time.Second, o: good, want: Baking}, {at: -time.Hour, o: good, want: Baking}, {at: -time.Hour + time.Second, o: good, want: Baking},
			{at: -time.Hour + 2*time.Second, o: good, want: Passed}}},
		"a restart keeps what was observed and bakes the rest": {terms: emergency, looks: []look{
			{o: good, want: Baking}, {at: 5 * time.Second, o: good, want: Baking}, {at: time.Hour, o: good, want: Baking, restart: true},
			{at: time.Hour + 4*time.Second, o: good, want: Baking}, {at: time.Hour + 5*time.Second, o: good, want: Passed}}},
		"a restart between two bad looks takes nothing back too late": {terms: emergency, looks: []look{
			{o: bad, want: Baking}, {at: time.Second, o: bad, want: Failed, restart: true}, {at: time.Hour, o: good, want: Failed, restart: true}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			baseline := tc.baseline
			if baseline == nil {
				baseline = good.Results
			}
			r := Begin("r7-a1-0123abcd", begin, baseline)
			for i, l := range tc.looks {
				if l.restart {
					r = stored(t, r)
				}
				r = Look(r, l.o, tc.terms, begin.Add(l.at))
				if r.Verdict != l.want || !strings.Contains(r.Message, l.wantIn) {
					t.Fatalf("look %d: %s, %q; want %s, %q", i+1, r.Verdict, r.Message, l.want, l.wantIn)
				}
				if (r.Verdict == Failed || r.Verdict == Inconclusive) != (r.Message != "") && len(r.Suspects) == 0 {
					t.Errorf("look %d: %s with message %q", i+1, r.Verdict, r.Message)
				}
			}
			if notes := strings.Join(r.Notes, "|"); !strings.Contains(notes, tc.wantNote) || (tc.wantNote == "") != (notes == "") && !strings.Contains(name, "better") {
				t.Errorf("notes %q, want %q", notes, tc.wantNote)
			}
		})
	}
}

// stored is a record that has been on the disk.
func stored(t *testing.T, r Record) Record {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Record
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// Whoever looks when the record says so takes a server back within five seconds of its first bad answer, and lets a healthy
// one pass soon after its bake time.
func TestLooksWhenTheyAreDue(t *testing.T) {
	for name, tc := range map[string]struct {
		terms     Terms
		badFrom   time.Duration
		wantEnd   Verdict
		wantAfter time.Duration // the bake time, or the first bad answer
		wantWithin,
		wantLooks int
	}{
		"an emergency that goes well":           {terms: emergency, wantEnd: Passed, wantAfter: 15 * time.Second, wantWithin: 1, wantLooks: 9},
		"an emergency that goes wrong at once":  {terms: emergency, badFrom: time.Nanosecond, wantEnd: Failed, wantWithin: 5, wantLooks: 3},
		"a fast one that goes wrong in between": {terms: fast, badFrom: 12 * time.Second, wantEnd: Failed, wantAfter: 12 * time.Second, wantWithin: 5, wantLooks: 9},
		"an hour that goes well":                {terms: Terms{Bake: time.Hour}, wantEnd: Passed, wantAfter: time.Hour, wantWithin: 1, wantLooks: 290},
	} {
		t.Run(name, func(t *testing.T) {
			now, r, looks := begin, Begin("r1-a1-0123abcd", begin, results(owa)), 0
			for {
				next, due := r.Next(tc.terms, now)
				if !due {
					break
				}
				if now = next; looks > 1000 {
					t.Fatal("no end")
				}
				looks++
				o := seen(owa)
				if tc.badFrom > 0 && now.Sub(begin) >= tc.badFrom {
					o = seen("-" + owa)
				}
				r = Look(r, o, tc.terms, now)
			}
			took := now.Sub(begin)
			if r.Verdict != tc.wantEnd || took < tc.wantAfter || took > tc.wantAfter+time.Duration(tc.wantWithin)*time.Second || looks > tc.wantLooks {
				t.Errorf("%s after %s and %d looks", r.Verdict, took, looks)
			}
		})
	}
}

func TestNextLook(t *testing.T) {
	r := Begin("r1-a1-0123abcd", begin, results(owa))
	want := func(what string, r Record, now, wantAt time.Time) {
		t.Helper()
		if at, due := r.Next(fast, now); !due || !at.Equal(wantAt) {
			t.Errorf("%s: due %v at %s, want %s", what, due, at, wantAt)
		}
	}
	want("the first look", r, begin.Add(time.Hour), begin.Add(time.Hour))
	r = Look(r, seen(owa), fast, begin)
	want("the second", r, begin.Add(time.Second), begin.Add(2*time.Second))
	want("an overdue one", r, begin.Add(time.Hour), begin.Add(2*time.Second))
	want("one after the clock was set back", r, begin.Add(-time.Hour), begin.Add(-time.Hour))
	want("the second look at something bad", Look(r, seen("-"+owa), emergency, begin.Add(5*time.Second)), begin.Add(5*time.Second), begin.Add(7*time.Second))
	for _, v := range []Verdict{Passed, Failed} {
		r.Verdict = v
		if at, due := r.Next(fast, begin); due || !at.IsZero() {
			t.Errorf("%s is due at %s", v, at)
		}
	}
}

func TestFail(t *testing.T) {
	r := Fail(Begin("r1-a1-0123abcd", begin, nil), begin.Add(time.Second), strings.Repeat("ä", 400))
	if r.Verdict != Failed || len(r.Message) > MaxMessage || !utf8.ValidString(r.Message) || !strings.HasSuffix(r.Message, "ä…") {
		t.Errorf("record %+v", r)
	}
	if again := Fail(r, begin, "another reason"); again.Message != r.Message {
		t.Errorf("the first reason is gone: %q", again.Message)
	}
	if r := Fail(Record{}, begin, ""); r.Message == "" {
		t.Error("a failure without a message")
	}
}

func TestRecordsSurviveTheDisk(t *testing.T) {
	r := Begin("r7-a1-0123abcd", begin, results(owa, "-"+smtp))
	r.Logs = []requests.Cursor{{Folder: `C:\inetpub\logs\LogFiles\W3SVC1`, Since: begin, Files: map[string]requests.Position{"u_ex.log6": {Name: "u_ex261122.log", Offset: 7}}, Counted: 3}}
	r = Look(r, Observation{Results: results("-"+owa, "-"+smtp), Requests: 3, Log: true}, fast, begin.Add(time.Second))
	if diff := cmp.Diff(r, stored(t, r)); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedRecordsAreMended(t *testing.T) {
	for name, tc := range map[string]struct {
		json string
		want Record
	}{
		"nothing":            {`{}`, Record{Verdict: Baking}},
		"an unknown verdict": {`{"rollout":"r1","verdict":"Splendid","observed":9000000000000}`, Record{Rollout: "r1", Verdict: Baking}},
		"negative numbers": {`{"verdict":"Baking","observed":-1,"requests":-1,"looks":-1,"bad":-1,"strikes":-1,"suspects":[{"name":"x","for":-1}]}`,
			Record{Verdict: Baking, Suspects: []Suspect{{Name: "x"}}}},
		"a final one": {`{"verdict":"Failed","message":"bad"}`, Record{Verdict: Failed, Message: "bad"}},
	} {
		var r Record
		if err := json.Unmarshal([]byte(tc.json), &r); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(tc.want, r); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	var r Record
	if err := json.Unmarshal([]byte(`{"looks":"many"}`), &r); err == nil {
		t.Error("a text was taken for a number")
	}
}

func TestNotesAreFew(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("-TCP port %d", i+1))
	}
	r := Look(Begin("r1", begin, results(names...)), Observation{Results: results(names...), Effective: EffectiveUnknown}, Terms{MinRequests: 1}, begin)
	if len(r.Notes) != maxNotes || r.Notes[5] != "95 more checks failed before as well" || r.Verdict != Passed {
		t.Errorf("%s with notes %q", r.Verdict, r.Notes)
	}
}

// FuzzLook plays observations in any order at any time. Whatever comes, final verdicts stay, a verdict never passes before the
// bake time was seen, what is said stays short, and a look is always due at last.
func FuzzLook(f *testing.F) {
	f.Add(uint64(1), uint16(15), uint8(0))
	f.Add(uint64(2), uint16(0), uint8(100))
	f.Fuzz(func(t *testing.T, seed uint64, bake uint16, minRequests uint8) {
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose
		terms := Terms{Bake: time.Duration(bake%600) * time.Second, MinRequests: int64(minRequests)}
		now, r := begin, Begin("r1", begin, results(owa, smtp, "-"+site))
		for range 200 {
			now = now.Add(time.Duration(random.IntN(6000)) * time.Millisecond)
			if random.IntN(20) == 0 {
				now = now.Add(time.Duration(random.IntN(7200)-3600) * time.Second)
			}
			marks := []string{"", "", "", "", "-", "?"}
			o := seen(marks[random.IntN(6)]+owa, marks[random.IntN(6)]+smtp, marks[random.IntN(6)]+site)
			o.Log, o.Requests = random.IntN(2) == 0, int64(random.IntN(300))
			if random.IntN(50) == 0 {
				o.Effective = EffectiveFalse
			}
			before := r
			r = Look(r, o, terms, now)
			if before.Final() {
				if diff := cmp.Diff(before, r); diff != "" {
					t.Fatal(diff)
				}
				return
			}
			if r.Verdict == Passed && (r.Observed < terms.Bake || o.Log && o.Requests < terms.MinRequests) {
				t.Fatalf("passed too early: %+v", r)
			}
			if len(r.Message) > MaxMessage || len(r.Notes) > maxNotes {
				t.Fatalf("too long: %+v", r)
			}
			if next, due := r.Next(terms, now); due == r.Final() || due && next.Sub(now) > 15*time.Second {
				t.Fatalf("due %v at %s, now %s", due, next, now)
			}
			if random.IntN(10) == 0 {
				r = stored(t, r)
			}
		}
	})
}

func BenchmarkLook(b *testing.B) {
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("application pool %q", fmt.Sprint("Pool", i)))
	}
	r := Look(Begin("r1", begin, results(names...)), seen(names...), Terms{Bake: time.Hour}, begin)
	o, at := seen(names...), begin.Add(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if Look(r, o, Terms{Bake: time.Hour}, at).Verdict != Baking {
			b.Fatal("done")
		}
	}
}
