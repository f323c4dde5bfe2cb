package rewrite

import (
	"net/http"
	"slices"
	"strings"
)

// MaxResponseBody is how much of a response body outbound rules are evaluated for, in bytes.
// The module itself works on the chunks of a response; here the whole body is in memory.
const MaxResponseBody = 8 << 20

// Response is what outbound rules see of a response. They never change it.
type Response struct {
	// Status is the status code.
	Status int
	// Header holds the headers.
	Header http.Header
	// Body is the content, at most MaxResponseBody.
	Body []byte
}

// ResponseResult is what outbound rules make of a response.
type ResponseResult struct {
	// Outcome is Passed, Rewritten or Error.
	Outcome Outcome `json:"outcome"`
	// Status is that of the response, or 500 for Error; SubStatus is set for Error.
	Status    int `json:"status"`
	SubStatus int `json:"subStatus,omitempty"`
	// Header and Body are the response after the rules. They are the very ones of the
	// Response if no rule changed them.
	Header http.Header `json:"-"`
	Body   []byte      `json:"-"`
	// Rules names the rules that changed something, in the order of the configuration.
	Rules []string `json:"rules,omitempty"`
	// Fault says what is wrong for Error.
	Fault *Fault `json:"fault,omitempty"`
	// Uncertain names the open points that came up. Unlike for requests, they are not
	// tried out.
	Uncertain []OpenPoint `json:"uncertain,omitempty"`
}

// outboundSet is the outbound rules that act in one place.
type outboundSet struct {
	rules         []boundOutbound
	preConditions map[string]*preCondition
	beforeCache   bool
	problems      []Fault
}

type boundOutbound struct {
	*outboundRule
	level string
	tags  []tag
	fault *Fault
}

// outbound merges the outbound rules of a place.
func (m *merger) outbound() {
	out := &m.set.outbound
	out.preConditions = map[string]*preCondition{}
	for _, e := range mergeChain(m, func(c *Configuration) *section[preCondition] { return &c.preConditions }) {
		out.preConditions[e.key] = e.item
	}
	lists := map[string]*tagList{}
	for _, e := range mergeChain(m, func(c *Configuration) *section[tagList] { return &c.customTags }) {
		lists[e.key] = e.item
	}
	for _, i := range m.chain {
		if before := m.site.levels[i].Config.beforeCache; before != nil {
			out.beforeCache = *before
		}
	}
	for _, e := range mergeChain(m, func(c *Configuration) *section[outboundRule] { return &c.outbound }) {
		if !e.item.enabled {
			continue
		}
		b := boundOutbound{outboundRule: e.item, level: m.site.levels[e.level].Name, tags: slices.Clone(e.item.tags)}
		if b.customTags != "" && b.tagsFilter {
			if list := lists[strings.ToLower(b.customTags)]; list != nil {
				merged, _ := merge(nil, list.tags.changes, 0)
				for _, t := range merged {
					b.tags = append(b.tags, *t.item)
				}
			} else {
				b.fault = b.problem("/match", "custom tags \""+b.customTags+"\" are not defined")
			}
		}
		out.rules = append(out.rules, b)
	}
}

func (out *outboundRule) problem(element, reason string) *Fault {
	fault := out.at
	fault.Element, fault.Reason = out.at.Element+element, reason
	return &fault
}

// check looks for what IIS refuses when a response reaches a rule.
func (out *outboundSet) check(set *ruleSet) {
	for i := range out.rules {
		b := &out.rules[i]
		var faults []Fault
		if b.fault != nil {
			faults = append(faults, *b.fault)
		}
		faults = append(faults, b.faults...)
		if b.preCondition != "" {
			if p := out.preConditions[strings.ToLower(b.preCondition)]; p == nil {
				faults = append(faults, *b.problem("", "precondition \""+b.preCondition+"\" is not defined"))
			} else {
				faults = append(faults, p.faults...)
			}
		}
		for _, t := range append(b.conditions.templates(), b.value) {
			t.maps(func(name string) {
				if set.maps[name] == nil {
					faults = append(faults, *b.problem("", "rewrite map \""+name+"\" is not defined"))
				}
			})
		}
		if len(faults) > 0 {
			b.fault = &faults[0]
		}
		out.problems = append(out.problems, faults...)
	}
	if out.beforeCache {
		for i := range out.problems {
			out.problems[i].SubStatus = subStatusBeforeCache
		}
	}
}

