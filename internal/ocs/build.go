package ocs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// RootID is the ID of the root that Build writes, for a signature's reference "#eocs".
const RootID = "eocs"

// Build writes an unsigned document of version 1.1 without a byte order mark, with LF
// line ends. Version has to be 1.1 or empty, Refused has to be empty. Fields that have a
// default in the format may be left at their zero value; Parse gives back the document
// with the defaults filled in, and otherwise equal. The rules are those of Parse, applied
// to what was written; the errors wrap ErrInvalid or ErrLimitExceeded.
func Build(doc Document) ([]byte, error) {
	if doc.Version != "" && doc.Version != Version11 {
		return nil, fmt.Errorf("%w: version %q cannot be built, only %q", ErrInvalid, shown(doc.Version), Version11)
	}
	if len(doc.Refused) > 0 {
		return nil, fmt.Errorf("%w: it has %d refused Configs", ErrInvalid, len(doc.Refused))
	}
	written, err := write(withDefaults(doc))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(written) > MaxDocumentBytes {
		return nil, fmt.Errorf("%w: %d bytes without a signature, allowed are %d", ErrLimitExceeded, len(written), MaxDocumentBytes)
	}
	read, err := Parse(written)
	if err != nil {
		return nil, err
	}
	var broken []error
	for _, r := range read.Refused {
		broken = append(broken, errors.New(r.Message))
	}
	if len(broken) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, errors.Join(broken...))
	}
	again, err := write(*read)
	if err != nil || !bytes.Equal(again, written) {
		return nil, fmt.Errorf("%w: a text has white space around it, or a time or number is outside of what the format can state", ErrInvalid)
	}
	return written, nil
}

// withDefaults returns a copy in which the defaults of the format are filled in.
func withDefaults(doc Document) Document {
	doc.Version = Version11
	doc.Configs = slices.Clone(doc.Configs)
	for i := range doc.Configs {
		c := &doc.Configs[i]
		if c.Revision == 0 {
			c.Revision = 1
		}
		c.Actions = slices.Clone(c.Actions)
		for k := range c.Actions {
			a := &c.Actions[k]
			if a.ID == "" {
				a.ID = defaultActionID(c.ID, k)
			}
			if a.Target == "" && a.Type == URLRewrite && a.Scope == ScopeSite {
				a.Target = DefaultTarget
			}
		}
		c.Samples = slices.Clone(c.Samples)
		for k := range c.Samples {
			if c.Samples[k].Method == "" {
				c.Samples[k].Method = defaultMethod
			}
		}
	}
	return doc
}

// writer builds the text. The first error is kept and returned at the end.
type writer struct {
	bytes.Buffer
	depth int
	err   error
}

func write(doc Document) ([]byte, error) {
	w := &writer{}
	w.WriteString(xml.Header)
	w.open("EOCS", false,
		"version", Version11, "ID", RootID, "publisher", doc.Publisher, "sequence", number(doc.Sequence),
		"issued", stamp(doc.Issued), "expires", stamp(doc.Expires))
	for _, c := range doc.Configs {
		w.config(c)
	}
	w.close("EOCS")
	return w.Bytes(), w.err
}

func (w *writer) config(c Config) {
	w.open("Config", false, "id", c.ID, "revision", number(c.Revision), "severity", string(c.Severity),
		"cve", w.list(c.CVEs), "supersedes", w.list(c.Supersedes), "desc", c.Description)
	if len(c.Applicability) > 0 {
		w.open("Applicability", false)
		for _, p := range c.Applicability {
			w.product(p)
		}
		w.close("Applicability")
	}
	if len(c.SideEffects) > 0 {
		w.open("SideEffects", false)
		for _, s := range c.SideEffects {
			w.leaf("SideEffect", s)
		}
		w.close("SideEffects")
	}
	w.open("ActionList", false)
	for _, a := range c.Actions {
		w.action(a)
	}
	w.close("ActionList")
	if len(c.Samples) > 0 {
		w.open("Samples", false)
		for _, s := range c.Samples {
			w.sample(s)
		}
		w.close("Samples")
	}
	w.close("Config")
}

