//go:build !windows

package credential

import (
	"errors"
	"fmt"
	"os"
)

// seal has nothing to add to the rights of the file.
func seal(token []byte) ([]byte, error) { return token, nil }

func unseal(sealed []byte) ([]byte, error) { return sealed, nil }

// secureFolder makes a folder that its owner alone can use, or makes an existing one such. A link is refused.
func secureFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("folder %s: is a link or no folder", path)
	}
	return os.Chmod(path, 0o700)
}

// secureFile takes the rights of others away from a file, if it is there.
func secureFile(path string) error {
	if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
