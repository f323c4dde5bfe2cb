package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parts of a release, in the order in which they are made.
const (
	partManifests = "manifests"
	partAgent     = "agent"
	partPlugin    = "plugin"
	partImage     = "image"
)

// semantic is a version as Go and Helm read it, less what follows a plus sign: a tag of an image has no room for that.
var semantic = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

// options are the flags.
type options struct {
	root, out, version, image string
	only, platforms           string
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "folder of the repository")
	flag.StringVar(&o.out, "out", "dist", "`folder` to write to; what an earlier run left there is removed")
	flag.StringVar(&o.version, "version", development, "version of the release, v1.2.3")
	flag.StringVar(&o.image, "image", "ems-manager", "`name` of the manager's image in install.yaml and in the chart, with its registry")
	flag.StringVar(&o.only, "only", "", "make only these `parts`, with commas: manifests, agent, plugin, image")
	flag.StringVar(&o.platforms, "platforms", "", "make programs only for these, with commas: `linux/amd64`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("argument %q: not expected", flag.Arg(0))
	}
	r, err := newRelease(ctx, o)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		make func(context.Context) error
	}{{partManifests, r.makeManifests}, {partAgent, r.makeAgent}, {partPlugin, r.makePlugin}, {partImage, r.makeImages}} {
		if !chosen(o.only, part.name) {
			continue
		}
		started := time.Now()
		if err := part.make(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("%-10s %4.0f s\n", part.name, time.Since(started).Seconds())
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	fmt.Printf("%d files in %s\n", len(r.files), o.out)
	return nil
}

// chosen reports whether a list with commas has the name; an empty list has every name.
func chosen(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// newRelease checks the options.
func newRelease(ctx context.Context, o options) (*release, error) {
	if !semantic.MatchString(o.version) {
		return nil, fmt.Errorf("version %q: is not of the form v1.2.3 or v1.2.3-rc.1", o.version)
	}
	for part := range strings.SplitSeq(o.only, ",") {
		if part != "" && !slices.Contains([]string{partManifests, partAgent, partPlugin, partImage}, part) {
			return nil, fmt.Errorf("part %q: there is none of this name", part)
		}
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, fmt.Errorf("folder of the repository: %w", err)
	}
	at, err := sourceTime(ctx, root)
	if err != nil {
		return nil, err
	}
	return &release{root: root, version: o.version, image: o.image, platforms: o.platforms, at: at, files: map[string][]byte{}}, nil
}

// sourceTime is the time that everything in the release has: SOURCE_DATE_EPOCH, or that of the commit.
// See https://reproducible-builds.org/specs/source-date-epoch.
func sourceTime(ctx context.Context, root string) (time.Time, error) {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		out, err := exec.CommandContext(ctx, "git", "-C", root, "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("time of the commit (SOURCE_DATE_EPOCH can say another): %w", err)
		}
		seconds = strings.TrimSpace(string(out))
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || unix <= 0 {
		return time.Time{}, fmt.Errorf("time of the release %q: not a number of seconds since 1970", seconds)
	}
	return time.Unix(unix, 0).UTC(), nil
}

// sumsFile names the list of digests, which says of a folder what an earlier release put there.
const sumsFile = "SHA256SUMS"

// write replaces the contents of the folder.
func (r *release) write(out string) error {
	if err := removeEarlier(out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	r.files[sumsFile] = r.sums()
	for name, content := range r.files {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// removeEarlier removes the files of an earlier release, which its list of digests names. Many a folder of downloads has such a list, so
// nothing is removed where there is anything else.
func removeEarlier(out string) error {
	present, err := os.ReadDir(out)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(present) == 0 {
		return nil
	} else if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(out, sumsFile))
	if err != nil {
		return fmt.Errorf("%s holds something that is no release: nothing was removed", out)
	}
	named := []string{sumsFile}
	for line := range strings.Lines(string(sums)) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), "  "); found {
			named = append(named, name)
		}
	}
	for _, file := range present {
		if !file.Type().IsRegular() || !slices.Contains(named, file.Name()) {
			return fmt.Errorf("%s holds %s, which is not of the release that is there: nothing was removed", out, file.Name())
		}
	}
	for _, file := range present {
		if err := os.Remove(filepath.Join(out, file.Name())); err != nil {
			return err
		}
	}
	return nil
}
