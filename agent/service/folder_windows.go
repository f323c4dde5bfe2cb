package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// administratorsOnly is full control for the system and administrators, for everything below as well, inheriting nothing.
// Administrators own the folder: who owns it could change its access.
const administratorsOnly = "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// SecureFolder makes a folder that only administrators and the system can use, or makes an existing one such. Below
// ProgramData every user may make folders, so one of the right name proves nothing about who made it. A link is refused.
func SecureFolder(path string) error {
	if err := secureFolder(path); err != nil {
		return fmt.Errorf("folder %s: access for administrators only: %w", path, err)
	}
	return nil
}

func secureFolder(path string) error {
	descriptor, err := windows.SecurityDescriptorFromString(administratorsOnly)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	text, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	// With its access from the first moment on.
	if err := windows.CreateDirectory(text, &attributes); err == nil || !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return err
	}
	found, err := windows.GetFileAttributes(text)
	if err != nil {
		return err
	}
	if found&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 || found&windows.FILE_ATTRIBUTE_DIRECTORY == 0 {
		return errors.New("is a link or no folder")
	}
	owner, _, err := descriptor.Owner()
	if err != nil {
		return err
	}
	access, _, err := descriptor.DACL()
	if err != nil {
		return err
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, what, owner, nil, access, nil)
}
