package simulate

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/accesslog"
)

// ReplayOptions are the settings of a replay.
type ReplayOptions struct {
	// Headers are given to every request, for what the log does not have.
	Headers http.Header
	// Examples is how many requests are kept of each kind.
	Examples int
	// Trace adds to each example how it was evaluated.
	Trace bool
	// Progress is called again and again with the number of bytes that were read. May be nil.
	Progress func(read int64)
}

// Summary is what the rules do with the requests of a log.
type Summary struct {
	// Requests is how many were read, From and To the times of the first and the last; absent if the log has none.
	Requests int        `json:"requests"`
	From     *time.Time `json:"from,omitempty"`
	To       *time.Time `json:"to,omitempty"`
	// Outcomes counts the requests by what becomes of them.
	Outcomes map[rewrite.Outcome]int `json:"outcomes"`
	// Rules has the requests that do not just pass, by the rule that decided, the most frequent first.
	Rules []RuleCount `json:"rules"`
	// Unknown counts the requests of which nobody can say whether they are blocked.
	Unknown int `json:"unknown,omitempty"`
	// NotEvaluated counts requests that IIS refuses before the rules, or that could not be evaluated; Unreadable counts
	// lines that are no requests. Problems has the first of both.
	NotEvaluated int       `json:"notEvaluated,omitempty"`
	Unreadable   int       `json:"unreadable,omitempty"`
	Problems     []Example `json:"problems,omitempty"`
}

// RuleCount is what one rule does.
type RuleCount struct {
	// Rule and Level are those of the result; Rule is empty for errors that no rule causes.
	Rule      string          `json:"rule"`
	Level     string          `json:"level,omitempty"`
	Outcome   rewrite.Outcome `json:"outcome"`
	Status    int             `json:"status,omitempty"`
	SubStatus int             `json:"subStatus,omitempty"`
	Count     int             `json:"count"`
	// Served counts the requests that were answered with a status below 400 when they were logged. Where a rule blocks,
	// these are what somebody may miss.
	Served   int       `json:"served,omitempty"`
	Examples []Example `json:"examples"`
}

// Example is one request of a log.
type Example struct {
	// Line is the line of the log, Time the time in it.
	Line    int        `json:"line"`
	Time    *time.Time `json:"time,omitempty"`
	Request string     `json:"request,omitempty"`
	// LoggedStatus is the status that was logged; 0 if none was.
	LoggedStatus int `json:"loggedStatus,omitempty"`
	// URL is where the request goes; empty if it goes nowhere else.
	URL string `json:"url,omitempty"`
	// Problem says why there is no result.
	Problem string `json:"problem,omitempty"`
	// Rules and Text tell how it was evaluated.
	Rules []*rewrite.RuleTrace `json:"trace,omitempty"`
	Text  string               `json:"-"`
}

// batchSize is how many requests a worker gets at a time: enough that handing them over costs nothing.
const batchSize = 512

// Replay evaluates all requests of a log. The result does not depend on how many processors there are. The errors are those
// of reading, and that of the context: then there is no summary, and a log that is waited for, such as what somebody types, is
// left waiting.
func Replay(ctx context.Context, site *rewrite.Site, log io.Reader, options ReplayOptions) (Summary, error) {
	batches := make(chan []accesslog.Entry, runtime.GOMAXPROCS(0))
	// The last one is for the lines that cannot be read.
	tallies := make([]*tally, runtime.GOMAXPROCS(0)+1)
	for i := range tallies {
		tallies[i] = newTally(site, options)
	}
	var workers sync.WaitGroup
	for i := range len(tallies) - 1 {
		workers.Go(func() {
			for batch := range batches {
				for k := range batch {
					tallies[i].add(&batch[k])
				}
			}
		})
	}
	end := make(chan error, 1)
	go func() {
		err := read(ctx, log, batches, tallies[len(tallies)-1])
		close(batches)
		workers.Wait()
		end <- err
	}()
	select {
	case err := <-end:
		return merge(tallies, options.Examples), err
	case <-ctx.Done():
		return Summary{}, ctx.Err()
	}
}

func read(ctx context.Context, log io.Reader, batches chan<- []accesslog.Entry, unreadable *tally) error {
	reader := accesslog.NewReader(log)
	batch := make([]accesslog.Entry, 0, batchSize)
	hand := func() {
		batches <- batch
		batch = make([]accesslog.Entry, 0, batchSize)
		if unreadable.Progress != nil {
			unreadable.Progress(reader.Offset())
		}
	}
	for ctx.Err() == nil {
		entry, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			hand()
			return nil
		case errors.Is(err, accesslog.ErrMalformed):
			unreadable.summary.Unreadable++
			unreadable.problem(Example{Problem: err.Error()})
		case err != nil:
			return err
		default:
			if batch = append(batch, entry); len(batch) == batchSize {
				hand()
			}
		}
	}
	return ctx.Err()
}

