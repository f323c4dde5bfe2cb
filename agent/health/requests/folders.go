package requests

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

const (
	// defaultDirectory is what IIS' schema says.
	defaultDirectory = `%SystemDrive%\inetpub\logs\LogFiles`
	// maxFolders bounds how many sites are counted; more than some say no more about a server.
	maxFolders = 64
)

// Folders gives the folders of the access logs of some sites, all of them if none is named, as applicationHost.config has
// them. resolve finds the folder below a directory as it is written there; a site for which it fails has no log, and neither
// have sites that log in another format than W3C, in one file with others, or not at all.
func Folders(config []byte, sites []string, resolve func(directory, below string) (string, error)) ([]string, error) {
	doc, err := lossless.Parse(config)
	if err != nil {
		return nil, fmt.Errorf("access logs: %w", err)
	}
	var folders []string
	for _, host := range doc.Root.Children {
		if host.Name != "system.applicationHost" || central(host) {
			continue
		}
		for _, list := range host.Children {
			if list.Name != "sites" {
				continue
			}
			for _, site := range list.Children {
				wanted := len(sites) == 0 || slices.ContainsFunc(sites, func(name string) bool { return strings.EqualFold(name, site.Value("name")) })
				if site.Name != "site" || !wanted || len(folders) == maxFolders {
					continue
				}
				directory, ok := logs(list, site)
				if !ok {
					continue
				}
				if folder, err := resolve(directory, "W3SVC"+site.Value("id")); err == nil && !slices.Contains(folders, folder) {
					folders = append(folders, folder)
				}
			}
		}
	}
	return folders, nil
}

// central reports whether all sites write one log.
func central(host *lossless.Element) bool {
	log := host.Child("log")
	if log == nil {
		return false
	}
	mode := log.Value("centralLogFileMode")
	return mode != "" && !strings.EqualFold(mode, "Site")
}

// logs gives the directory that the logs of a site stand in. What a site does not say, the defaults of all sites do.
func logs(list, site *lossless.Element) (directory string, ok bool) {
	value := func(name string) string {
		if own := site.Child("logFile"); own != nil && own.Attr(name) != nil {
			return own.Value(name)
		}
		if defaults := list.Child("siteDefaults"); defaults != nil {
			if all := defaults.Child("logFile"); all != nil {
				return all.Value(name)
			}
		}
		return ""
	}
	if strings.EqualFold(value("enabled"), "false") || !strings.EqualFold(cmp.Or(value("logFormat"), "W3C"), "W3C") {
		return "", false
	}
	return cmp.Or(value("directory"), defaultDirectory), true
}
