package ocs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs/xmltree"
)

// idPattern is the grammar of ids of Configs and Actions.
var idPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[0-9]+)*$`)

// referencePattern is the grammar of identifiers of holes: those of CVE and of vendors.
var referencePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

var (
	configVocabulary = vocabulary{
		attributes: []string{"id", "revision", "severity", "cve", "supersedes", "desc"},
		children:   map[string]int{"Applicability": 1, "SideEffects": 1, "ActionList": 1, "Samples": 1},
	}
	applicabilityVocabulary = vocabulary{children: map[string]int{"Product": MaxProducts}}
	productVocabulary       = vocabulary{attributes: []string{"name", "role"}, children: map[string]int{"Branch": MaxBranches}}
	branchVocabulary        = vocabulary{attributes: []string{"from", "fixedIn"}}
	sideEffectsVocabulary   = vocabulary{children: map[string]int{"SideEffect": MaxSideEffects}}
	sideEffectVocabulary    = vocabulary{text: true}
	actionListVocabulary    = vocabulary{children: map[string]int{"Action": MaxActions}}
	samplesVocabulary       = vocabulary{children: map[string]int{"Sample": MaxSamples}}
	sampleVocabulary        = vocabulary{attributes: []string{"expect", "method", "url", "host"}, children: map[string]int{"Header": MaxHeaders}}
	headerVocabulary        = vocabulary{attributes: []string{"name", "value"}}
)

// ValidID reports whether s may be the id of a Config or an Action.
func ValidID(s string) bool {
	return len(s) <= MaxIDLength && idPattern.MatchString(s)
}

// parseConfig reads one Config. The error says which rule it breaks first.
func parseConfig(node *xmltree.Node, canonical []byte) (Config, error) {
	c := Config{}
	var ok bool
	if c.ID, ok = node.Attr("id"); !ok {
		return c, refuse(ReasonInvalidID, "line %d: a Config has no id", node.Line)
	}
	where := fmt.Sprintf("Config %q", shown(c.ID))
	if !ValidID(c.ID) {
		return c, refuse(ReasonInvalidID, "%s: the id is not a letter, letters and digits, and numbers after dots, in at most %d characters, such as \"M1\" or \"M2.1\"", where, MaxIDLength)
	}
	if err := configVocabulary.check(node, where); err != nil {
		return c, err
	}
	for _, step := range []func() error{
		func() error { return c.parseAttributes(node, where) },
		func() error { return c.parseApplicability(node.Child("Applicability"), where) },
		func() error { return c.parseSideEffects(node.Child("SideEffects"), where) },
		func() error { return c.parseActions(node.Child("ActionList"), canonical, where) },
		func() error { return c.parseSamples(node.Child("Samples"), where) },
	} {
		if err := step(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *Config) parseAttributes(node *xmltree.Node, where string) (err error) {
	if c.Description, err = limited(node, "desc", MaxDescriptionLength, where); err != nil {
		return err
	}
	c.Revision = 1
	if text, ok := node.Attr("revision"); ok {
		if c.Revision, err = positive(text); err != nil {
			return refuse(ReasonInvalidValue, "%s: revision: %v", where, err)
		}
	}
	if text, ok := node.Attr("severity"); ok {
		c.Severity, err = oneOf(text, "severity", where, SeverityLow, SeverityModerate, SeverityImportant, SeverityCritical)
		if err != nil {
			return err
		}
	}
	if c.CVEs, err = references(node, "cve", referencePattern, where); err != nil {
		return err
	}
	if c.Supersedes, err = references(node, "supersedes", idPattern, where); err != nil {
		return err
	}
	for _, id := range c.Supersedes {
		if strings.EqualFold(id, c.ID) {
			return refuse(ReasonInvalidValue, "%s: supersedes names the Config itself", where)
		}
	}
	return nil
}

// references reads an attribute of ids separated by white space.
func references(node *xmltree.Node, name string, grammar *regexp.Regexp, where string) ([]string, error) {
	text, _ := node.Attr(name)
	ids := strings.Fields(text)
	if len(ids) > MaxReferences {
		return nil, refuse(ReasonLimitExceeded, "%s: %s has %d ids, allowed are %d", where, name, len(ids), MaxReferences)
	}
	for _, id := range ids {
		if len(id) > MaxIDLength || !grammar.MatchString(id) {
			return nil, refuse(ReasonInvalidValue, "%s: %s: %q is no id", where, name, shown(id))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return ids, nil
}

func (c *Config) parseApplicability(node *xmltree.Node, where string) error {
	if node == nil {
		return nil
	}
	if err := applicabilityVocabulary.check(node, where+": Applicability"); err != nil {
		return err
	}
	for i, child := range node.Children {
		product, err := parseProduct(child, fmt.Sprintf("%s: Product %d", where, i+1))
		if err != nil {
			return at(child, err)
		}
		c.Applicability = append(c.Applicability, product)
	}
	return nil
}

func parseProduct(node *xmltree.Node, where string) (Product, error) {
	p := Product{}
	if err := productVocabulary.check(node, where); err != nil {
		return p, err
	}
	name, err := required(node, "name", where)
	if err != nil {
		return p, err
	}
	if p.Name, err = oneOf(name, "name", where, ProductExchangeServer, ProductSkypeForBusinessServer, ProductSharePointServer, ProductIIS); err != nil {
		return p, err
	}
	if p.Role, err = limited(node, "role", MaxRoleLength, where); err != nil {
		return p, err
	}
	if xmltree.TrimSpace(p.Role) != p.Role {
		return p, refuse(ReasonInvalidValue, "%s: role %q begins or ends with white space", where, p.Role)
	}
	for i, child := range node.Children {
		branch, err := parseBranch(child, fmt.Sprintf("%s: Branch %d", where, i+1))
		if err != nil {
			return p, at(child, err)
		}
		p.Branches = append(p.Branches, branch)
	}
	return p, nil
}

func parseBranch(node *xmltree.Node, where string) (Branch, error) {
	b := Branch{}
	if err := branchVocabulary.check(node, where); err != nil {
		return b, err
	}
	from, hasFrom := node.Attr("from")
	fixedIn, hasFixedIn := node.Attr("fixedIn")
	if !hasFrom && !hasFixedIn {
		return b, refuse(ReasonMissingContent, "%s: neither from nor fixedIn is stated; leave the Branch out for every build", where)
	}
	var err error
	if hasFrom {
		if b.From, err = build.Parse(from); err != nil {
			return b, refuse(ReasonInvalidValue, "%s: from: %v", where, err)
		}
	}
	if hasFixedIn {
		if b.FixedIn, err = build.Parse(fixedIn); err != nil {
			return b, refuse(ReasonInvalidValue, "%s: fixedIn: %v", where, err)
		}
		if b.FixedIn.Compare(b.From) <= 0 {
			return b, refuse(ReasonInvalidValue, "%s: fixedIn %s is not above from %s, so no build is vulnerable", where, b.FixedIn, b.From)
		}
	}
	return b, nil
}

func (c *Config) parseSideEffects(node *xmltree.Node, where string) error {
	if node == nil {
		return nil
	}
	if err := sideEffectsVocabulary.check(node, where+": SideEffects"); err != nil {
		return err
	}
	for i, child := range node.Children {
		where := fmt.Sprintf("%s: SideEffect %d", where, i+1)
		if err := sideEffectVocabulary.check(child, where); err != nil {
			return at(child, err)
		}
		text := xmltree.TrimSpace(child.Text)
		if text == "" {
			return at(child, refuse(ReasonMissingContent, "%s: no text", where))
		}
		if err := length(text, MaxSideEffectLength); err != nil {
			return at(child, refuse(ReasonLimitExceeded, "%s: %v", where, err))
		}
		c.SideEffects = append(c.SideEffects, text)
	}
	return nil
}

func (c *Config) parseActions(node *xmltree.Node, canonical []byte, where string) error {
	if node == nil || len(node.Children) == 0 {
		return refuse(ReasonMissingContent, "%s: no Action", where)
	}
	if err := actionListVocabulary.check(node, where+": ActionList"); err != nil {
		return err
	}
	for i, child := range node.Children {
		action, err := parseAction(child, canonical, defaultActionID(c.ID, i), fmt.Sprintf("%s: Action %d", where, i+1))
		if err != nil {
			return at(child, err)
		}
		c.Actions = append(c.Actions, action)
	}
	return nil
}

// defaultActionID is the id of an Action that states none. Positions count from 1.
func defaultActionID(configID string, index int) string {
	return fmt.Sprintf("%s.%d", configID, index+1)
}

func (c *Config) parseSamples(node *xmltree.Node, where string) error {
	if node == nil {
		return nil
	}
	if err := samplesVocabulary.check(node, where+": Samples"); err != nil {
		return err
	}
	for i, child := range node.Children {
		sample, err := parseSample(child, fmt.Sprintf("%s: Sample %d", where, i+1))
		if err != nil {
			return at(child, err)
		}
		c.Samples = append(c.Samples, sample)
	}
	return nil
}

func parseSample(node *xmltree.Node, where string) (Sample, error) {
	s := Sample{Method: defaultMethod}
	if err := sampleVocabulary.check(node, where); err != nil {
		return s, err
	}
	expect, err := required(node, "expect", where)
	if err != nil {
		return s, err
	}
	if s.Expect, err = oneOf(expect, "expect", where, Blocked, Passed); err != nil {
		return s, err
	}
	if method, ok := node.Attr("method"); ok {
		s.Method = method
	}
	if len(s.Method) > MaxMethodLength || !isToken(s.Method) {
		return s, refuse(ReasonInvalidValue, "%s: method %q is no HTTP method of at most %d characters", where, shown(s.Method), MaxMethodLength)
	}
	if s.URL, err = required(node, "url", where); err != nil {
		return s, err
	}
	if err := length(s.URL, MaxSampleURLLength); err != nil {
		return s, refuse(ReasonLimitExceeded, "%s: url: %v", where, err)
	}
	if !strings.HasPrefix(s.URL, "/") || strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return s, refuse(ReasonInvalidValue, "%s: url %q does not begin with a slash, or has blanks or control characters", where, shown(s.URL))
	}
	if host, ok := node.Attr("host"); ok {
		if host == "" || len(host) > MaxHostLength || !isHost(host) {
			return s, refuse(ReasonInvalidValue, "%s: host %q is no host name of at most %d characters", where, shown(host), MaxHostLength)
		}
		s.Host = host
	}
	for i, child := range node.Children {
		header, err := parseHeader(child, fmt.Sprintf("%s: Header %d", where, i+1))
		if err != nil {
			return s, at(child, err)
		}
		s.Headers = append(s.Headers, header)
	}
	return s, nil
}

func parseHeader(node *xmltree.Node, where string) (Header, error) {
	h := Header{}
	if err := headerVocabulary.check(node, where); err != nil {
		return h, err
	}
	var err error
	if h.Name, err = required(node, "name", where); err != nil {
		return h, err
	}
	if len(h.Name) > MaxHeaderNameLength || !isToken(h.Name) {
		return h, refuse(ReasonInvalidValue, "%s: name %q is no header name of at most %d characters", where, shown(h.Name), MaxHeaderNameLength)
	}
	if strings.EqualFold(h.Name, "Host") {
		return h, refuse(ReasonInvalidValue, "%s: use the attribute host of the Sample", where)
	}
	if h.Value, err = required(node, "value", where); err != nil {
		return h, err
	}
	if len(h.Value) > MaxHeaderValueLength {
		return h, refuse(ReasonLimitExceeded, "%s: value of %d bytes, allowed are %d", where, len(h.Value), MaxHeaderValueLength)
	}
	if strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return h, refuse(ReasonInvalidValue, "%s: value has control characters", where)
	}
	return h, nil
}

// defaultMethod is the method of a Sample that states none.
const defaultMethod = "GET"

// isToken reports whether s is a token of HTTP (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c))
	})
}

// isHost checks the characters of a host name with an optional port only: samples of
// attacks may name hosts that no DNS would.
func isHost(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("-._:[]", r)
	})
}