// EvaluateResponse applies the outbound rules to the response to a request. inbound is what
// Evaluate said about the request: the rules see the URL and the server variables as they
// were when the site got it.
func (s *Site) EvaluateResponse(request Request, inbound Result, response Response) (ResponseResult, error) {
	if len(response.Body) > MaxResponseBody {
		return ResponseResult{}, unsupported("response of %d bytes, evaluated are %d", len(response.Body), MaxResponseBody)
	}
	path, err := cookPath(request.Path)
	if err != nil {
		return ResponseResult{}, err
	}
	e := evaluations.Get().(*evaluation) //nolint:forcetypeassert // the pool has nothing else
	defer e.release()
	e.site, e.request, e.cooked, e.response = s, &request, path, &response
	e.begin(0)
	e.variables, e.rewritten = inbound.ServerVariables, inbound.rewritten
	if inbound.path != "" {
		e.path, e.query = inbound.path, inbound.query
	}
	set := s.setFor(e.path)
	result := ResponseResult{Outcome: Passed, Status: response.Status, Header: response.Header, Body: response.Body}
	if set.fault != nil {
		return result.failed(set.fault, set), nil
	}
	e.enter(set)
	o := &outboundEvaluation{evaluation: e, set: set, result: &result, applied: map[int]bool{}}
	if fault, err := o.run(); err != nil {
		return ResponseResult{}, err
	} else if fault != nil {
		return result.failed(fault, set), nil
	}
	for i := range set.outbound.rules {
		if o.applied[i] {
			result.Outcome = Rewritten
			result.Rules = append(result.Rules, set.outbound.rules[i].name)
		}
	}
	result.Uncertain = (e.touched | e.noted).points()
	return result, nil
}

func (r ResponseResult) failed(fault *Fault, set *ruleSet) ResponseResult {
	shown := *fault
	if shown.SubStatus == subStatusOutbound && set.outbound.beforeCache {
		shown.SubStatus = subStatusBeforeCache
	}
	return ResponseResult{Outcome: Error, Status: shown.Status, SubStatus: shown.SubStatus, Fault: &shown}
}

// outboundEvaluation is one response on its way through the outbound rules.
type outboundEvaluation struct {
	*evaluation
	set    *ruleSet
	result *ResponseResult
	// applied are the rules that changed something.
	applied map[int]bool
	// header says that the headers are a copy already.
	header bool
}

// active lists the rules whose precondition holds.
func (o *outboundEvaluation) active() (rules []int, fault *Fault, err error) {
	met := map[*preCondition]bool{}
	for i := range o.set.outbound.rules {
		b := &o.set.outbound.rules[i]
		if b.fault != nil {
			return nil, b.fault, nil
		}
		if b.preCondition != "" {
			p := o.set.outbound.preConditions[strings.ToLower(b.preCondition)]
			holds, known := met[p]
			if !known {
				o.condition = o.condition[:0]
				if holds, err = o.holds(&p.conditions, nil, true, nil); err != nil {
					return nil, nil, err
				}
				met[p] = holds
			}
			if !holds {
				continue
			}
		}
		rules = append(rules, i)
	}
	return rules, nil, nil
}

