//go:build !unix

package switches

import (
	"fmt"
	"os"
)

// checkRights refuses links. The access lists of the folder are set when the service is installed, for administrators and the
// system alone.
func checkRights(path string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&(os.ModeSymlink|os.ModeIrregular) != 0 {
		return fmt.Errorf("%s is a link", path)
	}
	return err
}
