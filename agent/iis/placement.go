package iis

import (
	"bytes"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/winpath"
)

// Placements of rules.
const (
	// PlaceApplicationHost puts rules into <location> elements of applicationHost.config: it works where the section is
	// locked for sites, and no deployment of a site overwrites it. It is what "" means.
	PlaceApplicationHost = "ApplicationHost"
	// PlaceWebConfig puts them into the web.config of the site or path. What belongs to the server as a whole, global rules
	// and allowed server variables, stays in applicationHost.config.
	PlaceWebConfig = "WebConfig"
)

// place says what a mitigation puts where: logical names sites and paths, parts has what goes into which file, by its name.
// The error is a *refusal.Error.
func (set *fileSet) place(m Mitigation) (logical apphost.Wanted, parts map[string]apphost.Wanted, err error) {
	logical, err = m.content()
	if err != nil {
		return logical, nil, err
	}
	parts = map[string]apphost.Wanted{}
	if len(logical.DisabledPools) > 0 {
		parts[hostFile] = apphost.Wanted{DisabledPools: logical.DisabledPools}
	}
	for _, g := range logical.Groups {
		f := set.host
		if m.Placement == PlaceWebConfig && g.Path != "" && g.Section != apphost.GlobalRules && g.Section != apphost.ServerVariables {
			if f, err = set.webConfig(g.Path); err != nil {
				return logical, nil, err
			}
			g.Path = ""
		}
		if f, g, err = set.follow(f, g); err != nil {
			return logical, nil, err
		}
		part := parts[f.name]
		part.Groups = append(part.Groups, g)
		parts[f.name] = part
	}
	return logical, parts, nil
}

// follow goes on to the file that a section is kept in by configSource, which IIS only reads in the same folder or below.
func (set *fileSet) follow(f *file, g apphost.Group) (*file, apphost.Group, error) {
	if f.config == nil {
		return f, g, nil
	}
	source := f.config.Source(g.Path, g.Section)
	if source == "" {
		return f, g, nil
	}
	found, err := sourcePath(f.path, source)
	if err != nil {
		return nil, g, refusal.Wrap(SectionLocked, err, "%s: configSource %q", f.path, source)
	}
	section, _, _ := strings.Cut(string(g.Section), "/")
	next := set.open(found, section)
	if next.data == nil && next.err == nil {
		return nil, g, refusal.New(SectionLocked, "%s: configSource %q: no such file", f.path, source)
	}
	g.Path = ""
	return next, g, nil
}

// webConfig gives the web.config of a site or of a path below it, which need not exist.
func (set *fileSet) webConfig(target string) (*file, error) {
	site, ok := set.host.config.Site(target)
	if !ok {
		return nil, refusal.New(SiteNotFound, "site of %q: not on this server", target)
	}
	_, below, _ := strings.Cut(strings.Trim(target, "/"), "/")
	dir, ok := site.Directory(below)
	if !ok {
		return nil, refusal.New(WebConfigUnavailable, "%q: no virtual directory: use the placement ApplicationHost", target)
	}
	if dir.Below != "" && !dir.SubDirConfig {
		return nil, refusal.New(WebConfigUnavailable, "%q: allowSubDirConfig=\"false\" keeps IIS from reading a web.config there: use the placement ApplicationHost", target)
	}
	folder, err := set.folder(dir.PhysicalPath, dir.Below)
	if err != nil {
		return nil, refusal.Wrap(WebConfigUnavailable, err, "%q: use the placement ApplicationHost", target)
	}
	info, err := os.Stat(folder)
	set.seen[folder] = folderStamp(info, err)
	if err != nil || !info.IsDir() {
		return nil, refusal.New(WebConfigUnavailable, "%q: folder %s does not exist", target, folder)
	}
	name, err := winpath.Find(folder, "web.config")
	if err != nil {
		return nil, refusal.Wrap(WebConfigUnavailable, err, "%q", target)
	}
	return set.open(name, ""), nil
}

