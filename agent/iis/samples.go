package iis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/winpath"
	"mitigation.dev/ems/agent/samples"
	urlrewrite "mitigation.dev/ems/internal/rewrite"
)

const (
	// maxSampleSites of one mitigation are evaluated. Mitigations name one or two; one for the whole server is tried on its
	// first sites. Each costs two walks through applicationHost.config and a read of the web.configs on the way.
	maxSampleSites = 8
	// maxSampleDepth of a URL is looked at for web.configs, as in package effective.
	maxSampleDepth = effective.MaxDepth
)

// tree is the configuration of a server as requests are sent through it.
type tree struct {
	*Server
	path string // of applicationHost.config
	host *apphost.Config
	// read gives a web.config; its error wraps os.ErrNotExist where there is none.
	read func(path string) ([]byte, error)
	seen map[string]stamp // what it depends on beside what read gives
}

// targeted gives the sites that a mitigation acts on. all is false if there are more.
func (t *tree) targeted(content apphost.Wanted) (sites []apphost.Site, all bool) {
	seen := map[string]bool{}
	for _, g := range content.Groups {
		name, _, _ := strings.Cut(strings.Trim(g.Path, "/"), "/")
		switch {
		case g.Section != apphost.Rules && g.Section != apphost.GlobalRules:
		case name == "":
			sites = t.host.Sites()
			return sites[:min(len(sites), maxSampleSites)], len(sites) <= maxSampleSites
		case !seen[strings.ToLower(name)]:
			seen[strings.ToLower(name)] = true
			if site, ok := t.host.Site(name); ok {
				sites = append(sites, site)
			}
		}
	}
	return sites[:min(len(sites), maxSampleSites)], len(sites) <= maxSampleSites
}

// site makes a site out of applicationHost.config and of the web.configs on the way to the URLs.
func (t *tree) site(site apphost.Site, urls []string) (*urlrewrite.Site, error) {
	levels, err := urlrewrite.ServerLevels(t.path, excerpt(t.host, site.Name), site.Name)
	if levels, err = withBroken(levels, urlrewrite.Level{Name: t.path, Path: "/", Server: true}, err); err != nil {
		return nil, err
	}
	for _, folder := range foldersOf(urls) {
		dir, ok := site.Directory(folder)
		if !ok {
			return nil, fmt.Errorf("%q: no virtual directory", site.Name+"/"+folder)
		}
		if dir.Below != "" && !dir.SubDirConfig {
			continue
		}
		name, err := t.webConfigOf(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var data []byte
		if err == nil {
			data, err = t.read(name)
		}
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("web.config of %q: %w", site.Name+"/"+folder, err)
		}
		found, err := urlrewrite.FolderLevels(name, data, "/"+folder)
		if found, err = withBroken(found, urlrewrite.Level{Name: name, Path: "/" + folder}, err); err != nil {
			return nil, err
		}
		levels = append(levels, found...)
	}
	// As IIS reads them: the server, then from the site down, and applicationHost.config before a web.config of the same level.
	slices.SortStableFunc(levels, func(a, b urlrewrite.Level) int { return levelDepth(a) - levelDepth(b) })
	return urlrewrite.NewSite(urlrewrite.Options{}, levels...), nil
}

// excerpt is what of applicationHost.config can matter for the rewriting of a site, everything in its line: to read a file
// of ten megabytes as a whole takes two seconds, for each site once with the mitigation and once without.
func excerpt(host *apphost.Config, site string) []byte {
	doc := host.Document()
	root := doc.Root
	if root.SelfClosing {
		return doc.Data
	}
	out := slices.Clone(doc.Data[:root.StartEnd])
	at := root.StartEnd
	for _, e := range root.Children {
		holders := []*lossless.Element{e}
		if e.Name == "location" {
			name, _, _ := strings.Cut(strings.Trim(e.Value("path"), "/"), "/")
			if name != "" && name != "." && !strings.EqualFold(name, site) {
				continue
			}
			holders = e.Children
		}
		if !slices.ContainsFunc(holders, func(web *lossless.Element) bool { return web.Name == "system.webServer" && web.Child("rewrite") != nil }) {
			continue
		}
		out = append(out, bytes.Repeat([]byte("\n"), bytes.Count(doc.Data[at:e.Start], []byte("\n")))...)
		out = append(out, doc.Data[e.Start:e.End]...)
		at = e.End
	}
	return append(out, doc.Data[root.EndStart:root.End]...)
}

func (t *tree) webConfigOf(dir apphost.Directory) (string, error) {
	folder, err := t.folder(dir.PhysicalPath, dir.Below)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(folder)
	t.seen[folder] = folderStamp(info, err)
	return winpath.Find(folder, "web.config")
}

