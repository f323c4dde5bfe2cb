package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
)

// File is the content of a file, with the name that messages give it.
type File struct {
	Name    string
	Content []byte
}

// WebConfig is the web.config of a folder of the site, "/" for the site itself.
type WebConfig struct {
	Folder string
	File   File
}

// Rules says where the rules come from. At least one of the sources is required.
type Rules struct {
	// Fragment is a <rewrite> element. Its rules come first, as if they stood in applicationHost.config for all sites.
	Fragment *File
	// ApplicationHost is an applicationHost.config, which has to have the site.
	ApplicationHost *File
	// Site is the name of the site; ocs.DefaultTarget if empty.
	Site string
	// WebConfigs are those of the site's folders.
	WebConfigs []WebConfig
	// Mitigation is put in place as an agent does it: before the site's own rules.
	Mitigation *ocs.Config
}

// ErrNoRules is wrapped when there is nothing to evaluate.
var ErrNoRules = errors.New("no rules")

// Compose makes the site. What IIS refuses to read is no error here: requests in its scope get the outcome Error, as on a
// server. The errors are about the question: files that are none, a site that is not there.
func (r Rules) Compose(options rewrite.Options) (*rewrite.Site, error) {
	var levels []rewrite.Level
	if r.ApplicationHost != nil {
		if err := r.checkSite(); err != nil {
			return nil, err
		}
		found, err := rewrite.ServerLevels(r.ApplicationHost.Name, r.ApplicationHost.Content, r.site())
		if levels, err = r.broken(levels, r.ApplicationHost.Name, "/", true, found, err); err != nil {
			return nil, err
		}
	}
	for _, w := range r.WebConfigs {
		found, err := rewrite.FolderLevels(w.File.Name, w.File.Content, w.Folder)
		if levels, err = r.broken(levels, w.File.Name, w.Folder, false, found, err); err != nil {
			return nil, err
		}
	}
	first, err := r.added()
	if err != nil {
		return nil, err
	}
	if r.Fragment == nil && r.ApplicationHost == nil && len(r.WebConfigs) == 0 && r.Mitigation == nil {
		return nil, fmt.Errorf("%w: neither a fragment, nor configuration files, nor a mitigation", ErrNoRules)
	}
	return rewrite.NewSite(options, ordered(levels, first)...), nil
}

func (r Rules) site() string {
	if r.Site == "" {
		return ocs.DefaultTarget
	}
	return r.Site
}

// broken adds the levels of a file, or one that says that IIS cannot read it.
func (r Rules) broken(levels []rewrite.Level, name, folder string, server bool, found []rewrite.Level, err error) ([]rewrite.Level, error) {
	if errors.Is(err, rewrite.ErrInvalidConfiguration) {
		return append(levels, rewrite.Level{Name: name, Path: folder, Server: server, Err: err}), nil
	}
	return append(levels, found...), err
}

// added returns the levels of the fragment and of the mitigation.
func (r Rules) added() ([]rewrite.Level, error) {
	var levels []rewrite.Level
	if r.Fragment != nil {
		config, err := rewrite.ParseAt(rewrite.Position{File: r.Fragment.Name, Line: 1, Column: 1}, bytes.TrimPrefix(r.Fragment.Content, []byte("\uFEFF")))
		if err != nil && !errors.Is(err, rewrite.ErrInvalidConfiguration) {
			return nil, err
		}
		levels = append(levels, rewrite.Level{Name: r.Fragment.Name, Path: "/", Server: true, Config: config, Err: err})
	}
	if r.Mitigation == nil {
		return levels, nil
	}
	installed, unknown := installedLevels(*r.Mitigation)
	here := 0
	for _, l := range installed {
		if l.Server || strings.EqualFold(l.site, r.site()) {
			here++
			levels = append(levels, l.Level)
		}
	}
	if here == 0 {
		return nil, errors.Join(fmt.Errorf("%w: mitigation %q has none for site %q", ErrNoRules, r.Mitigation.ID, r.site()), unknown)
	}
	return levels, nil
}

// ordered sorts levels as IIS reads them: the server's, then from the root to the deepest folder. In one place, what was
// added comes first.
func ordered(levels, first []rewrite.Level) []rewrite.Level {
	all := slices.Concat(first, levels)
	depth := func(l rewrite.Level) int {
		if l.Server {
			return -1
		}
		path := strings.Trim(l.Path, "/")
		if path == "" {
			return 0
		}
		return 1 + strings.Count(path, "/")
	}
	slices.SortStableFunc(all, func(a, b rewrite.Level) int { return depth(a) - depth(b) })
	return all
}

// fileLimits are those of package rewrite for configuration files.
var fileLimits = xmltree.Limits{Bytes: 16 << 20, Depth: 64, Elements: 400_000, Attributes: 256}

// checkSite looks for the site in applicationHost.config: a misspelt name would find no rules, and look as if everything
// passed. A file that IIS cannot read is for the evaluation to say.
func (r Rules) checkSite() error {
	root, err := xmltree.Parse(bytes.TrimPrefix(r.ApplicationHost.Content, []byte("\uFEFF")), fileLimits)
	if err != nil {
		return nil //nolint:nilerr // the level of the server says so, with 500.19
	}
	if root.Name != "configuration" {
		return fmt.Errorf("%s: root element %q: want an applicationHost.config", r.ApplicationHost.Name, root.Name)
	}
	names := []string{}
	for _, host := range root.Children {
		if host.Name != "system.applicationHost" || host.Child("sites") == nil {
			continue
		}
		for _, site := range host.Child("sites").Children {
			if name, ok := site.Attr("name"); ok && site.Name == "site" {
				if strings.EqualFold(name, r.site()) {
					return nil
				}
				names = append(names, strconv.Quote(name))
			}
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: has no sites", r.ApplicationHost.Name)
	}
	return fmt.Errorf("site %q: not in %s, which has %s", r.site(), r.ApplicationHost.Name, strings.Join(names, ", "))
}
