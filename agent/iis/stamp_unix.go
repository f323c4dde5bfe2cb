//go:build unix

package iis

import (
	"os"
	"syscall"
)

// fileID gives the number of the file, which changes when another file takes its name.
func fileID(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// readable lets a new file be read by all, as the web server has to, which on other systems than Windows does not run as
// the agent.
func readable(name string) error { return os.Chmod(name, 0o644) }
