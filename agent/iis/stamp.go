package iis

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// stamp tells whether a file is still the one that was read. Its zero value is a file that does not exist.
type stamp struct {
	exists, folder bool
	size           int64
	modified       time.Time
	id             uint64 // of the file on its volume, where the system gives one
	taken          time.Time
	failed         bool
}

// settleTime is how old a file has to be for its stamp to be believed: a second change within the resolution of the file
// system's clock, up to two seconds on FAT, leaves the time as it is.
const settleTime = 2 * time.Second

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	return stampFrom(info, err)
}

func stampFrom(info os.FileInfo, err error) stamp {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return stamp{}
	case err != nil:
		return stamp{failed: true}
	case info.IsDir():
		return folderStamp(info, nil)
	}
	return stamp{exists: true, size: info.Size(), modified: info.ModTime(), id: fileID(info), taken: time.Now()}
}

// folderStamp only knows whether a folder is there: what is in it has stamps of its own.
func folderStamp(info os.FileInfo, err error) stamp {
	return stamp{exists: err == nil, folder: err == nil && info.IsDir()}
}

// same reports whether two looks found the same file.
func (s stamp) same(now stamp) bool {
	return !s.failed && !now.failed && s.exists == now.exists && s.folder == now.folder && s.size == now.size && s.modified.Equal(now.modified) && s.id == now.id
}

// old reports whether the file was at rest when the stamp was taken.
func (s stamp) old() bool {
	return !s.failed && (!s.exists || s.folder || s.taken.Sub(s.modified) > settleTime)
}

// folderList is a stamp of a folder with all of its files.
func folderList(dir string) (list string, old bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false, err
	}
	var b strings.Builder
	old = true
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", false, err
		}
		s := stampFrom(info, nil)
		old = old && s.old()
		fmt.Fprintf(&b, "%s %d %d %d\n", e.Name(), s.size, s.modified.UnixNano(), s.id)
	}
	return b.String(), old, nil
}

// memo is what a run that wrote nothing leaves behind, so that the next one need not read anything.
type memo struct {
	wanted  []byte // as JSON
	stamps  map[string]stamp
	journal string
	plan    *plan
	led     *ledger
}

// remember keeps what a run found out, if all that it depends on was at rest meanwhile.
func (s *Server) remember(r *run, wanted []byte, journal string) {
	s.memo = nil
	if r.wrote || r.set == nil || r.plan == nil || len(r.broken) > 0 || len(r.waiting) > 0 || len(r.late) > 0 {
		return
	}
	for _, seen := range r.set.seen {
		if !seen.old() {
			return
		}
	}
	m := &memo{wanted: wanted, stamps: r.set.seen, journal: journal, plan: r.plan, led: r.led}
	if list, old, err := folderList(s.journalDir); err == nil && old && list == journal && unchangedSince(m.stamps) {
		s.memo = m
	}
}

// unchangedSince reports whether every file still is the one of its stamp.
func unchangedSince(stamps map[string]stamp) bool {
	for path, s := range stamps {
		now := stampOf(path)
		if s.folder {
			now = stamp{exists: now.exists, folder: now.folder}
		}
		if !s.same(now) {
			return false
		}
	}
	return true
}

// ledger gives the journal, which is read again when a file of it has changed.
func (s *Server) ledger() (*ledger, error) {
	list, old, err := folderList(s.journalDir)
	if err == nil && s.led != nil && s.ledList == list {
		return s.led, nil
	}
	led, loadErr := s.loadLedger()
	if s.led = nil; loadErr == nil && err == nil && old {
		s.led, s.ledList = led, list
	}
	return led, loadErr
}
