// Package winpath finds files of a Windows system drive, also in a copy of it on a file system that tells upper from lower
// case.
//
// # Usage
//
// Find walks down names from a root; Inetsrv and Config are the places of IIS below it.
package winpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Inetsrv leads from the root of the system drive to the programs of IIS, Config to the configuration of the server, and
// System32 to the programs of Windows.
var (
	System32 = []string{"Windows", "System32"}
	Inetsrv  = []string{"Windows", "System32", "inetsrv"}
	Config   = []string{"Windows", "System32", "inetsrv", "config", "applicationHost.config"}
)

// Find walks down names without regard to case. A name that does not exist is taken as it is, so that the path of a file
// to be made can be found as well; a folder on the way that cannot be read is an error.
func Find(root string, names ...string) (string, error) {
	path := root
	for _, name := range names {
		next := filepath.Join(path, name)
		if _, err := os.Lstat(next); errors.Is(err, os.ErrNotExist) {
			entries, err := os.ReadDir(path)
			if err != nil {
				return "", err
			}
			for _, e := range entries {
				if strings.EqualFold(e.Name(), name) {
					next = filepath.Join(path, e.Name())
					break
				}
			}
		}
		path = next
	}
	return path, nil
}
