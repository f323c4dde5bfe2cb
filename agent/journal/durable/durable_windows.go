package durable

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

var procReplaceFile = windows.NewLazySystemDLL("kernel32.dll").NewProc("ReplaceFileW")

// likeTarget has nothing to do: ReplaceFileW carries the security of the target over.
func likeTarget(*os.File, string) error { return nil }

// replaceFile calls ReplaceFileW, which golang.org/x/sys/windows does not wrap. MoveFileEx alone would give the target
// the access control list of the new file, and IIS worker processes could no longer read it.
func replaceFile(temp, target string) error {
	to, err := windows.UTF16PtrFromString(target)
	if err != nil {
		return err
	}
	from, err := windows.UTF16PtrFromString(temp)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); errors.Is(err, os.ErrNotExist) {
		err := windows.MoveFileEx(from, to, windows.MOVEFILE_WRITE_THROUGH)
		return pathError(temp, err)
	}
	// No backup file, no flags: errors while merging the security of the target must fail the call.
	ok, _, err := procReplaceFile.Call(uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), 0, 0, 0, 0)
	if ok != 0 {
		return nil
	}
	return pathError(target, err)
}

func pathError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "replace", Path: path, Err: err}
}

// syncDir has nothing to do: NTFS journals its folder entries, and a folder handle cannot be flushed.
func syncDir(string) error { return nil }

func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}