// kind is what requests are counted by.
type kind struct {
	rule, level       string
	outcome           rewrite.Outcome
	status, subStatus int
}

// tally counts for one worker.
type tally struct {
	ReplayOptions

	site    *rewrite.Site
	summary Summary
	kinds   map[kind]*RuleCount
}

func newTally(site *rewrite.Site, options ReplayOptions) *tally {
	return &tally{ReplayOptions: options, site: site, kinds: map[kind]*RuleCount{}, summary: Summary{Outcomes: map[rewrite.Outcome]int{}}}
}

func (t *tally) add(entry *accesslog.Entry) {
	request := entry.Request()
	SetHeaders(&request, t.Headers)
	t.summary.Requests++
	t.summary.seen(entry.When)
	result, err := t.site.Evaluate(request)
	if err != nil {
		t.summary.NotEvaluated++
		example := t.example(entry, request)
		example.Problem = err.Error()
		t.problem(example)
		return
	}
	t.summary.Outcomes[result.Outcome]++
	if len(result.Uncertain) > 0 && result.Verdict() == rewrite.Unknown {
		t.summary.Unknown++
	}
	if result.Outcome == rewrite.Passed {
		return
	}
	key := kind{result.Rule, result.Level, result.Outcome, result.Status, result.SubStatus}
	count := t.kinds[key]
	if count == nil {
		count = &RuleCount{Rule: key.rule, Level: key.level, Outcome: key.outcome, Status: key.status, SubStatus: key.subStatus, Examples: []Example{}}
		t.kinds[key] = count
	}
	count.Count++
	if entry.Status > 0 && entry.Status < http.StatusBadRequest {
		count.Served++
	}
	if len(count.Examples) < t.Examples {
		example := t.example(entry, request)
		if result.Outcome == rewrite.Rewritten || result.Outcome == rewrite.Redirected {
			example.URL = result.URL
		}
		if t.Trace {
			if answer, err := Ask(t.site, example.Request, request, true); err == nil {
				example.Rules, example.Text = answer.Rules, answer.Text
			}
		}
		count.Examples = append(count.Examples, example)
	}
}

func (t *tally) example(entry *accesslog.Entry, request rewrite.Request) Example {
	e := Example{Line: entry.Line, Request: request.Method + " " + request.Path, LoggedStatus: entry.Status}
	if request.RawQuery != "" {
		e.Request += "?" + request.RawQuery
	}
	if !entry.When.IsZero() {
		e.Time = &entry.When
	}
	return e
}

func (t *tally) problem(example Example) {
	if len(t.summary.Problems) < t.Examples {
		t.summary.Problems = append(t.summary.Problems, example)
	}
}

func (s *Summary) seen(when time.Time) {
	if when.IsZero() {
		return
	}
	if s.From == nil || when.Before(*s.From) {
		s.From = &when
	}
	if s.To == nil || when.After(*s.To) {
		s.To = &when
	}
}

// merge adds up. Each tally has the first examples of the batches that it got, so that the first of all are among them.
func merge(tallies []*tally, examples int) Summary {
	total := Summary{Outcomes: map[rewrite.Outcome]int{}, Rules: []RuleCount{}}
	kinds := map[kind]*RuleCount{}
	for _, t := range tallies {
		s := &t.summary
		total.Requests += s.Requests
		total.Unknown += s.Unknown
		total.NotEvaluated += s.NotEvaluated
		total.Unreadable += s.Unreadable
		total.Problems = append(total.Problems, s.Problems...)
		for _, when := range []*time.Time{s.From, s.To} {
			if when != nil {
				total.seen(*when)
			}
		}
		for outcome, n := range s.Outcomes {
			total.Outcomes[outcome] += n
		}
		for key, count := range t.kinds {
			if kinds[key] == nil {
				kinds[key] = count
				continue
			}
			kinds[key].Count += count.Count
			kinds[key].Served += count.Served
			kinds[key].Examples = append(kinds[key].Examples, count.Examples...)
		}
	}
	total.Problems = firstOf(total.Problems, examples)
	for _, count := range kinds {
		count.Examples = firstOf(count.Examples, examples)
		total.Rules = append(total.Rules, *count)
	}
	slices.SortFunc(total.Rules, func(a, b RuleCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Level, b.Level),
			cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Status, b.Status), cmp.Compare(a.SubStatus, b.SubStatus))
	})
	return total
}

func firstOf(examples []Example, n int) []Example {
	slices.SortStableFunc(examples, func(a, b Example) int { return cmp.Compare(a.Line, b.Line) })
	return examples[:min(n, len(examples))]
}
