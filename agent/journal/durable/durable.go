package durable

import (
	"bytes"
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

// Exchanger is a file system that can give back what a replacement replaced. Not every system has it.
type Exchanger interface {
	// Exchange puts a file in place of the target, and the target in place of the file, in one step as others see it. Both
	// must exist.
	Exchange(temp, target string) error
}

// Comparer is a file system that can compare a file without taking all of it into memory.
type Comparer interface {
	// Same reports whether a file has exactly these bytes. One that does not exist has none, and is an error.
	Same(name string, data []byte) (bool, error)
}

// Lister is a file system whose folders hold other files than those of the machine.
type Lister interface {
	// Names gives the names in a folder, in no order.
	Names(dir string) ([]string, error)
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

var (
	_ FS       = OS{}
	_ Comparer = OS{}
)

// Read implements FS.
func (OS) Read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := readAll(f, limit+1)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// readAll reads at most limit bytes. It takes the size of the file as a hint, so that a large one is not copied from
// buffer to buffer while it is read, and half of them thrown away.
func readAll(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// bytes.MinRead more than needed, or the last read, which only finds the end, would double the buffer.
	buf := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	_, err = buf.ReadFrom(io.LimitReader(f, limit))
	return buf.Bytes(), err
}

// Same implements Comparer.
func (OS) Same(name string, data []byte) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if n > len(data) || !bytes.Equal(buf[:n], data[:n]) {
			return false, nil
		}
		data = data[n:]
		if errors.Is(err, io.EOF) {
			return len(data) == 0, nil
		}
		if err != nil {
			return false, err
		}
	}
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
