package rewrite

import (
	"fmt"
	"slices"
	"strings"
)

// act does what a rule that matches says. ended says that the request goes no further.
func (e *evaluation) act(b *boundRule, t *RuleTrace) (ended bool, err error) {
	if err := e.setVariables(b); err != nil {
		return false, err
	}
	a := &b.action
	switch a.kind {
	case actionNone:
		t.did("nothing")
		return false, nil
	case actionAbort:
		e.end(b, Result{Outcome: Aborted})
		t.did("drops the connection")
		return true, nil
	case actionRespond:
		return true, e.respond(b, t)
	case actionRedirect:
		location, err := e.substitution(a.url, b, "/action")
		if err != nil {
			return false, err
		}
		location = e.location(location, b.folder)
		if a.appendQuery {
			location = appendQuery(location, e.query)
		}
		e.end(b, Result{Outcome: Redirected, Status: a.status, URL: location})
		t.did("sends the client to " + location)
		return true, nil
	case actionRewrite:
		if err := e.rewrite(b); err != nil {
			return false, err
		}
		t.did("rewrites to " + e.absolute + joinQuery(e.path, e.query))
	}
	return false, nil
}

func (e *evaluation) end(b *boundRule, result Result) {
	result.Rule, result.Level = b.name, b.level
	e.result = result
}

func (e *evaluation) respond(b *boundRule, t *RuleTrace) error {
	reason, err := e.substitution(b.action.reason, b, "/action")
	if err != nil {
		return err
	}
	description, err := e.substitution(b.action.description, b, "/action")
	if err != nil {
		return err
	}
	e.end(b, Result{
		Outcome: Responded, Status: b.action.status, SubStatus: b.action.subStatus, Reason: reason, Description: description,
	})
	t.did(fmt.Sprintf("answers %d.%d", b.action.status, b.action.subStatus))
	return nil
}

// substitution expands a text of an action. A function that fails there has no documented
// result other than an error.
func (e *evaluation) substitution(t *template, b *boundRule, element string) (string, error) {
	text, ok, err := e.expand(t)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", b.faultAt(element, "a function cannot decode its argument").Err()
	}
	return text, nil
}

func (b *boundRule) faultAt(element, reason string) *Fault {
	fault := b.at
	fault.Element, fault.Reason = b.at.Element+element, reason
	return &fault
}

func (e *evaluation) setVariables(b *boundRule) error {
	if len(b.variables) == 0 {
		return nil
	}
	if forbidden := b.forbidden(e.set); len(forbidden) > 0 {
		return forbidden[0].Err()
	}
	for i := range b.variables {
		v := &b.variables[i]
		value, err := e.substitution(v.value, b, "/serverVariables/set["+itoa(i+1)+"]")
		if err != nil {
			return err
		}
		if !v.replace {
			if e.variable(v.name) != "" {
				continue
			}
		}
		// A new slice, since results of other readings may hold the old one.
		e.variables = append(slices.Clip(e.variables), Variable{Name: v.name, Value: value})
		e.changed()
	}
	return nil
}

// rewrite gives the request another URL.
func (e *evaluation) rewrite(b *boundRule) error {
	target, err := e.substitution(b.action.url, b, "/action")
	if err != nil {
		return err
	}
	path, query, _ := strings.Cut(target, "?")
	if b.action.appendQuery {
		query = strings.TrimPrefix(appendQuery("?"+query, e.query), "?")
	}
	if scheme, rest, ok := strings.Cut(path, "://"); ok && isScheme(scheme) {
		host, tail, _ := strings.Cut(rest, "/")
		e.absolute = scheme + "://" + host
		path = "/" + tail
	} else if !strings.HasPrefix(path, "/") {
		path = b.folder + path
	}
	if strings.Contains(path, "%") && e.open(encodedRewrite) {
		path, _ = percentDecode(path, false)
	}
	if len(path)+len(query) > maxExpansion {
		return b.faultAt("/action", fmt.Sprintf("the URL is longer than %d bytes", maxExpansion)).Err()
	}
	e.path, e.query, e.rewritten = path, query, true
	e.result.Rule, e.result.Level = b.name, b.level
	e.result.LogRewrittenURL = e.result.LogRewrittenURL || b.action.logURL
	if b.originalEncodingOff {
		e.noted |= originalURLEncoding
	}
	if !b.global && e.absolute == "" {
		e.noteMove()
	}
	e.changed()
	return nil
}

// noteMove notes that a rule of a site moves the request into a folder whose own rules were
// not chosen when the evaluation began.
func (e *evaluation) noteMove() {
	now := e.site.setFor(e.path)
	if now == e.set || strings.HasPrefix(e.set.folder, now.folder) {
		return
	}
	for i := range now.rules {
		if !strings.HasPrefix(e.set.folder, strings.ToLower(now.rules[i].folder)) {
			e.noted |= rewrittenIntoLevel
			return
		}
	}
}

// location makes the URL of a redirect absolute, as IIS does.
func (e *evaluation) location(target, folder string) string {
	scheme, _, ok := strings.Cut(target, "://")
	switch {
	case ok && isScheme(scheme):
		return target
	case strings.HasPrefix(target, "/"):
		return e.request.origin() + target
	}
	return e.request.origin() + folder + target
}

func isScheme(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// appendQuery adds the query of a request to a URL that may have one.
func appendQuery(url, query string) string {
	switch {
	case query == "":
		return url
	case strings.HasSuffix(url, "?"):
		return url + query
	case strings.Contains(url, "?"):
		return url + "&" + query
	}
	return url + "?" + query
}