// withBroken takes a file that IIS cannot read as a level that answers with an error.
func withBroken(levels []urlrewrite.Level, level urlrewrite.Level, err error) ([]urlrewrite.Level, error) {
	if errors.Is(err, urlrewrite.ErrInvalidConfiguration) {
		level.Err = err
		return append(levels, level), nil
	}
	return levels, err
}

func levelDepth(l urlrewrite.Level) int {
	folder := strings.Trim(l.Path, "/")
	switch {
	case l.Server:
		return -1
	case folder == "":
		return 0
	}
	return 1 + strings.Count(folder, "/")
}

// foldersOf lists the folders that the paths of URLs lead through, each once, with the site itself as "".
func foldersOf(urls []string) []string {
	folders, seen := []string{""}, map[string]bool{"": true}
	for _, u := range urls {
		raw, _, _ := strings.Cut(u, "?")
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			decoded = raw
		}
		clean := strings.Trim(path.Clean("/"+strings.ReplaceAll(decoded, `\`, "/")), "/")
		folder := ""
		for i, name := range strings.Split(clean, "/") {
			// No folder has such a name; what Windows takes for a stream or a device is none either.
			if name == "" || i == maxSampleDepth || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(`:*?"<>|`, r) }) {
				break
			}
			folder = strings.TrimPrefix(folder+"/"+name, "/")
			if key := strings.ToLower(folder); !seen[key] {
				seen[key] = true
				folders = append(folders, folder)
			}
		}
	}
	return folders
}

// subjectOf says what of a mitigation there is to be judged.
func subjectOf(m Mitigation, content apphost.Wanted) samples.Subject {
	s := samples.Subject{Samples: m.Samples, SwitchesOff: len(m.targets()) > 0}
	for _, g := range content.Groups {
		if g.Section == apphost.Rules || g.Section == apphost.GlobalRules {
			for _, item := range g.Items {
				s.Rules = append(s.Rules, item.Name)
			}
		}
	}
	return s
}

func urlsOf(list []samples.Sample) []string {
	urls := make([]string, 0, len(list))
	for _, s := range list {
		urls = append(urls, s.URL)
	}
	return urls
}

// gate refuses a mitigation whose samples come out otherwise than expected when it is put in place behind what was chosen
// before. The files hold nothing of ours, as for check.
func (set *fileSet) gate(m Mitigation, content apphost.Wanted, parts map[string]apphost.Wanted, sum *sums) error {
	subject := subjectOf(m, content)
	if len(m.Samples) == 0 || len(subject.Rules) == 0 {
		return nil
	}
	before, err := set.tree(sum.files)
	if err != nil {
		return err
	}
	with := map[string]apphost.Wanted{}
	for _, name := range sortedKeys(set.byName) {
		if all := sum.files[name].Append(parts[name]); !all.Empty() {
			with[name] = all
		}
	}
	after, err := set.tree(with)
	if err != nil {
		return err
	}
	var sites []samples.Site
	list, _ := before.targeted(content)
	for _, s := range list {
		one := samples.Site{Name: s.Name}
		if one.Before, one.Err = before.site(s, urlsOf(m.Samples)); one.Err == nil {
			one.After, one.Err = after.site(s, urlsOf(m.Samples))
		}
		sites = append(sites, one)
	}
	report := samples.Gate(sites, subject)
	if open := slices.Concat(report.Undecided, report.Unsure); len(open) > 0 {
		set.log.Info("Samples of a mitigation cannot be decided", "id", m.ID, "revision", m.Revision, "detail", firstFew(open))
	}
	if failures := report.Failures(); len(failures) > 0 {
		return refusal.New(SamplesFailed, "not applied, because of what its rules would do on this server: %s", firstFew(failures))
	}
	return nil
}

// tree gives the files as they would be with contents in them, by the names of the files.
func (set *fileSet) tree(contents map[string]apphost.Wanted) (*tree, error) {
	rendered := func(f *file) (*apphost.Config, error) {
		content := contents[f.name]
		switch {
		case f.err != nil:
			return nil, f.err
		case content.Empty() && f.base == nil:
			return nil, os.ErrNotExist
		case content.Empty():
			return f.base, nil
		}
		start, err := f.start()
		if err != nil {
			return nil, err
		}
		out, _, err := start.Render(content)
		return out, err
	}
	host, err := rendered(set.host)
	if err != nil {
		return nil, refusal.Wrap(refusal.Of(err, ConfigurationMalformed), err, "%s", set.host.path)
	}
	read := func(name string) ([]byte, error) {
		if f, ok := set.byName[recordName(name)]; ok {
			config, err := rendered(f)
			if err != nil {
				return nil, err
			}
			return config.Data(), nil
		}
		return set.read(name)
	}
	return &tree{Server: set.Server, path: set.host.path, host: host, read: read, seen: set.seen}, nil
}

