package durable

import "golang.org/x/sys/unix"

// Exchange implements Exchanger.
func (OS) Exchange(temp, target string) error {
	return unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE)
}