func (o *outboundEvaluation) run() (*Fault, error) {
	active, fault, err := o.active()
	if err != nil || fault != nil {
		return fault, err
	}
	var headers, tags, content []int
	for _, i := range active {
		switch b := &o.set.outbound.rules[i]; {
		case b.variable != "":
			headers = append(headers, i)
		case b.tagsFilter:
			tags = append(tags, i)
		default:
			content = append(content, i)
		}
	}
	if bodies := slices.Concat(tags, content); len(bodies) > 0 {
		if encoding := o.response.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
			b := &o.set.outbound.rules[slices.Min(bodies)]
			return b.problem("", "outbound rewrite rules cannot be applied when the content of the HTTP response is encoded (\""+firstOf(encoding)+"\")"), nil
		}
	}
	for _, i := range headers {
		stop, err := o.rewriteHeader(i)
		if err != nil {
			return nil, err
		}
		if stop {
			break
		}
	}
	changed, err := o.rewriteTags(tags)
	if err != nil {
		return nil, err
	}
	again, err := o.rewriteContent(content)
	if changed && again {
		o.noted |= contentAfterTags
	}
	return nil, err
}

// rewriteHeader applies a rule to a response header or a server variable. stop says that it
// ends the processing.
func (o *outboundEvaluation) rewriteHeader(i int) (stop bool, err error) {
	b := &o.set.outbound.rules[i]
	name, isHeader := strings.CutPrefix(b.variable, "RESPONSE_")
	old := o.variable(b.variable)
	value, matched, err := o.applyTo(b, old)
	if err != nil || !matched {
		return false, err
	}
	if b.rewrite && (b.replace || old == "") {
		o.applied[i] = true
		if isHeader {
			o.setHeader(strings.ReplaceAll(name, "_", "-"), value)
		} else {
			o.variables = append(slices.Clip(o.variables), Variable{Name: b.variable, Value: value})
		}
	}
	return b.stopProcessing, nil
}

func (o *outboundEvaluation) setHeader(name, value string) {
	if !o.header {
		o.header = true
		o.result.Header = o.result.Header.Clone()
		if o.result.Header == nil {
			o.result.Header = http.Header{}
		}
		changed := *o.response
		changed.Header = o.result.Header
		o.response = &changed
	}
	for key := range o.result.Header {
		if strings.EqualFold(key, name) {
			delete(o.result.Header, key)
		}
	}
	// An empty value removes the header.
	if value != "" {
		o.result.Header.Set(name, value)
	}
}

// applyTo evaluates a rule for one input and returns what the action makes of it.
func (o *outboundEvaluation) applyTo(b *boundOutbound, input string) (value string, matched bool, err error) {
	in := &o.input
	in.set(input)
	o.inputValid = false
	o.rule, o.evaluation.condition, o.negated = o.rule[:0], o.evaluation.condition[:0], false
	if matched, err = o.pattern(b.pattern, in, true, &o.rule); err != nil {
		return "", false, err
	}
	if b.pattern.syntax == ExactMatch && !matched {
		matched = b.pattern.contains(input)
		if matched {
			o.rule = append(o.rule[:0], b.pattern.text)
		}
	}
	if matched == b.negate {
		return "", false, nil
	}
	if b.negate {
		o.rule, o.negated, o.negatedInput = o.rule[:0], true, input
	}
	return o.conclude(b)
}

// conclude evaluates the conditions and the action of a rule whose pattern is met.
func (o *outboundEvaluation) conclude(b *boundOutbound) (value string, matched bool, err error) {
	if len(b.conditions.list) > 0 {
		if matched, err = o.holds(&b.conditions, nil, true, nil); err != nil || !matched {
			return "", false, err
		}
	}
	if !b.rewrite {
		return "", true, nil
	}
	value, ok, err := o.expand(b.value)
	return value, err == nil && ok, err
}

// contains is the search of an outbound ExactMatch.
func (p *pattern) contains(input string) bool { return p.find(input) >= 0 }

func (p *pattern) find(input string) int {
	if !p.ignoreCase {
		return strings.Index(input, p.text)
	}
	// Folded letter by letter, so that places are those of the input.
	fold := func(s string) string {
		b := []byte(s)
		for i, c := range b {
			if 'A' <= c && c <= 'Z' {
				b[i] = c + 'a' - 'A'
			}
		}
		return string(b)
	}
	return strings.Index(fold(input), fold(p.text))
}
