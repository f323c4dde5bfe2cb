package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Development is the value of [Version] in a build whose version nobody stamped (go run, go test, go build).
const Development = "v0.0.0-dev"

// Version is the semantic version of this build with its leading "v". The linker sets it; it is a variable only for
// that and is not written at run time.
var Version = Development

// modifiedSuffix marks a commit whose working tree held changes that were not committed.
const modifiedSuffix = "-dirty"

// Commit is the version-control revision the program was built from, with "-dirty" appended for a changed working tree,
// or "unknown" where the toolchain recorded none (tests, builds with -buildvcs=false, sources without a repository).
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return commitOf(nil)
	}
	return commitOf(info.Settings)
}

// String is the one line that a -version flag prints: version, commit, Go release and platform.
func String() string {
	return fmt.Sprintf("%s (commit %s, %s, %s/%s)", Version, Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commitOf reads revision and cleanliness from the build settings.
func commitOf(settings []debug.BuildSetting) string {
	revision, suffix := "unknown", ""
	for _, setting := range settings {
		switch setting.Key {
		case "vcs.revision":
			revision = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				suffix = modifiedSuffix
			}
		}
	}
	return revision + suffix
}