// folder finds the folder that a physicalPath means on this machine. On other systems than Windows, and in a copy of a
// system drive, drive C: is the root that the server was opened by.
func (s *Server) folder(physical, below string) (string, error) {
	expanded, err := expand(physical)
	if err != nil {
		return "", err
	}
	slashed := strings.ReplaceAll(expanded, `\`, "/")
	if strings.HasPrefix(slashed, "//") {
		return "", refusal.New(WebConfigUnavailable, "physicalPath %q is on a share, which several servers may serve", physical)
	}
	drive, rest, ok := strings.Cut(slashed, ":")
	if !ok || len(drive) != 1 {
		return "", refusal.New(WebConfigUnavailable, "physicalPath %q: no absolute path", physical)
	}
	root := s.root
	if !strings.EqualFold(drive, systemDrive) {
		if runtime.GOOS != "windows" {
			return "", refusal.New(WebConfigUnavailable, "physicalPath %q: drive %s: is not known here", physical, drive)
		}
		root = drive + `:\`
	}
	// Clean after a slash takes ".." away that would lead out of the root.
	clean := strings.Trim(path.Clean("/"+rest+"/"+below), "/")
	if clean == "" {
		return root, nil
	}
	return winpath.Find(root, strings.Split(clean, "/")...)
}

// systemDrive is where Windows is nearly always installed; %SystemDrive% stands for the root in any case.
const systemDrive = "C"

// knownVariables are the ones that IIS' own files use. Others are looked up on the machine.
var knownVariables = map[string]string{
	"systemdrive": systemDrive + ":", "windir": systemDrive + `:\Windows`, "systemroot": systemDrive + `:\Windows`,
	"programfiles": systemDrive + `:\Program Files`, "programfiles(x86)": systemDrive + `:\Program Files (x86)`,
	"programdata": systemDrive + `:\ProgramData`,
}

// expand replaces %name%.
func expand(physical string) (string, error) {
	var b strings.Builder
	rest := physical
	for {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, tail, closed := strings.Cut(after, "%")
		value, known := knownVariables[strings.ToLower(name)]
		if !known && runtime.GOOS == "windows" {
			value, known = os.LookupEnv(name)
		}
		if !closed || !known {
			return "", refusal.New(WebConfigUnavailable, "physicalPath %q: environment variable %q is not known", physical, name)
		}
		b.WriteString(value)
		rest = tail
	}
}

// check says whether a mitigation may be installed beside what was chosen before. The files must hold nothing of ours.
func (set *fileSet) check(logical apphost.Wanted, parts map[string]apphost.Wanted, sum *sums) error {
	for _, name := range sortedKeys(parts) {
		if err := set.byName[name].err; err != nil {
			return err
		}
	}
	host := set.host.base
	for _, g := range logical.Groups {
		if err := host.CheckTarget(g.Path, []apphost.Section{apphost.Section(declaredName(g.Section))}); err != nil {
			return err
		}
	}
	all := sum.logical.Append(logical)
	if err := host.CheckServerVariables(all); err != nil {
		return err
	}
	if err := host.CheckNames(all); err != nil {
		return err
	}
	for _, name := range sortedKeys(parts) {
		f := set.byName[name]
		part := sum.files[name].Append(parts[name])
		if f.host() {
			if err := host.Check(part); err != nil {
				return err
			}
			continue
		}
		start, err := f.start()
		if err != nil {
			return refusal.Wrap(ConfigurationMalformed, err, "%s", f.path)
		}
		if err := start.CheckHere(part); err != nil {
			return refusal.Wrap(refusal.Of(err, SectionLocked), err, "%s", f.path)
		}
	}
	return set.checkAround(logical, parts)
}

func declaredName(s apphost.Section) string {
	name, _, _ := strings.Cut(string(s), "/")
	return name
}

// checkAround looks into the web.configs above and below the target: a section that one above locks, and a name that
// stands in any of them, which IIS answers with 500.19.
func (set *fileSet) checkAround(logical apphost.Wanted, parts map[string]apphost.Wanted) error {
	for _, g := range logical.Groups {
		if g.Section == apphost.GlobalRules || g.Section == apphost.ServerVariables {
			continue
		}
		inHost := slices.ContainsFunc(parts[hostFile].Groups, func(h apphost.Group) bool { return h.Section == g.Section && strings.EqualFold(h.Path, g.Path) })
		if !inHost {
			if err := set.host.base.CheckWebConfig(g.Path, apphost.Section(declaredName(g.Section))); err != nil {
				return err
			}
		}
		own := apphost.Wanted{Groups: []apphost.Group{{Section: g.Section, Items: g.Items}}}
		for _, around := range set.around(g.Path) {
			if _, ours := parts[recordName(around.path)]; ours && !inHost && strings.EqualFold(around.target, g.Path) {
				continue // the target itself, which was checked as such
			}
			config := set.look(around.path, g.Items)
			if config == nil {
				continue
			}
			if !inHost && around.above {
				if err := config.LocksBelow(apphost.Section(declaredName(g.Section))); err != nil {
					return refusal.Wrap(SectionLocked, err, "%s", around.path)
				}
			}
			if names := config.Holds(own); len(names) > 0 {
				return refusal.New(NameCollision, "%q for %q: one of that name that is not ours exists in %s: rename or remove it", names[0], g.Path, around.path)
			}
		}
	}
	return nil
}

// neighbour is a web.config of a level above or below a target, or at it.
type neighbour struct {
	target, path string
	above        bool
}

// around lists the web.configs of the levels above a target, of itself, and of the applications and virtual directories
// below it. Folders below that are neither cannot be known from the configuration.
func (set *fileSet) around(target string) []neighbour {
	var out []neighbour
	add := func(site apphost.Site, below string, above bool) {
		dir, ok := site.Directory(below)
		if !ok {
			return
		}
		folder, err := set.folder(dir.PhysicalPath, dir.Below)
		if err != nil {
			return
		}
		name, err := winpath.Find(folder, "web.config")
		if err == nil && !slices.ContainsFunc(out, func(n neighbour) bool { return n.path == name }) {
			out = append(out, neighbour{target: strings.Trim(site.Name+"/"+below, "/"), path: name, above: above})
		}
	}
	var sites []apphost.Site
	below := ""
	if target == "" {
		sites = set.host.config.Sites()
	} else {
		site, ok := set.host.config.Site(target)
		if !ok {
			return nil
		}
		sites = []apphost.Site{site}
		if _, below, _ = strings.Cut(strings.Trim(target, "/"), "/"); below != "" {
			add(site, "", true)
			names := strings.Split(below, "/")
			for i := 1; i < len(names); i++ {
				add(site, strings.Join(names[:i], "/"), true)
			}
		}
	}
	for _, site := range sites {
		add(site, below, false)
		for _, a := range site.Applications {
			for _, v := range a.Directories {
				p := strings.Trim(path.Join(a.Path, v.Path), "/")
				if below == "" || strings.HasPrefix(strings.ToLower(p)+"/", strings.ToLower(below)+"/") {
					add(site, p, false)
				}
			}
		}
	}
	return out
}

// look reads a web.config that is not edited itself, or gives nil when there is none, when it cannot be read, or when its
// bytes mention neither a lock nor one of the names: most files of a server need no parsing.
func (set *fileSet) look(name string, items []apphost.Item) *apphost.Config {
	if f, ok := set.byName[recordName(name)]; ok {
		return f.base
	}
	data, ok := set.raw[name]
	if !ok {
		var err error
		if data, err = set.read(name); err != nil {
			data = nil
		}
		data = bytes.ToLower(data)
		set.raw[name] = data
	}
	mentioned := bytes.Contains(data, []byte("<rewrite")) && (bytes.Contains(data, []byte("lock")) || bytes.Contains(data, []byte("override")))
	for _, item := range items {
		mentioned = mentioned || bytes.Contains(data, bytes.ToLower(firstWords(item.Name)))
	}
	if !mentioned {
		return nil
	}
	f := set.open(name, "")
	delete(set.byName, f.name) // it is not for this run to write
	return f.config
}

// firstWords gives the part of a name that no escaping changes, such as "EMS M1.1".
func firstWords(name string) []byte {
	if i := strings.IndexAny(name, `&<>"'`); i >= 0 {
		name = name[:i]
	}
	return []byte(name)
}
