package effective

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
)

// clean brings the spellings of a path to one, as IIS compares them, but for the case of the letters.
func clean(p string) string {
	p = strings.Trim(strings.ReplaceAll(p, `\`, "/"), "/ ")
	if p == "." {
		return ""
	}
	return p
}

// join puts a path below another; both are clean.
func join(above, below string) string { return strings.Trim(above+"/"+below, "/") }

// below gives the rest of a path behind one above it. It goes by parts, since upper and lower case may differ in length.
func below(path, above string) string {
	parts := strings.Split(path, "/")
	return strings.Join(parts[min(strings.Count(above, "/")+1, len(parts)):], "/")
}

// under reports whether a path is below another one, and not the same.
func under(path, above string) bool {
	if above == "" {
		return path != ""
	}
	return len(path) > len(above) && path[len(above)] == '/' && strings.EqualFold(path[:len(above)], above)
}

// layer is one level of one file in the merged configuration of a path.
type layer struct {
	*level
	file *File
	// at is the path in the whole server that the level is for.
	at string
	// own is true in a web.config and false in applicationHost.config.
	own bool
}

// problem is something that keeps a path from being judged, or from working.
type problem struct {
	status          Status
	reason, message string
}

func unknown(reason, format string, args ...any) *problem {
	return &problem{status: Unknown, reason: reason, message: fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) *problem {
	return &problem{status: False, reason: reason, message: fmt.Sprintf(format, args...)}
}

// fileProblem says why a file cannot be judged.
func fileProblem(path string, err error) *problem {
	if errors.Is(err, ErrMalformed) {
		return unknown(ConfigurationMalformed, "%s: %v", path, err)
	}
	return unknown(ConfigurationUnreadable, "%s: %v", path, err)
}

// server is a View with what was found out about it during one Resolve.
type server struct {
	View
	host   *File
	sites  map[string]*apphost.Site // by lower-case name
	chains map[string]*chain        // by lower-case path
	merged map[string]*merged       // by section and lower-case path
	work   int                      // that was done
}

// spend counts work, and reports what to say when there was too much of it.
func (s *server) spend(elements int) *problem {
	if s.work += elements; s.work > MaxWork {
		return unknown(TooLarge, "more than %d elements to look at", MaxWork)
	}
	return nil
}

// chain is everything that IIS merges for a path, outermost first.
type chain struct {
	path   string
	layers []layer
	files  []chainFile // web.configs on the way, outermost first
	err    *problem
}

// chainFile is a web.config and the path that it is for.
type chainFile struct {
	file *File
	at   string
}

func (s *server) site(path string) *apphost.Site {
	name, _, _ := strings.Cut(path, "/")
	return s.sites[strings.ToLower(name)]
}

// chain gives the layers of a path, which is clean; those of the paths above are made on the way.
func (s *server) chain(path string) *chain {
	key := strings.ToLower(path)
	if c := s.chains[key]; c != nil {
		return c
	}
	c := &chain{path: path}
	s.chains[key] = c
	if err := s.spend(50); err != nil {
		c.err = err
		return c
	}
	if path == "" {
		c.addFile(s.host, "", false)
		return c
	}
	above := ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above = path[:i]
	}
	parent := s.chain(above)
	c.layers, c.files, c.err = s.inherited(parent, path), slices.Clip(parent.files), parent.err
	for _, l := range s.host.byPath[key] {
		c.layers = append(c.layers, layer{level: l, file: s.host, at: path})
	}
	for _, f := range c.files {
		for _, l := range f.file.byPath[strings.ToLower(below(path, f.at))] {
			c.layers = append(c.layers, layer{level: l, file: f.file, at: path, own: true})
		}
	}
	if file, err := s.webConfig(path); err != nil {
		c.err = err
	} else if file != nil {
		c.files = append(c.files, chainFile{file: file, at: path})
		c.addFile(file, path, true)
	}
	return c
}

func (c *chain) addFile(f *File, at string, own bool) {
	for _, l := range f.byPath[""] {
		c.layers = append(c.layers, layer{level: l, file: f, at: at, own: own})
	}
}

// inherited leaves out what the application of a path does not inherit from the one above it.
func (s *server) inherited(parent *chain, path string) []layer {
	all := parent.layers
	if !s.startsApplication(path) {
		return slices.Clip(all)
	}
	kept := make([]layer, 0, len(all))
	for _, l := range all {
		// What a location says for the server or for a site is for its applications, the root one included.
		if !l.privately || l.at == "" && !strings.Contains(path, "/") {
			kept = append(kept, l)
		}
	}
	return kept
}

// startsApplication reports whether a path is that of an application.
func (s *server) startsApplication(path string) bool {
	site := s.site(path)
	if site == nil {
		return false
	}
	for _, a := range site.Applications {
		if strings.EqualFold(clean(a.Path), below(path, site.Name)) {
			return true
		}
	}
	return false
}

// webConfig gives the web.config of a path, nil where IIS reads none.
func (s *server) webConfig(path string) (*File, *problem) {
	site := s.site(path)
	if site == nil {
		return nil, nil
	}
	dir, ok := site.Directory(below(path, site.Name))
	if !ok {
		return nil, unknown(ConfigurationUnreadable, "%q: no virtual directory", path)
	}
	if dir.Below != "" && !dir.SubDirConfig {
		return nil, nil
	}
	name, err := s.Files.WebConfig(dir.PhysicalPath, dir.Below)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, unknown(ConfigurationUnreadable, "web.config of %q: %v", path, err)
	}
	file, err := s.Files.Read(name, "")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fileProblem(name, err)
	}
	return file, nil
}

// levelsUnder lists the paths at a target and below it that the configuration knows.
func (s *server) levelsUnder(target string) ([]string, *problem) {
	var out []string
	seen, looked := map[string]bool{}, map[chainFile]bool{}
	add := func(path string) {
		key := strings.ToLower(path)
		if !seen[key] && (strings.EqualFold(path, target) || under(path, target)) && strings.Count(path, "/") < MaxDepth {
			seen[key] = true
			out = append(out, path)
		}
	}
	add(target)
	for _, site := range s.host.sites {
		if target != "" && !strings.EqualFold(site.Name, target) && !under(target, site.Name) {
			continue
		}
		for _, a := range site.Applications {
			for _, v := range a.Directories {
				add(join(join(site.Name, clean(a.Path)), clean(v.Path)))
			}
		}
	}
	for _, l := range s.host.levels {
		if s.site(l.path) != nil {
			add(l.path)
		}
	}
	for i := 0; i < len(out); i++ {
		if len(out) > MaxLevels {
			return nil, unknown(TooLarge, "%q: more than %d levels below it", target, MaxLevels)
		}
		for _, f := range s.chain(out[i]).files {
			if looked[f] {
				continue
			}
			looked[f] = true
			for _, l := range f.file.levels {
				if l.path != "" {
					add(join(f.at, l.path))
				}
			}
		}
	}
	return out, nil
}
