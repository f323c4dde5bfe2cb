package ocs

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// Parse reads a document. It is meant for the canonical bytes that a signature verifier
// has digested, in which the Signature is gone, and is safe on any bytes. The errors wrap
// one of the Err variables and refuse the document; a Config that breaks a rule is listed
// in Refused instead. Defaults of the format are filled in.
func Parse(canonical []byte) (*Document, error) {
	root, err := xmltree.Parse(canonical, treeLimits)
	if err != nil {
		if errors.Is(err, xmltree.ErrLimit) {
			return nil, fmt.Errorf("%w: %w", ErrLimitExceeded, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	doc, newer, err := parseRoot(root)
	if err != nil {
		return nil, err
	}
	nodes, err := configNodes(root, newer)
	if err != nil {
		return nil, err
	}
	collect(doc, nodes, canonical)
	return doc, nil
}

// parseRoot reads the attributes of the root. newer says that the document may hold what
// this version does not know at the root.
func parseRoot(root *xmltree.Node) (doc *Document, newer bool, err error) {
	if root.Name != "EOCS" {
		return nil, false, fmt.Errorf("%w: line %d: root element %q, expected \"EOCS\" without a name space", ErrInvalid, root.Line, shown(root.Name))
	}
	doc = &Document{}
	if doc.Version, newer, err = parseVersion(root); err != nil {
		return nil, false, err
	}
	for _, a := range root.Attrs {
		if err := doc.setAttribute(a, newer); err != nil {
			return nil, false, fmt.Errorf("%w: attribute %q of EOCS: %w", ErrInvalid, shown(a.Name), err)
		}
	}
	if !doc.Issued.IsZero() && !doc.Expires.IsZero() && !doc.Expires.After(doc.Issued) {
		return nil, false, fmt.Errorf("%w: expires %q is not after issued %q", ErrInvalid,
			doc.Expires.Format(time.RFC3339Nano), doc.Issued.Format(time.RFC3339Nano))
	}
	return doc, newer, nil
}

func (d *Document) setAttribute(a xmltree.Attr, newer bool) (err error) {
	switch a.Name {
	case "version", "ID":
	case "publisher":
		err = length(a.Value, MaxPublisherLength)
		d.Publisher = a.Value
	case "sequence":
		d.Sequence, err = positive(a.Value)
	case "issued":
		d.Issued, err = utc(a.Value)
	case "expires":
		d.Expires, err = utc(a.Value)
	default:
		// A declared prefix that nothing uses changes nothing; .NET writes two of them.
		if !newer && !strings.HasPrefix(a.Name, "xmlns:") || a.Name == "xmlns" {
			err = errors.New("the format has no such attribute")
		}
	}
	return err
}

var versionPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?$`)

// parseVersion returns the version as written, and whether it is newer than 1.1.
func parseVersion(root *xmltree.Node) (version string, newer bool, err error) {
	version, ok := root.Attr("version")
	if !ok {
		return "", false, fmt.Errorf("%w: line %d: EOCS has no version", ErrInvalid, root.Line)
	}
	parts := versionPattern.FindStringSubmatch(version)
	if parts == nil {
		return "", false, fmt.Errorf("%w: version %q of EOCS is no version number such as %q", ErrInvalid, shown(version), Version11)
	}
	major, minor, patch := small(parts[1]), small(parts[2]), small(parts[3])
	if major != 1 {
		return "", false, fmt.Errorf("%w: %q: only versions 1.x are known; update this software", ErrUnsupportedVersion, version)
	}
	return version, minor > 1 || minor == 1 && patch > 0, nil
}

// small reads the digits that versionPattern has accepted; nothing is 0.
func small(digits string) int {
	n := 0
	for _, c := range []byte(digits) {
		n = n*10 + int(c-'0')
	}
	return n
}

// configNodes returns the Config elements of the root.
func configNodes(root *xmltree.Node, newer bool) ([]*xmltree.Node, error) {
	if xmltree.TrimSpace(root.Text) != "" {
		return nil, fmt.Errorf("%w: text directly in EOCS", ErrInvalid)
	}
	var nodes []*xmltree.Node
	for _, child := range root.Children {
		if child.Name != "Config" {
			if newer {
				continue
			}
			return nil, fmt.Errorf("%w: line %d: element %q in EOCS, expected \"Config\"", ErrInvalid, child.Line, shown(child.Name))
		}
		nodes = append(nodes, child)
	}
	if len(nodes) > MaxConfigs {
		return nil, fmt.Errorf("%w: %d Configs, allowed are %d", ErrLimitExceeded, len(nodes), MaxConfigs)
	}
	return nodes, nil
}

// collect parses the Configs and sorts them into those taken and those refused.
func collect(doc *Document, nodes []*xmltree.Node, canonical []byte) {
	configs := make([]Config, len(nodes))
	refusals := make([]error, len(nodes))
	byID := map[string][]int{}
	for i, node := range nodes {
		configs[i], refusals[i] = parseConfig(node, canonical)
		id, _ := node.Attr("id")
		byID[strings.ToLower(id)] = append(byID[strings.ToLower(id)], i)
	}
	for i, node := range nodes {
		id, _ := node.Attr("id")
		if same := byID[strings.ToLower(id)]; len(same) > 1 && idPattern.MatchString(id) {
			refusals[i] = refuse(ReasonDuplicateID, "Config %q: %d Configs of the document have this id when case is ignored; all of them are refused", shown(id), len(same))
		}
	}
	refuseSharedActionIDs(configs, refusals)
	refuseCostly(doc.Version, configs, refusals)
	for i, node := range nodes {
		if refusals[i] == nil {
			doc.Configs = append(doc.Configs, configs[i])
			continue
		}
		id, _ := node.Attr("id")
		var r *refusal
		if !errors.As(refusals[i], &r) {
			r = &refusal{reason: ReasonInvalidValue, message: refusals[i].Error()}
		}
		doc.Refused = append(doc.Refused, Refusal{ID: shown(id), Reason: r.reason, Message: r.message})
	}
}

// refuseSharedActionIDs refuses every Config that shares an Action id with another one or
// has it twice.
func refuseSharedActionIDs(configs []Config, refusals []error) {
	users := map[string]int{}
	for i := range configs {
		if refusals[i] != nil {
			continue
		}
		for _, action := range configs[i].Actions {
			users[strings.ToLower(action.ID)]++
		}
	}
	for i := range configs {
		if refusals[i] != nil {
			continue
		}
		for _, action := range configs[i].Actions {
			if users[strings.ToLower(action.ID)] > 1 {
				refusals[i] = refuse(ReasonDuplicateActionID, "Config %q: several Actions of the document have the id %q when case is ignored; their Configs are refused", configs[i].ID, action.ID)
				break
			}
		}
	}
}

// positive reads an integer from 1 to 2^63-1 in plain digits.
func positive(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || text[0] == '+' {
		return 0, fmt.Errorf("%q is no integer from 1 to 2^63-1", shown(text))
	}
	return n, nil
}

// utcPattern is stricter than time.Parse, which takes a comma for the point and hours of
// one digit.
var utcPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$`)

func utc(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !utcPattern.MatchString(text) {
		return time.Time{}, fmt.Errorf("%q is no time in UTC such as \"2026-05-14T16:00:00Z\"", shown(text))
	}
	if t.IsZero() {
		return time.Time{}, fmt.Errorf("%q stands for \"no time\" in this software", shown(text))
	}
	return t.UTC(), nil
}
