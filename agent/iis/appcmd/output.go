package appcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/lossless"
)

// maxListed is far above the pools and the sites of a server that IIS can run, a few thousand.
const maxListed = 16384

// Section is one section of the effective configuration of a place.
type Section struct {
	// Name is the section, such as "system.webServer/rewrite/rules".
	Name string
	// Path is where its content comes from, as IIS names it: "MACHINE/WEBROOT/APPHOST/Default Web Site".
	Path string
	// OverrideMode and Locked say whether lower levels may change it.
	OverrideMode string
	Locked       bool
	// Content is the element of the section as appcmd wrote it, with all that is inherited. Its name has hyphens where
	// that of the section has slashes.
	Content []byte
}

var (
	sectionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]*(/[A-Za-z][A-Za-z0-9.]*)*$`)
	// ErrNoSection means that IIS does not know the section, or that the place does not exist.
	ErrNoSection = errors.New("no such section or place")
)

// ReadBack asks IIS for a section as it is in effect at a place: a site, a site and a path below it, or "" for the server.
func (d *Driver) ReadBack(ctx context.Context, section, place string) (Section, error) {
	if !sectionName.MatchString(section) {
		return Section{}, fmt.Errorf("appcmd: section %q: not a name of a section", section)
	}
	if strings.HasPrefix(place, "/") || strings.HasPrefix(place, "-") || strings.ContainsAny(place, `*?"<>|\`) {
		return Section{}, fmt.Errorf("appcmd: section %q: %q: not a site or a path below one", section, place)
	}
	args := []string{"list", "config"}
	if place != "" {
		args = append(args, place)
	}
	output, err := d.read(ctx, append(args, "-section:"+section, "/xml")...)
	if errors.Is(err, control.ErrPoolNotFound) {
		err = ErrNoSection // the codes are the same for objects of every kind
	}
	if err != nil {
		return Section{}, fmt.Errorf("appcmd: section %q of %q: %w", section, place, err)
	}
	found, err := ParseSection(output)
	if err == nil && !strings.EqualFold(found.Name, section) {
		err = fmt.Errorf("section %q", found.Name)
	}
	if err != nil {
		return Section{}, fmt.Errorf("appcmd: section %q of %q: output: %w", section, place, err)
	}
	return found, nil
}

// ParseSection reads the output of appcmd list config with /xml: exactly one section with its one element. Its limits are
// those of package lossless.
func ParseSection(output []byte) (Section, error) {
	doc, err := parse(output)
	if err != nil {
		return Section{}, err
	}
	if len(doc.Root.Children) != 1 || doc.Root.Children[0].Name != "CONFIG" {
		return Section{}, errors.New("not exactly one CONFIG element")
	}
	config := doc.Root.Children[0]
	s := Section{
		Name: config.Value("CONFIG.SECTION"), Path: config.Value("path"),
		OverrideMode: config.Value("overrideMode"), Locked: strings.EqualFold(config.Value("locked"), "true"),
	}
	want := strings.ReplaceAll(s.Name, "/", "-")
	if len(config.Children) != 1 || want == "" || config.Children[0].Name != want {
		return Section{}, fmt.Errorf("section %q: not exactly one element of that name", s.Name)
	}
	element := config.Children[0]
	s.Content = bytes.Clone(doc.Data[element.Start:element.End])
	return s, nil
}

// parsePools reads the output of appcmd list apppool with /xml.
func parsePools(output []byte) ([]control.Pool, error) {
	listed, err := parseList(output, "APPPOOL")
	if err != nil {
		return nil, err
	}
	pools := make([]control.Pool, 0, len(listed))
	for _, e := range listed {
		p := control.Pool{Name: strings.Clone(e.Value("APPPOOL.NAME")), State: control.PoolState(e.Value("state"))}
		switch p.State {
		case control.PoolStarted, control.PoolStopped, control.PoolStarting, control.PoolStopping, control.PoolUnknown:
		default:
			p.State = control.PoolUnknown
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// parseSites reads the output of appcmd list site with /xml.
func parseSites(output []byte) ([]control.Site, error) {
	listed, err := parseList(output, "SITE")
	if err != nil {
		return nil, err
	}
	sites := make([]control.Site, 0, len(listed))
	for _, e := range listed {
		s := control.Site{Name: strings.Clone(e.Value("SITE.NAME")), ID: strings.Clone(e.Value("SITE.ID")), State: control.SiteState(e.Value("state"))}
		switch s.State {
		case control.SiteStarted, control.SiteStopped, control.SiteStarting, control.SiteStopping, control.SiteUnknown:
		default:
			s.State = control.SiteUnknown
		}
		// "http/*:80:,https/*:443:mail.contoso.example"
		for text := range strings.SplitSeq(strings.Clone(e.Value("bindings")), ",") {
			if protocol, information, ok := strings.Cut(text, "/"); ok {
				s.Bindings = append(s.Bindings, control.Binding{Protocol: protocol, Information: information})
			}
		}
		sites = append(sites, s)
	}
	return sites, nil
}

// parseList reads a list of objects of one kind.
func parseList(output []byte, kind string) ([]*lossless.Element, error) {
	doc, err := parse(output)
	if err != nil {
		return nil, err
	}
	if len(doc.Root.Children) > maxListed {
		return nil, fmt.Errorf("%d elements: more than the limit of %d", len(doc.Root.Children), maxListed)
	}
	for _, e := range doc.Root.Children {
		if e.Name != kind {
			return nil, fmt.Errorf("element %q in a list of %s elements", e.Name, kind)
		}
	}
	return doc.Root.Children, nil
}

func parse(output []byte) (*lossless.Document, error) {
	doc, err := lossless.Parse(output)
	if err != nil {
		return nil, err
	}
	if doc.Root.Name != "appcmd" {
		return nil, fmt.Errorf("root element %q where <appcmd> is expected", doc.Root.Name)
	}
	return doc, nil
}
