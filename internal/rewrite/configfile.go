package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// fileLimits bounds the configuration files that are read. They are those of the agent's own
// reader of such files: 16 MB are a server with some thousand sites.
var fileLimits = xmltree.Limits{Bytes: 16 << 20, Depth: 64, Elements: 400_000, Attributes: 256}

// ServerLevels returns what an applicationHost.config says for a site: the level of the server
// and those of the <location> elements of the site and of its folders. The name is for messages.
//
// A file that is not well-formed is a *FaultError; one in another encoding than UTF-8 wraps
// ErrUnsupported. An element that IIS refuses is the Err of its
// level, since it hurts only there. inheritInChildApplications is not regarded.
func ServerLevels(name string, content []byte, site string) ([]Level, error) {
	return fileLevels(name, content, func(location string) (folder string, server, ok bool) {
		first, rest, _ := strings.Cut(strings.Trim(location, "/"), "/")
		switch {
		case first == "" || first == ".":
			return "/", true, true
		case strings.EqualFold(first, site):
			return rest, false, true
		}
		return "", false, false
	})
}

// FolderLevels returns what the web.config of a folder says: its own level and those of its
// <location> elements. The folder of a site is "/".
func FolderLevels(name string, content []byte, folder string) ([]Level, error) {
	return fileLevels(name, content, func(location string) (string, bool, bool) {
		location = strings.Trim(location, "/")
		if location == "." {
			location = ""
		}
		return folderOf(folder) + location, false, true
	})
}

// fileLevels reads the levels of a file. place says where a <location> of a path is, and
// whether it counts.
func fileLevels(name string, content []byte, place func(location string) (folder string, server, ok bool)) ([]Level, error) {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	r := &reader{start: Position{File: name, Line: 1, Column: 1}}
	root, err := r.tree(content, fileLimits)
	if err != nil {
		return nil, err
	}
	var levels []Level
	add := func(parent *xmltree.Node, location string) error {
		folder, server, ok := place(location)
		if !ok {
			return nil
		}
		where := name
		if location != "" {
			where += ", location " + location
		}
		for _, web := range parent.Children {
			if web.Name != "system.webServer" || web.Child("rewrite") == nil {
				continue
			}
			element := web.Child("rewrite")
			at := Position{File: name}
			at.Line, at.Column = element.Position()
			level := Level{Name: where, Path: folderOf(folder), Server: server}
			level.Config, level.Err = ParseAt(at, element.Raw(content))
			if level.Err != nil && !errors.Is(level.Err, ErrInvalidConfiguration) {
				return level.Err
			}
			levels = append(levels, level)
		}
		return nil
	}
	if err := add(root, ""); err != nil {
		return nil, err
	}
	for _, location := range root.Children {
		if location.Name == "location" {
			path, _ := location.Attr("path")
			if err := add(location, path); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(levels, func(a, b Level) int {
		if a.Server != b.Server {
			if a.Server {
				return -1
			}
			return 1
		}
		return strings.Count(a.Path, "/") - strings.Count(b.Path, "/")
	})
	return levels, nil
}