// firstFew keeps a message readable; the first failures tell what is wrong.
func firstFew(texts []string) string {
	const few = 3
	out := strings.Join(texts[:min(few, len(texts))], "; ")
	if more := len(texts) - few; more > 0 {
		out += fmt.Sprintf("; and %d more", more)
	}
	return out
}

// sampled is what became of the samples of everything that is in place, and what that depends on.
type sampled struct {
	applied []byte // as JSON
	stamps  map[string]stamp
	reports map[string]sampledReport // by key of the id
}

type sampledReport struct {
	samples.Report

	// provable means that the samples speak for all that the mitigation has in the configuration.
	provable bool
}

// sampleVerdicts completes verdicts by the samples of what is in place, sent through the files as they are. Nothing is
// evaluated again that has not changed.
func (s *Server) sampleVerdicts(host string, applied []Mitigation, verdicts []effective.Verdict) error {
	list := slices.DeleteFunc(slices.Clone(applied), func(m Mitigation) bool { return len(m.Samples) == 0 })
	if len(list) == 0 {
		s.sampled = nil
		return nil
	}
	sameAs, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("iis: samples: %w", err)
	}
	if known := s.sampled; known == nil || !bytes.Equal(known.applied, sameAs) || !unchangedSince(known.stamps) {
		s.sampled = s.sample(host, list, sameAs)
	}
	for i := range verdicts {
		if report, ok := s.sampled.reports[key(verdicts[i].ID)]; ok {
			report.complete(&verdicts[i])
		}
	}
	for _, seen := range s.sampled.stamps {
		if !seen.old() {
			s.sampled = nil // a change may hide behind the resolution of the clock
			break
		}
	}
	return nil
}

// sample sends the samples of everything in place through the files as they are.
func (s *Server) sample(host string, applied []Mitigation, sameAs []byte) *sampled {
	out := &sampled{applied: sameAs, stamps: map[string]stamp{}, reports: map[string]sampledReport{}}
	contents := map[string][]byte{}
	read := func(name string) ([]byte, error) {
		if data, ok := contents[name]; ok {
			return data, nil
		}
		note(out.stamps, name)
		data, err := s.fs.Read(name, lossless.MaxBytes)
		if err == nil {
			contents[name] = data
		}
		return data, err
	}
	data, err := read(host)
	var config *apphost.Config
	if err == nil {
		config, err = apphost.Parse(data)
	}
	if err != nil {
		return out // the verdicts say so already
	}
	now := &tree{Server: s, path: host, host: config, read: read, seen: out.stamps}
	for _, m := range applied {
		content, err := m.content()
		subject := subjectOf(m, content)
		if err != nil || len(subject.Rules) == 0 {
			continue
		}
		list, all := now.targeted(content)
		var sites []samples.Site
		for _, site := range list {
			one := samples.Site{Name: site.Name}
			one.After, one.Err = now.site(site, urlsOf(m.Samples))
			sites = append(sites, one)
		}
		inbound := !slices.ContainsFunc(content.Groups, func(g apphost.Group) bool {
			return declaredName(g.Section) == string(apphost.OutboundRules)
		})
		out.reports[key(m.ID)] = sampledReport{Report: samples.Check(sites, subject), provable: all && inbound}
	}
	return out
}

// complete puts into a verdict what the samples tell. Where the configuration says more, that stays.
func (r sampledReport) complete(v *effective.Verdict) {
	if v.Status == effective.True || v.Status == effective.Unknown && v.Reason == effective.MayBeShadowed {
		switch {
		case len(r.NotBlocked) > 0:
			v.Status, v.Reason, v.Message = effective.False, effective.SampleNotBlocked, firstFew(r.NotBlocked)
		case len(r.Undecided) > 0 && v.Status == effective.True:
			v.Status, v.Reason, v.Message = effective.Unknown, effective.SampleUndecided, firstFew(r.Undecided)
		case v.Status == effective.Unknown && r.provable && r.Proven:
			v.Status, v.Reason, v.Message = effective.True, effective.InEffect, ""
		}
	}
	if len(r.NotPassed) > 0 {
		v.Harm = firstFew(r.NotPassed)
	}
	if len(r.Unsure) > 0 {
		v.Note = "not known whether it blocks what must pass: " + firstFew(r.Unsure)
	}
}
