package credential

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"

	"mitigation.dev/ems/agent/service"
)

// seal encrypts for this machine: the agent runs as the system and is enrolled by an administrator, so a key of either would not do.
// Who may read the file is up to its folder.
func seal(token []byte) ([]byte, error) {
	out, err := protect(token, func(in, out *windows.DataBlob) error {
		return windows.CryptProtectData(in, nil, nil, 0, nil, windows.CRYPTPROTECT_LOCAL_MACHINE|windows.CRYPTPROTECT_UI_FORBIDDEN, out)
	})
	if err != nil {
		return nil, fmt.Errorf("CryptProtectData: %w", err)
	}
	return out, nil
}

func unseal(sealed []byte) ([]byte, error) {
	out, err := protect(sealed, func(in, out *windows.DataBlob) error {
		return windows.CryptUnprotectData(in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, out)
	})
	if err != nil {
		return nil, fmt.Errorf("CryptUnprotectData: %w", err)
	}
	return out, nil
}

// protect calls one of the two functions and copies what it allocated.
func protect(data []byte, call func(in, out *windows.DataBlob) error) ([]byte, error) {
	if len(data) == 0 {
		return nil, windows.ERROR_INVALID_DATA
	}
	in, out := windows.DataBlob{Size: uint32(len(data)), Data: &data[0]}, windows.DataBlob{}
	if err := call(&in, &out); err != nil {
		return nil, err
	}
	defer func() { _, _ = windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data))) }()
	return slices.Clone(unsafe.Slice(out.Data, out.Size)), nil
}

func secureFolder(path string) error { return service.SecureFolder(path) }

// secureFile has nothing to do: files have the rights of the folder.
func secureFile(string) error { return nil }
