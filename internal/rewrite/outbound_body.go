package rewrite

import (
	"cmp"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

// maxOccurrences bounds the replacements of one rule in one response: a page has a few
// hundred links, and each may cost a run of all rules.
const maxOccurrences = 100_000

// rewriteTags gives the attributes that rules filter by to these rules, one after the
// other, each with what the rule before made of it.
func (o *outboundEvaluation) rewriteTags(rules []int) (changed bool, err error) {
	if len(rules) == 0 {
		return false, nil
	}
	body := string(o.result.Body)
	var out strings.Builder
	done := 0
	counts := make([]int64, len(rules))
	total := 0
	err = eachAttribute(body, func(a attribute) error {
		if total++; total > maxOccurrences {
			return unsupported("more than %d attributes in a response", maxOccurrences)
		}
		value := body[a.start:a.end]
		for n, i := range rules {
			b := &o.set.outbound.rules[i]
			if !b.filters(a) || b.occurrences > 0 && counts[n] >= b.occurrences {
				continue
			}
			next, matched, err := o.applyTo(b, value)
			if err != nil {
				return err
			}
			if !matched {
				continue
			}
			counts[n]++
			if b.rewrite {
				value = next
				o.applied[i], changed = true, true
			}
			if b.stopProcessing {
				break
			}
		}
		if value != body[a.start:a.end] {
			out.WriteString(body[done:a.start])
			out.WriteString(value)
			done = a.end
			if out.Len() > MaxResponseBody {
				return unsupported("rules make a response larger than %d bytes", MaxResponseBody)
			}
		}
		return nil
	})
	if err != nil || done == 0 {
		return changed, err
	}
	out.WriteString(body[done:])
	o.result.Body = []byte(out.String())
	return changed, nil
}

func (b *boundOutbound) filters(a attribute) bool {
	for _, t := range b.tags {
		if strings.EqualFold(t.element, a.element) && strings.EqualFold(t.attribute, a.name) {
			return true
		}
	}
	return false
}

// rewriteContent applies rules to the whole content, one after the other.
func (o *outboundEvaluation) rewriteContent(rules []int) (changed bool, err error) {
	for _, i := range rules {
		b := &o.set.outbound.rules[i]
		body := string(o.result.Body)
		text, matched, err := o.replaceAll(b, body)
		if err != nil {
			return changed, err
		}
		if matched && b.rewrite {
			o.applied[i], changed = true, true
			o.result.Body = []byte(text)
		}
		if matched && b.stopProcessing {
			break
		}
	}
	return changed, nil
}

// replaceAll replaces what a rule finds in a text, up to its number of occurrences.
func (o *outboundEvaluation) replaceAll(b *boundOutbound, text string) (replaced string, matched bool, err error) {
	if b.negate {
		value, matched, err := o.applyTo(b, text)
		return value, matched, err
	}
	if b.pattern.anchors && strings.ContainsAny(text, "\r\n") {
		o.touched |= lineAnchors
	}
	if b.pattern.unknown != "" {
		o.touched |= unknownPattern
		return text, false, nil
	}
	var out strings.Builder
	done := 0
	count := int64(0)
	err = b.pattern.each(text, func(start, end int, captures []string) (bool, error) {
		if err := o.tick(); err != nil {
			return false, err
		}
		o.rule, o.evaluation.condition, o.negated = append(o.rule[:0], captures...), o.evaluation.condition[:0], false
		value, ok, err := o.conclude(b)
		if err != nil {
			return false, err
		}
		if ok {
			matched = true
			if b.rewrite {
				out.WriteString(text[done:start])
				out.WriteString(value)
				done = end
			}
			if out.Len() > MaxResponseBody {
				return false, unsupported("rules make a response larger than %d bytes", MaxResponseBody)
			}
		}
		count++
		if count >= maxOccurrences {
			return false, unsupported("more than %d matches in a response", maxOccurrences)
		}
		return b.occurrences == 0 || count < b.occurrences, nil
	})
	if err != nil {
		return "", false, err
	}
	out.WriteString(text[done:])
	return out.String(), matched, nil
}

// each calls visit for every match, until it says to stop. Places are those of bytes.
func (p *pattern) each(text string, visit func(start, end int, captures []string) (bool, error)) error {
	if p.syntax == ExactMatch {
		for from := 0; p.text != "" && from <= len(text); {
			at := p.find(text[from:])
			if at < 0 {
				return nil
			}
			start := from + at
			end := start + len(p.text)
			if more, err := visit(start, end, []string{text[start:end]}); err != nil || !more {
				return err
			}
			from = end
		}
		return nil
	}
	if p.re == nil {
		return nil
	}
	var in subject
	in.set(text)
	var failed error
	// at is the place in bytes of the character number before. visited are the matches of
	// an earlier attempt: they come again in the same order.
	at, before, number, visited := 0, 0, 0, 0
	find := func() error {
		at, before, number = 0, 0, 0
		return p.re.FindRunesMatches(in.characters(), 0, func(found regexp2.MatchView) bool {
			if number++; number <= visited {
				return true
			}
			visited = number
			index, length, _ := found.GroupRange(0)
			start := at + skip(text[at:], index-before)
			end := start + skip(text[start:], length)
			at, before = end, index+length
			var more bool
			more, failed = visit(start, end, p.groupsOf(&in, found, nil))
			return more && failed == nil
		})
	}
	err := find()
	if err != nil {
		err = p.again(err, find)
	}
	return cmp.Or(err, failed)
}

// attribute is an attribute of a start tag; start and end enclose its value without quotes.
type attribute struct {
	element, name string
	start, end    int
}

// eachAttribute finds the attributes of start tags in HTML. It is no parser of HTML, as the
// module is none: comments are skipped, and so is what stands in <script> and <style>.
func eachAttribute(body string, visit func(attribute) error) error {
	for pos := 0; ; {
		open := strings.IndexByte(body[pos:], '<')
		if open < 0 {
			return nil
		}
		pos += open + 1
		if strings.HasPrefix(body[pos:], "!--") {
			end := strings.Index(body[pos:], "-->")
			if end < 0 {
				return nil
			}
			pos += end
			continue
		}
		if pos == len(body) || !isLetter(body[pos]) {
			continue
		}
		start := pos
		for pos < len(body) && !isSpace(body[pos]) && body[pos] != '>' && body[pos] != '/' {
			pos++
		}
		element := body[start:pos]
		var err error
		if pos, err = tagAttributes(body, pos, element, visit); err != nil {
			return err
		}
		if strings.EqualFold(element, "script") || strings.EqualFold(element, "style") {
			pos = skipRaw(body, pos, element)
		}
	}
}

// skipRaw moves to the end tag of an element whose content is no HTML.
func skipRaw(body string, pos int, element string) int {
	for at := pos; ; {
		end := strings.Index(body[at:], "</")
		if end < 0 {
			return len(body)
		}
		at += end + 2
		if len(body)-at >= len(element) && strings.EqualFold(body[at:at+len(element)], element) {
			return at
		}
	}
}

// tagAttributes visits the attributes of one start tag and returns where it ends.
func tagAttributes(body string, pos int, element string, visit func(attribute) error) (int, error) {
	for {
		for pos < len(body) && (isSpace(body[pos]) || body[pos] == '/') {
			pos++
		}
		if pos >= len(body) || body[pos] == '>' {
			return min(pos+1, len(body)), nil
		}
		start := pos
		for pos < len(body) && !isSpace(body[pos]) && strings.IndexByte("=>/", body[pos]) < 0 {
			pos++
		}
		name := body[start:pos]
		for pos < len(body) && isSpace(body[pos]) {
			pos++
		}
		if pos >= len(body) || body[pos] != '=' {
			if pos == start {
				pos++
			}
			continue
		}
		pos++
		for pos < len(body) && isSpace(body[pos]) {
			pos++
		}
		a := attribute{element: element, name: name}
		var closed bool
		if a.start, a.end, pos, closed = attributeValue(body, pos); !closed {
			return pos, nil
		}
		if err := visit(a); err != nil {
			return pos, err
		}
	}
}

// attributeValue finds the value that begins at pos, and where what follows it begins. closed
// is false for a quote without end.
func attributeValue(body string, pos int) (start, end, next int, closed bool) {
	if pos < len(body) && (body[pos] == '"' || body[pos] == '\'') {
		length := strings.IndexByte(body[pos+1:], body[pos])
		if length < 0 {
			return len(body), len(body), len(body), false
		}
		return pos + 1, pos + 1 + length, pos + length + 2, true
	}
	end = pos
	for end < len(body) && !isSpace(body[end]) && body[end] != '>' {
		end++
	}
	return pos, end, end, true
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n\f", c) >= 0 }
