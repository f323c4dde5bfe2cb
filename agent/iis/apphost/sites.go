package apphost

import (
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Site is one site of the server.
type Site struct {
	Name         string
	ID           string
	Bindings     []string // protocol and binding information, such as "http *:80:"
	PhysicalPath string   // of the root virtual directory, environment variables unresolved
	AutoStart    bool     // whether it starts with the server (serverAutoStart)
	Applications []Application
}

// Application is one application of a site.
type Application struct {
	Path        string // "/" is the root application
	Pool        string // as written, "" when the attribute is absent
	Directories []VirtualDirectory
}

// VirtualDirectory maps a path of an application to a folder.
type VirtualDirectory struct {
	Path         string // below the application, "/" is its root
	PhysicalPath string // environment variables unresolved
	// SubDirConfig is false when IIS reads no web.config in the folders below this one (allowSubDirConfig).
	SubDirConfig bool
}

// Directory is the folder that a path of a site is served from.
type Directory struct {
	// PhysicalPath of the virtual directory, environment variables unresolved.
	PhysicalPath string
	// Below is the rest of the path inside of it, with forward slashes, "" for the virtual directory itself.
	Below        string
	SubDirConfig bool
}

// Sites lists the sites in the order of the file.
func (c *Config) Sites() []Site {
	var sites []Site
	c.eachSite(func(list, e *lossless.Element) bool {
		sites = append(sites, readSite(list, e))
		return true
	})
	return sites
}

func (c *Config) eachSite(do func(list, site *lossless.Element) bool) {
	for _, list := range c.all("system.applicationHost", "sites") {
		for _, e := range list.Children {
			if e.Name == "site" && !do(list, e) {
				return
			}
		}
	}
}

// Site gives the site that the first part of a path names.
func (c *Config) Site(path string) (Site, bool) {
	name, _, _ := strings.Cut(cleanPath(path), "/")
	var found Site
	ok := false
	c.eachSite(func(list, e *lossless.Element) bool {
		if strings.EqualFold(e.Value("name"), name) {
			found, ok = readSite(list, e), true
		}
		return !ok
	})
	return found, ok
}

// HasSite reports whether the first part of a path names a site.
func (c *Config) HasSite(path string) bool {
	_, ok := c.Site(path)
	return ok
}

// readSite copies what it reads: a description outlives the file, whose bytes the names would keep in memory.
func readSite(list, e *lossless.Element) Site {
	s := Site{Name: strings.Clone(e.Value("name")), ID: strings.Clone(e.Value("id")), AutoStart: !strings.EqualFold(strings.TrimSpace(e.Value("serverAutoStart")), "false")}
	for _, child := range e.Children {
		switch child.Name {
		case "bindings":
			for _, b := range children(child, "binding") {
				s.Bindings = append(s.Bindings, b.Value("protocol")+" "+b.Value("bindingInformation"))
			}
		case "application":
			s.Applications = append(s.Applications, readApplication(list, e, child))
		}
	}
	if root, ok := s.directory("", ""); ok {
		s.PhysicalPath = root.PhysicalPath
	}
	return s
}

func readApplication(list, site, e *lossless.Element) Application {
	a := Application{Path: strings.Clone(e.Value("path")), Pool: strings.Clone(e.Value("applicationPool"))}
	// The nearest of the defaults counts: application, site, all sites.
	inherited := ""
	for _, from := range []*lossless.Element{list, site, e} {
		for _, defaults := range children(from, "virtualDirectoryDefaults") {
			if set := defaults.Attr("allowSubDirConfig"); set != nil {
				inherited = set.Value
			}
		}
	}
	for _, v := range children(e, "virtualDirectory") {
		subDirs := inherited
		if set := v.Attr("allowSubDirConfig"); set != nil {
			subDirs = set.Value
		}
		a.Directories = append(a.Directories, VirtualDirectory{
			Path: strings.Clone(v.Value("path")), PhysicalPath: strings.Clone(v.Value("physicalPath")), SubDirConfig: !strings.EqualFold(strings.TrimSpace(subDirs), "false"),
		})
	}
	return a
}

// Directory gives the folder of a path below the site, "" for the site itself: that of the longest matching
// application and, inside of it, of the longest matching virtual directory.
func (s Site) Directory(below string) (Directory, bool) {
	below = cleanPath(below)
	bestApp, bestPath := -1, ""
	for i, a := range s.Applications {
		if p := cleanPath(a.Path); covers(p, below) && (bestApp < 0 || len(p) > len(bestPath)) {
			bestApp, bestPath = i, p
		}
	}
	if bestApp < 0 {
		return Directory{}, false
	}
	return s.directory(bestPath, behind(below, bestPath))
}

func (s Site) directory(app, below string) (Directory, bool) {
	best, bestPath, found := VirtualDirectory{}, "", false
	for _, a := range s.Applications {
		if !strings.EqualFold(cleanPath(a.Path), app) {
			continue
		}
		for _, v := range a.Directories {
			if p := cleanPath(v.Path); covers(p, below) && (!found || len(p) > len(bestPath)) {
				best, bestPath, found = v, p, true
			}
		}
	}
	if !found || best.PhysicalPath == "" {
		return Directory{}, false
	}
	return Directory{PhysicalPath: best.PhysicalPath, Below: behind(below, bestPath), SubDirConfig: best.SubDirConfig}, true
}

// behind gives the rest of a path behind one that covers it.
func behind(path, covering string) string { return cleanPath(path[min(len(covering), len(path)):]) }
