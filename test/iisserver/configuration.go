package iisserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/simulate"
	"mitigation.dev/ems/test/iistree"
)

// application is one application of the site.
type application struct {
	// path is the folder of the URL space, such as /owa.
	path, pool string
	// folder is the path of its files, with the separators of this machine.
	folder string
}

// configuration is what the files say about the site.
type configuration struct {
	// id is the number of the site, after which its log is named.
	id string
	// applications are sorted, the deepest first.
	applications []application
	site         *rewrite.Site
}

// limits are those of package rewrite for configuration files.
var limits = xmltree.Limits{Bytes: 16 << 20, Depth: 64, Elements: 400_000, Attributes: 256}

// errNoSite means that applicationHost.config does not have the site.
var errNoSite = errors.New("no such site")

// sources are the contents of all files that were read, by path; nil for those that are not there.
type sources map[string][]byte

// read reads a file.
func (s sources) read(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		s[path] = nil
		return nil, nil
	}
	s[path] = content
	return content, err
}

// current reports whether the files are still what was read.
func (s sources) current() bool {
	for path, content := range s {
		now, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) || !bytes.Equal(now, content) {
			return false
		}
	}
	return len(s) > 0
}

// load reads the configuration of a site.
func load(root, site string, files sources) (*configuration, error) {
	path := filepath.Join(root, filepath.FromSlash(iistree.ConfigFile))
	content, err := files.read(path)
	if err != nil {
		return nil, err
	}
	parsed, err := xmltree.Parse(bytes.TrimPrefix(content, []byte("\uFEFF")), limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iistree.ConfigFile, err)
	}
	c := &configuration{}
	if err := c.find(parsed, root, site); err != nil {
		return nil, err
	}
	rules := simulate.Rules{ApplicationHost: &simulate.File{Name: iistree.ConfigFile, Content: content}, Site: site}
	for _, a := range c.applications {
		name := filepath.Join(a.folder, "web.config")
		if content, err := files.read(name); err != nil {
			return nil, err
		} else if content != nil {
			rules.WebConfigs = append(rules.WebConfigs, simulate.WebConfig{Folder: a.path, File: simulate.File{Name: name, Content: content}})
		}
	}
	c.site, err = rules.Compose(rewrite.Options{Files: c})
	return c, err
}

// find fills in the number of the site and its applications.
func (c *configuration) find(root *xmltree.Node, drive, name string) error {
	for _, host := range root.Children {
		if host.Name != "system.applicationHost" || host.Child("sites") == nil {
			continue
		}
		for _, site := range host.Child("sites").Children {
			if value, _ := site.Attr("name"); site.Name != "site" || !strings.EqualFold(value, name) {
				continue
			}
			c.id, _ = site.Attr("id")
			for _, node := range site.Children {
				if node.Name == "application" {
					c.applications = append(c.applications, readApplication(node, drive))
				}
			}
			slices.SortStableFunc(c.applications, func(a, b application) int { return len(b.path) - len(a.path) })
			return nil
		}
	}
	return fmt.Errorf("%w: %q", errNoSite, name)
}

func readApplication(node *xmltree.Node, drive string) application {
	a := application{pool: "DefaultAppPool"}
	a.path, _ = node.Attr("path")
	if pool, ok := node.Attr("applicationPool"); ok {
		a.pool = pool
	}
	for _, virtual := range node.Children {
		if path, _ := virtual.Attr("path"); virtual.Name == "virtualDirectory" && path == "/" {
			physical, _ := virtual.Attr("physicalPath")
			physical = strings.NewReplacer("%SystemDrive%", "", `C:\`, "", `\`, "/").Replace(physical)
			a.folder = filepath.Join(drive, filepath.FromSlash(physical))
		}
	}
	return a
}

// application returns the one that a request goes to.
func (c *configuration) application(path string) (application, bool) {
	lower := strings.ToLower(path)
	for _, a := range c.applications {
		prefix := strings.TrimSuffix(strings.ToLower(a.path), "/")
		if lower == prefix || strings.HasPrefix(lower, prefix+"/") {
			return a, true
		}
	}
	return application{}, false
}

// PhysicalPath implements rewrite.FileSystem.
func (c *configuration) PhysicalPath(path string) string {
	a, ok := c.application(path)
	if !ok || a.folder == "" {
		return ""
	}
	rest := path[min(len(strings.TrimSuffix(a.path, "/")), len(path)):]
	// Cleaned as an absolute path, so that no dots lead out of the folder.
	return filepath.Join(a.folder, filepath.Clean("/"+filepath.FromSlash(rest)))
}

// IsFile implements rewrite.FileSystem.
func (c *configuration) IsFile(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && info.Mode().IsRegular()
}

// IsDirectory implements rewrite.FileSystem.
func (c *configuration) IsDirectory(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && info.IsDir()
}
