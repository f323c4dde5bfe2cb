package iis

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/journal/durable"
)

// configNames leads from the root of the system drive to the configuration of the server.
var configNames = []string{"Windows", "System32", "inetsrv", "config", "applicationHost.config"}

const redirectionName = "redirection.config"

// findFold walks down names without regard to case, since a tree may have been copied from Windows to a file system that
// tells the cases apart.
func findFold(root string, names ...string) (string, error) {
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

// config is the configuration file as it was read.
type config struct {
	path string
	data []byte
	*apphost.Config
}

// readConfig reads the file and refuses, with a *refusal.Error, what must not be edited.
func (s *Server) readConfig() (*config, error) {
	path, err := findFold(s.root, configNames...)
	if err != nil {
		return nil, fileError(err, "applicationHost.config")
	}
	if err := s.checkRedirection(filepath.Dir(path)); err != nil {
		return nil, err
	}
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
func (s *Server) checkRedirection(dir string) error {
	path, err := findFold(dir, redirectionName)
	if err != nil {
		return fileError(err, redirectionName)
	}
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

// errChanged means that somebody else wrote the file while we worked; the caller starts again.
var errChanged = errors.New("the file was changed by another program")

// swap puts new bytes in place of c, unless the file has changed since it was read, and reads them back. Errors are
// *refusal.Error or errChanged.
func (s *Server) swap(c *config, out []byte, wanted apphost.Wanted) error {
	info, err := os.Stat(c.path)
	if err != nil {
		return fileError(err, c.path)
	}
	if info.Mode().Perm()&0o200 == 0 {
		return refusal.New(ConfigurationReadOnly, "%s: marked read-only: clear the attribute", c.path)
	}
	temp, err := s.fs.WriteTemp(c.path, out)
	if err != nil {
		return fileError(err, c.path)
	}
	now, err := s.fs.Read(c.path, lossless.MaxBytes)
	if err != nil || hashOf(now) != hashOf(c.data) {
		if rmErr := s.fs.Remove(temp); rmErr != nil {
			s.log.Error(rmErr, "Could not remove temporary file", "path", temp)
		}
		if err != nil {
			return fileError(err, c.path)
		}
		return errChanged
	}
	if err := s.fs.Replace(temp, c.path); err != nil {
		if rmErr := s.fs.Remove(temp); rmErr != nil {
			s.log.Error(rmErr, "Could not remove temporary file", "path", temp)
		}
		return fileError(err, c.path)
	}
	if err := s.fs.SyncDir(filepath.Dir(c.path)); err != nil {
		return fileError(err, c.path)
	}
	back, err := s.readConfig()
	if err != nil {
		return err
	}
	if hashOf(back.data) == hashOf(out) {
		return nil
	}
	if f := back.Verify(wanted); len(f) > 0 {
		s.log.Info("Configuration was overwritten by another program", "path", c.path, "place", f[0].Place, "rule", f[0].Rule, "problem", f[0].Problem)
	}
	return errChanged
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// removeLeftover deletes the new bytes of a change that a crash prevented.
func (s *Server) removeLeftover(path string) error {
	temp := path + durable.TempSuffix
	if _, err := os.Lstat(temp); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := s.fs.Remove(temp); err != nil {
		return fmt.Errorf("leftover of a change: %w", err)
	}
	return nil
}
