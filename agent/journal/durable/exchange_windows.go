package durable

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Exchange implements Exchanger. ReplaceFileW keeps the replaced file under a third name, from where it takes the name of
// the temporary one.
func (OS) Exchange(temp, target string) error {
	old := temp + "-old"
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := windows.UTF16PtrFromString(target)
	if err != nil {
		return err
	}
	from, err := windows.UTF16PtrFromString(temp)
	if err != nil {
		return err
	}
	backup, err := windows.UTF16PtrFromString(old)
	if err != nil {
		return err
	}
	ok, _, err := procReplaceFile.Call(uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(backup)), 0, 0, 0)
	if ok == 0 {
		return pathError(target, err)
	}
	return pathError(old, windows.MoveFileEx(backup, from, windows.MOVEFILE_WRITE_THROUGH))
}
