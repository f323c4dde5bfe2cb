package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// development is the version in sources that no release has been made of.
const development = "v0.0.0-dev"

// An address of an archive in a manifest of krew, and the digest that belongs to it.
var (
	krewAddress = regexp.MustCompile(`^\s*(?:- )?uri: (\S+)\s*$`)
	krewDigest  = regexp.MustCompile(`^(\s*(?:- )?sha256: )"?[0-9a-f]{64}"?\s*$`)
)

// krewManifest puts version and digests into the template. Every archive that the template names must be among the digests, by
// the name of its file, and the other way round: a platform that is forgotten would be found by a user.
func krewManifest(template, version string, digests map[string]string) (string, error) {
	if !strings.Contains(template, development) {
		return "", fmt.Errorf("krew: the template does not have the version %q", development)
	}
	lines := strings.Split(strings.ReplaceAll(template, development, version), "\n")
	used, address := map[string]bool{}, ""
	for i, line := range lines {
		if found := krewAddress.FindStringSubmatch(line); found != nil {
			address = path.Base(strings.Trim(found[1], `"`))
			if digests[address] == "" {
				return "", fmt.Errorf("krew: line %d: there is no archive %q", i+1, address)
			}
			continue
		}
		found := krewDigest.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		if address == "" {
			return "", fmt.Errorf("krew: line %d: a digest without an address before it", i+1)
		}
		lines[i], used[address], address = found[1]+digests[address], true, ""
	}
	for name := range digests {
		if !used[name] {
			return "", fmt.Errorf("krew: the template does not name the archive %q", name)
		}
	}
	return strings.Join(lines, "\n"), nil
}