func (w *writer) product(p Product) {
	w.open("Product", len(p.Branches) == 0, "name", p.Name, "role", p.Role)
	if len(p.Branches) == 0 {
		return
	}
	for _, b := range p.Branches {
		var attributes []string
		if !b.From.IsZero() {
			attributes = append(attributes, "from", b.From.String())
		}
		if !b.FixedIn.IsZero() {
			attributes = append(attributes, "fixedIn", b.FixedIn.String())
		}
		w.open("Branch", true, attributes...)
	}
	w.close("Product")
}

func (w *writer) action(a Action) {
	w.open("Action", false, "id", a.ID, "type", string(a.Type), "scope", string(a.Scope), "target", a.Target, "desc", a.Description,
		"acknowledgeCost", number(int64(a.AcknowledgedCost)))
	if a.Type != URLRewrite {
		if len(a.Rewrite) > 0 {
			w.fail(fmt.Errorf("action %q: a <rewrite> element beside type %s", shown(a.ID), shown(string(a.Type))))
		}
		w.leaf("Value", a.Value)
		w.close("Action")
		return
	}
	if a.Value != "" {
		w.fail(fmt.Errorf("action %q: a value beside type %s", shown(a.ID), a.Type))
	}
	// Checked by itself, or it could close the Value and go on with elements of its own.
	root, err := xmltree.Parse(a.Rewrite, treeLimits)
	if err == nil && (root.Name != "rewrite" || len(root.Raw(a.Rewrite)) != len(a.Rewrite)) {
		err = errors.New("not one <rewrite> element and nothing else")
	}
	if err != nil {
		w.fail(fmt.Errorf("action %q: %w", shown(a.ID), err))
		return
	}
	w.open("Value", false)
	w.indent()
	w.Write(a.Rewrite)
	w.WriteByte('\n')
	w.close("Value")
	w.close("Action")
}

func (w *writer) sample(s Sample) {
	w.open("Sample", len(s.Headers) == 0, "expect", string(s.Expect), "method", s.Method, "url", s.URL, "host", s.Host)
	if len(s.Headers) == 0 {
		return
	}
	for _, h := range s.Headers {
		w.indent()
		w.WriteString("<Header")
		w.attribute("name", h.Name)
		w.attribute("value", h.Value)
		w.WriteString("/>\n")
	}
	w.close("Sample")
}

// open writes a start tag, or an empty element. Attributes are pairs of name and value;
// those without a value are left out, as absence is what an empty field stands for.
func (w *writer) open(name string, empty bool, attributes ...string) {
	w.indent()
	w.WriteString("<" + name)
	for i := 0; i < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			w.attribute(attributes[i], attributes[i+1])
		}
	}
	if empty {
		w.WriteString("/>\n")
		return
	}
	w.WriteString(">\n")
	w.depth++
}

func (w *writer) close(name string) {
	w.depth--
	w.indent()
	w.WriteString("</" + name + ">\n")
}

func (w *writer) leaf(name, text string) {
	w.indent()
	w.WriteString("<" + name + ">")
	w.text(text)
	w.WriteString("</" + name + ">\n")
}

func (w *writer) attribute(name, value string) {
	w.WriteString(" " + name + `="`)
	w.text(value)
	w.WriteByte('"')
}

func (w *writer) text(text string) {
	if !isXMLText(text) {
		w.fail(fmt.Errorf("text %q has characters that XML cannot hold", shown(text)))
	}
	if err := xml.EscapeText(w, []byte(text)); err != nil {
		w.fail(err)
	}
}

func (w *writer) indent() {
	w.WriteString(strings.Repeat("  ", w.depth))
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// list joins ids; one with a blank or none at all would come back as other ids.
func (w *writer) list(ids []string) string {
	for _, id := range ids {
		if strings.Join(strings.Fields(id), "") != id || id == "" {
			w.fail(fmt.Errorf("id %q is empty or has white space", shown(id)))
		}
	}
	return strings.Join(ids, " ")
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// isXMLText reports whether XML 1.0 has all characters of s (production Char).
func isXMLText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}
