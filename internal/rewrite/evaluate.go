package rewrite

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"
)

const (
	// maxEvaluation bounds the time for one request through all rules. Each match has its
	// own limit (matchTimeout); two thousand rules could use that up one after the other.
	// patience says when it counts.
	maxEvaluation = 2 * time.Second
	// checkEvery is after how many runs of the engine the time is looked at: reading the
	// clock costs as much as a short match.
	checkEvery = 8
)

// Evaluate says what the rules do with a request. The errors wrap ErrInvalidRequest for a
// request that IIS itself refuses, ErrTooExpensive for patterns that ran into their limit, and
// ErrUnsupported for rules that cannot be evaluated.
func (s *Site) Evaluate(request Request) (Result, error) {
	return s.evaluate(&request, nil)
}

// Trace does the same and tells how each rule was evaluated.
func (s *Site) Trace(request Request) (Result, *Trace, error) {
	t := &Trace{Request: traceRequest(&request)}
	result, err := s.evaluate(&request, t)
	t.Result = result
	return result, t, err
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

func (s *Site) evaluate(request *Request, t *Trace) (Result, error) {
	path, err := cookPath(request.Path)
	if err != nil {
		return Result{}, err
	}
	e := evaluations.Get().(*evaluation) //nolint:forcetypeassert // the pool has nothing else
	defer e.release()
	e.site, e.request, e.cooked, e.trace = s, request, path, t
	e.begin(0)
	result, err := e.run()
	if err != nil {
		return Result{}, err
	}
	e.trace = nil
	if e.touched|e.noted != 0 {
		return e.consider(result)
	}
	return result, nil
}

// consider evaluates again with the other answers to the open points that came up, in every
// combination, and notes the points that make a difference. An answer can lead to rules that
// raise further points, hence the outer loop; it ends because touched only grows.
func (e *evaluation) consider(result Result) (Result, error) {
	var different, decisive minimal
	for tried := reading(0); tried != e.touched; {
		tried = e.touched
		if bits.OnesCount32(uint32(tried)) > maxAlternatives {
			decisive = minimal{tried}
			break
		}
		// The next subset of tried, in ascending order, so that small sets come first.
		for alternative := -tried & tried; alternative != 0; alternative = (alternative - tried) & tried {
			e.begin(alternative)
			other, err := e.run()
			if err != nil {
				return Result{}, err
			}
			if !result.same(&other) {
				different.add(alternative)
			}
			if result.kind() != other.kind() {
				decisive.add(alternative)
			}
		}
	}
	result.undecided = len(decisive) > 0 || e.noted != 0
	result.Uncertain = (different.all() | decisive.all() | e.noted).points()
	return result, nil
}

// minimal is a list of sets of which none contains another. Sets have to come in an order in
// which a subset comes first.
type minimal []reading

func (m *minimal) add(set reading) {
	for _, known := range *m {
		if set&known == known {
			return
		}
	}
	*m = append(*m, set)
}

func (m minimal) all() reading {
	union := reading(0)
	for _, set := range m {
		union |= set
	}
	return union
}

// evaluation is one request under one reading.
type evaluation struct {
	site    *Site
	request *Request
	trace   *Trace
	// cooked is the path of the request as HTTP.sys hands it on.
	cooked string
	// flipped are the open points for which the other answer is taken. touched are those
	// that came up under any reading, noted those without another answer.
	flipped, touched, noted reading

	// path, query and absolute are the URL as it is now; absolute is scheme and host after
	// a rewrite to another server.
	path, query, absolute string
	rewritten             bool
	stopped               bool
	set                   *ruleSet
	variables             []Variable
	result                Result

	// input is what match sees, for the folder inputFolder.
	input       subject
	inputFolder string
	inputValid  bool
	// cache has the values of the conditions' inputs, as long as nothing changes them; single
	// is for one that cannot be kept.
	cache  []cached
	single cached
	// rule and condition are the captures {R:n} and {C:n}.
	rule, condition []string
	// negatedInput is the input of a negated match.
	negatedInput string
	negated      bool
	// unknown says that an expansion used a server variable without known value.
	unknown bool

	response *Response
	runs     int
	start    time.Time
	patience patience
}

type cached struct {
	subject     subject
	valid       bool
	ok, unknown bool
}

func (e *evaluation) release() {
	cache := e.cache[:cap(e.cache)]
	for i := range cache {
		cache[i].subject.forget()
	}
	e.input.forget()
	e.single.subject.forget()
	clear(e.rule[:cap(e.rule)])
	clear(e.condition[:cap(e.condition)])
	*e = evaluation{cache: cache, input: e.input, single: e.single, rule: e.rule[:0], condition: e.condition[:0]}
	evaluations.Put(e)
}

// begin puts the request back to where it came from.
func (e *evaluation) begin(flipped reading) {
	e.flipped = flipped
	e.path, e.query, e.absolute = e.cooked, e.request.RawQuery, ""
	e.rewritten, e.stopped = false, false
	e.variables, e.result = nil, Result{}
	e.set = nil
}

// open notes that an open point has come up and reports whether the other answer is taken.
func (e *evaluation) open(point reading) bool {
	e.touched |= point
	return e.flipped&point != 0
}

// enter goes on with the rules of a place.
func (e *evaluation) enter(set *ruleSet) {
	e.set = set
	if cap(e.cache) < set.inputs {
		e.cache = make([]cached, set.inputs)
	}
	e.cache = e.cache[:max(set.inputs, len(e.cache))]
	e.changed()
}

// changed forgets values that a rewrite or a server variable may have changed.
func (e *evaluation) changed() {
	e.inputValid = false
	for i := range e.cache {
		e.cache[i].valid = false
	}
}

func (e *evaluation) run() (Result, error) {
	s := e.site
	ended := false
	if len(s.global.rules) > 0 || s.global.fault != nil {
		if s.global.fault != nil {
			return e.fail(s.global.fault, nil), nil
		}
		var err error
		if ended, err = e.rules(s.global, "globalRules"); err != nil {
			return Result{}, err
		}
	}
	if !ended && e.stopped && e.open(stopInGlobalRules) {
		ended = true
	}
	if !ended {
		set := s.setFor(e.path)
		if set.fault != nil {
			return e.fail(set.fault, nil), nil
		}
		if _, err := e.rules(set, "rules"); err != nil {
			return Result{}, err
		}
	}
	return e.finish(), nil
}

// finish fills in what holds for every result.
func (e *evaluation) finish() Result {
	r := &e.result
	if r.Outcome == "" {
		r.Outcome = Passed
		if e.rewritten {
			r.Outcome = Rewritten
		}
		r.URL = e.absolute + joinQuery(e.path, e.query)
	}
	r.ServerVariables = e.variables
	r.path, r.query, r.rewritten = e.path, e.query, e.rewritten
	return *r
}

// fail ends the evaluation with an error of IIS.
func (e *evaluation) fail(fault *Fault, b *boundRule) Result {
	e.result = Result{Outcome: Error, Status: fault.Status, SubStatus: fault.SubStatus, Fault: fault}
	if b != nil {
		e.result.Rule, e.result.Level = b.name, b.level
	}
	return e.finish()
}

// rules evaluates the rules of a place in order. ended says that the request goes no further.
func (e *evaluation) rules(set *ruleSet, section string) (ended bool, err error) {
	e.enter(set)
	e.stopped = false
	for i := range set.rules {
		b := &set.rules[i]
		var t *RuleTrace
		if e.trace != nil {
			t = e.trace.begin(section, b)
		}
		if e.absolute != "" && e.open(absoluteRewrite) {
			return false, nil
		}
		switch {
		case b.fault != nil:
			e.fail(b.fault, b)
			t.failed(b.fault)
			return true, nil
		case b.provider != "":
			return false, unsupported("rule %q: rewrite provider %q", b.name, b.provider)
		}
		matched, err := e.matches(b, t)
		if err != nil {
			return e.caught(err, b, t)
		}
		if !matched {
			continue
		}
		if ended, err = e.act(b, t); err != nil {
			return e.caught(err, b, t)
		}
		if ended {
			return true, nil
		}
		if b.stopProcessing {
			e.stopped = true
			if e.result.Rule == "" {
				e.result.Rule, e.result.Level = b.name, b.level
			}
			return false, nil
		}
	}
	return false, nil
}

// caught turns a fault that came up on the way into an outcome.
func (e *evaluation) caught(err error, b *boundRule, t *RuleTrace) (ended bool, _ error) {
	if known, ok := errors.AsType[*FaultError](err); ok {
		fault := &known.Fault
		if fault.Element == "" {
			fault = b.faultAt("", fault.Reason)
		}
		e.fail(fault, b)
		t.failed(fault)
		return true, nil
	}
	return false, fmt.Errorf("rule %q: %w", b.name, err)
}

// matches tells whether a rule's pattern and conditions are met.
func (e *evaluation) matches(b *boundRule, t *RuleTrace) (bool, error) {
	if !e.inputValid || e.inputFolder != b.folder {
		e.input.set(e.relative(b.folder))
		e.inputFolder, e.inputValid = b.folder, true
	}
	e.rule, e.condition, e.negated = e.rule[:0], e.condition[:0], false
	matched, err := e.pattern(b.pattern, &e.input, b.ruleCaptures || t != nil, &e.rule)
	if err != nil {
		return false, err
	}
	if !b.hasPattern && e.open(missingMatch) {
		matched = false
	}
	t.matched(e.input.text, matched, e.rule)
	if matched == b.negate {
		return false, nil
	}
	if b.negate {
		e.rule, e.negated, e.negatedInput = e.rule[:0], true, e.input.text
	}
	if len(b.conditions.list) == 0 {
		return true, nil
	}
	return e.holds(&b.conditions, b.slots, b.conditionCaptures, t)
}

// relative returns the path as the rules of a folder see it.
func (e *evaluation) relative(folder string) string {
	switch {
	case !inFolder(e.path, folder):
		e.noted |= outsideLevel
		return strings.TrimPrefix(e.path, "/")
	case len(e.path) < len(folder):
		return ""
	}
	return e.path[len(folder):]
}

// pattern matches a pattern, with captures if they are needed.
func (e *evaluation) pattern(p *pattern, in *subject, needed bool, captures *[]string) (matched bool, err error) {
	if p.anchors && !in.line && e.open(lineAnchors) {
		p = p.lines()
	}
	if p.unknown != "" {
		return e.open(unknownPattern), nil
	}
	var ran bool
	if needed {
		*captures, matched, ran, err = p.capture(in, (*captures)[:0])
	} else {
		matched, ran, err = p.match(in)
	}
	if err == nil && ran {
		err = e.tick()
	}
	return matched, err
}

// tick ends evaluations that take too long in all. The time up to the first limit is not
// measured, as in again.
func (e *evaluation) tick() error {
	e.runs++
	if e.runs%checkEvery != 0 {
		return nil
	}
	now := time.Now()
	switch {
	case e.start.IsZero():
		e.start = now
	case now.Sub(e.start) <= maxEvaluation:
	case e.patience.clock != nil && e.patience.counts(maxEvaluation):
		return fmt.Errorf("%w: all rules together took more than %s", ErrTooExpensive, maxEvaluation)
	default:
		e.start, e.patience.clock = now, processorTime
		e.patience.begin()
	}
	return nil
}

// holds evaluates conditions.
func (e *evaluation) holds(list *conditions, slots []int, needed bool, t *RuleTrace) (bool, error) {
	var found []string
	some := false
	for i := range list.list {
		c := &list.list[i]
		slot := -1
		if slots != nil {
			slot = slots[i]
		}
		in, ok, err := e.conditionInput(c, slot)
		if err != nil {
			return false, err
		}
		if !ok {
			t.condition(c, "", false, false)
			return false, nil
		}
		matched, err := e.conditionMatches(c, in, needed, &found)
		if err != nil {
			return false, err
		}
		holds := matched != c.negate
		if e.unknown && e.open(unknownVariable) {
			holds = !holds
		}
		t.condition(c, in.text, matched, holds)
		if needed {
			e.collect(list, c, matched, found)
		}
		switch {
		case !list.any && !holds:
			return false, nil
		case list.any && holds:
			some = true
			if !needed || !list.trackAll || i == len(list.list)-1 || !e.open(matchAnyCaptures) {
				return true, nil
			}
		}
	}
	return some || !list.any, nil
}

// collect keeps the captures of a condition as {C:n}.
func (e *evaluation) collect(list *conditions, c *condition, matched bool, found []string) {
	switch {
	case c.matchType != matchPattern:
	case !matched || c.negate:
		if c.negate && !list.trackAll && len(e.condition) > 0 && e.open(negatedConditionCaptures) {
			e.condition = e.condition[:0]
		}
	case list.trackAll && len(e.condition) > 0:
		if len(found) > 0 {
			e.condition = append(e.condition, found[1:]...)
		}
	default:
		e.condition = append(e.condition[:0], found...)
	}
}

// conditionInput gives the input of a condition its value; ok is false if a function failed.
func (e *evaluation) conditionInput(c *condition, slot int) (in *subject, ok bool, err error) {
	if slot >= 0 && e.cache[slot].valid {
		known := &e.cache[slot]
		e.unknown = known.unknown
		return &known.subject, known.ok, nil
	}
	e.unknown = false
	text := ""
	if c.matchType != matchPattern && e.site.options.Files == nil {
		// What the path is does not matter if nobody can look.
		return &subject{text: c.input.text}, true, nil
	}
	if c.matchType != matchPattern && !c.hasInput {
		text, ok = e.physicalPath(), true
	} else if text, ok, err = e.expand(c.input); err != nil {
		return nil, false, err
	}
	known := &e.single
	if slot >= 0 {
		known = &e.cache[slot]
	}
	known.subject.set(text)
	known.valid, known.ok, known.unknown = true, ok, e.unknown
	return &known.subject, ok, nil
}

func (e *evaluation) conditionMatches(c *condition, in *subject, needed bool, found *[]string) (bool, error) {
	files := e.site.options.Files
	switch c.matchType {
	case matchFile:
		if files == nil {
			return e.open(fileExistence), nil
		}
		return files.IsFile(in.text), nil
	case matchDirectory:
		if files == nil {
			return e.open(directoryExistence), nil
		}
		return files.IsDirectory(in.text), nil
	case matchPattern:
	}
	return e.pattern(c.pattern, in, needed, found)
}

func (e *evaluation) physicalPath() string {
	if e.site.options.Files == nil {
		return e.path
	}
	return e.site.options.Files.PhysicalPath(e.path)
}
