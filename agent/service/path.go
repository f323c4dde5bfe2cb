package service

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxPath leaves room below MAX_PATH (260) for the names of files in a folder, which programs of IIS still need.
const maxPath = 240

// ErrPath means that a path cannot be given to a service.
var ErrPath = errors.New("path cannot be used")

var (
	drive = regexp.MustCompile(`^[A-Za-z]:\\`)
	// device names are files in every folder, with any extension.
	device = regexp.MustCompile(`(?i)^(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])(\.|$)`)
)

// CheckPath refuses what is no plain path on a drive of this machine. A service has no folder of its own to start from, so
// relative paths mean another one than where they were typed; network paths and device paths lead past the access control
// of the machine; ".." and names that Windows shortens make paths mean something else than they say.
func CheckPath(path string) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %q: %s", ErrPath, path, why) }
	switch {
	case path == "":
		return refuse("is empty")
	case strings.HasPrefix(path, `\\`), strings.HasPrefix(path, "//"):
		return refuse("is a network or device path; use a path on a drive of this server")
	case strings.Contains(path, "/"):
		return refuse(`has a "/"; use "\"`)
	case !drive.MatchString(path):
		return refuse(`does not begin with a drive, such as C:\`)
	case len(path) > maxPath:
		return refuse(fmt.Sprintf("is longer than %d bytes", maxPath))
	}
	rest := strings.TrimSuffix(path[len(`C:\`):], `\`)
	if rest == "" {
		return nil
	}
	for name := range strings.SplitSeq(rest, `\`) {
		switch {
		case name == "":
			return refuse(`has two "\" in a row`)
		case strings.Trim(name, ".") == "":
			return refuse(`has a part "` + name + `"`)
		case strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
			return refuse("has a name that ends with a dot or a blank, which Windows drops")
		case strings.ContainsAny(name, `<>:"|?*`), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
			return refuse("has a character that is not allowed in names")
		case device.MatchString(name):
			return refuse("has the name of a device")
		}
	}
	return nil
}

// Below tells whether a path lies below a folder. Both are paths that CheckPath takes.
func Below(folder, path string) bool {
	folder = strings.TrimRight(folder, `\`)
	return folder != "" && len(path) > len(folder)+1 && strings.EqualFold(path[:len(folder)], folder) && path[len(folder)] == '\\'
}
