package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// TempSuffix ends the name of the file that holds new bytes before they replace the target.
const TempSuffix = ".ems-tmp"

// ErrTooLarge is returned by Read for a file above the limit.
var ErrTooLarge = errors.New("file is too large")

// ErrLocked is returned by Lock when another holder has the lock.
var ErrLocked = errors.New("locked by another process")

// FS is what durable writing needs of a file system.
type FS interface {
	// Read gives a whole file of at most limit bytes.
	Read(name string, limit int64) ([]byte, error)
	// WriteTemp writes data beside target, with owner and mode of the target if it exists, and flushes it to the disk.
	// It returns the name of the new file.
	WriteTemp(target string, data []byte) (temp string, err error)
	// Replace puts a file in place of the target in one step. The target need not exist.
	Replace(temp, target string) error
	// SyncDir flushes the entries of a folder, where the system needs that.
	SyncDir(dir string) error
	// Remove deletes a file. One that does not exist is no error.
	Remove(name string) error
}

// WriteFile replaces or creates a file durably.
func WriteFile(fs FS, target string, data []byte) error {
	temp, err := fs.WriteTemp(target, data)
	if err != nil {
		return err
	}
	if err := fs.Replace(temp, target); err != nil {
		return errors.Join(err, fs.Remove(temp))
	}
	return fs.SyncDir(filepath.Dir(target))
}

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{}

// Read implements FS.
func (OS) Read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// WriteTemp implements FS.
func (OS) WriteTemp(target string, data []byte) (string, error) {
	temp := target + TempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// O_EXCL: a link that somebody put there is not followed.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = likeTarget(f, target)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return temp, nil
}

// Replace implements FS.
func (OS) Replace(temp, target string) error { return replaceFile(temp, target) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error { return syncDir(dir) }

// Remove implements FS.
func (OS) Remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Lock takes the lock that a file stands for and returns the function that gives it back. It does not wait: with
// another holder, in this process or another, the error wraps ErrLocked. The system drops the lock when the process
// ends, so a crash leaves none behind; the file itself stays.
func Lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock: %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}
