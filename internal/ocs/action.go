package ocs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

var actionVocabulary = vocabulary{
	attributes: []string{"id", "type", "scope", "target", "desc", "acknowledgeCost"},
	children:   map[string]int{"Value": 1},
}

// wantedValue gives the one value of every type but UrlRewrite.
var wantedValue = map[ActionType]string{
	DoNothing: ValueDoNothing,
	AppPool:   ValueStopped,
	Service:   ValueDisabled,
}

func parseAction(node *xmltree.Node, canonical []byte, defaultID, where string) (Action, error) {
	a := Action{ID: defaultID}
	if err := actionVocabulary.check(node, where); err != nil {
		return a, err
	}
	if id, ok := node.Attr("id"); ok {
		a.ID = id
	}
	// A default id can be too long as well, three characters before the Config's is.
	if !ValidID(a.ID) {
		return a, refuse(ReasonInvalidValue, "%s: id %q is no id such as \"M2.1\" of at most %d characters", where, shown(a.ID), MaxIDLength)
	}
	text, err := required(node, "type", where)
	if err != nil {
		return a, err
	}
	if a.Type, err = oneOf(text, "type", where, DoNothing, URLRewrite, AppPool, Service); err != nil {
		return a, err
	}
	if text, err = required(node, "scope", where); err != nil {
		return a, err
	}
	if a.Scope, err = oneOf(text, "scope", where, ScopeServer, ScopeSite); err != nil {
		return a, err
	}
	if a.Description, err = limited(node, "desc", MaxActionDescriptionLength, where); err != nil {
		return a, err
	}
	if err := a.parseTarget(node, where); err != nil {
		return a, err
	}
	if err := a.parseAcknowledgedCost(node, where); err != nil {
		return a, err
	}
	value := node.Child("Value")
	if value == nil {
		return a, refuse(ReasonMissingContent, "%s: no Value", where)
	}
	return a, at(value, a.parseValue(value, canonical, where+": Value"))
}

func (a *Action) parseTarget(node *xmltree.Node, where string) error {
	target, ok := node.Attr("target")
	if !ok {
		switch {
		case a.Type == AppPool || a.Type == Service:
			return refuse(ReasonMissingContent, "%s: an action of type %s needs a target", where, a.Type)
		case a.Type == URLRewrite && a.Scope == ScopeSite:
			a.Target = DefaultTarget
		}
		return nil
	}
	if a.Type == URLRewrite && a.Scope == ScopeServer {
		return refuse(ReasonInvalidValue, "%s: target %q beside scope Server; use scope Site, or leave the target out", where, shown(target))
	}
	if err := checkTarget(a.Type, target); err != nil {
		return refuse(ReasonInvalidValue, "%s: target %q: %v", where, shown(target), err)
	}
	a.Target = target
	return nil
}

// Characters that a target must not have, beside control characters. An asterisk would
// mean everything somewhere on the way; the others are refused by IIS in names of sites
// and pools, or by Windows in names of services.
const (
	notInSite    = `*?"<>|\`
	notInPool    = "*?\"<>|\\/&[]+=;:,@`"
	notInService = `*?"<>|\/`
)

func checkTarget(kind ActionType, target string) error {
	if err := length(target, MaxTargetLength); err != nil {
		return err
	}
	var refused string
	switch kind {
	case AppPool:
		refused = notInPool
	case Service:
		refused = notInService
	case URLRewrite, DoNothing:
		refused = notInSite
	}
	if strings.ContainsAny(target, refused) {
		return fmt.Errorf("has one of the characters %s", refused)
	}
	if strings.ContainsFunc(target, unicode.IsControl) {
		return errors.New("has control characters")
	}
	for segment := range strings.SplitSeq(target, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.TrimSpace(segment) != segment {
			return errors.New("has an empty part, a dot part, or white space around a part")
		}
	}
	return nil
}

func (a *Action) parseValue(node *xmltree.Node, canonical []byte, where string) error {
	text := xmltree.TrimSpace(node.Text)
	if a.Type != URLRewrite {
		if err := (vocabulary{text: true}).check(node, where); err != nil {
			return err
		}
		if want := wantedValue[a.Type]; text != want {
			return refuse(ReasonInvalidValue, "%s: %q, an action of type %s has %q", where, shown(text), a.Type, want)
		}
		a.Value = text
		return nil
	}
	if err := (vocabulary{children: map[string]int{"rewrite": 1}}).check(node, where); err != nil {
		return err
	}
	rewrite := node.Child("rewrite")
	if rewrite == nil {
		return refuse(ReasonMissingContent, "%s: no <rewrite> element", where)
	}
	if err := checkRewrite(rewrite, a.Scope); err != nil {
		return at(rewrite, refuse(ReasonInvalidRewrite, "%s: %v", where, err))
	}
	a.Rewrite = bytes.Clone(rewrite.Raw(canonical))
	return nil
}

// sortedKeys makes messages that list a set deterministic.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
