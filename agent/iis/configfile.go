package iis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/winpath"
	"mitigation.dev/ems/agent/journal/durable"
)

const redirectionName = "redirection.config"

// config is the configuration file as it was read.
type config struct {
	path string
	data []byte
	*apphost.Config
}

// readConfig reads the file and refuses, with a *refusal.Error, what must not be edited. Stamps of what it read go to seen,
// unless that is nil.
func (s *Server) readConfig(seen map[string]stamp) (*config, error) {
	path, err := winpath.Find(s.root, winpath.Config...)
	if err != nil {
		return nil, fileError(err, "applicationHost.config")
	}
	if err := s.checkRedirection(filepath.Dir(path), seen); err != nil {
		return nil, err
	}
	note(seen, path)
	data, err := s.fs.Read(path, lossless.MaxBytes)
	if err != nil {
		return nil, fileError(err, path)
	}
	c, err := apphost.Parse(data)
	if err != nil {
		return nil, refusal.Wrap(ConfigurationMalformed, err, "%s: cannot be edited safely, repair it first", path)
	}
	return &config{path: path, data: data, Config: c}, nil
}

// checkRedirection refuses a server whose live configuration is on a share: all servers of that farm would write it.
func (s *Server) checkRedirection(dir string, seen map[string]stamp) error {
	path, err := winpath.Find(dir, redirectionName)
	if err != nil {
		return fileError(err, redirectionName)
	}
	note(seen, path)
	data, err := s.fs.Read(path, lossless.MaxBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError(err, path)
	}
	doc, err := lossless.Parse(data)
	if err != nil {
		return refusal.Wrap(ConfigurationMalformed, err, "%s: cannot tell whether the configuration is redirected", path)
	}
	for _, e := range doc.Root.Children {
		if e.Name == "configurationRedirection" && strings.EqualFold(strings.TrimSpace(e.Value("enabled")), "true") {
			return refusal.New(ConfigurationRedirected,
				"%s: the configuration is redirected to %q: a shared configuration is not edited", path, e.Value("path"))
		}
	}
	return nil
}

func note(seen map[string]stamp, path string) {
	if seen != nil {
		seen[path] = stampOf(path)
	}
}

// fileError gives an error of the file system the reason that tells an operator where to look.
func fileError(err error, path string) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refusal.Wrap(ConfigurationMissing, err, "%s: not found: is IIS installed", path)
	case errors.Is(err, durable.ErrTooLarge):
		return refusal.Wrap(ConfigurationMalformed, err, "%s: too large", path)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return refusal.Wrap(ConfigurationReadOnly, err, "%s: the agent is not allowed to use it", path)
	case isSharingViolation(err):
		return refusal.Wrap(ConfigurationBusy, err, "%s: another program holds it", path)
	default:
		return refusal.Wrap(ConfigurationWriteFailed, err, "%s", path)
	}
}
