//go:build unix

package switches

import (
	"fmt"
	"os"
	"syscall"
)

// othersWrite are the rights of others than the owner to write.
const othersWrite = 0o022

// checkRights refuses what others than the user of this process, or root, can write.
func checkRights(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return fmt.Errorf("%s is a link", path)
	}
	if info.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("others than its owner can write to %s (%v): take that right away, and look at what stands there", path, info.Mode().Perm())
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who could change it: give it to root, and look at what stands there", path, stat.Uid)
	}
	return nil
}
