package durable

import "golang.org/x/sys/unix"

// Exchange implements Exchanger.
func (OS) Exchange(temp, target string) error {
	return unix.RenamexNp(temp, target, unix.RENAME_SWAP)
}
