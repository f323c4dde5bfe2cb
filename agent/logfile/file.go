package logfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Defaults of Options.
const (
	// DefaultFileBytes is the size at which a new file begins: an editor opens it at once.
	DefaultFileBytes = 10 << 20
	// DefaultTotalBytes is what all files may take: weeks of a busy server.
	DefaultTotalBytes = 100 << 20
	// DefaultAge is how long a file is kept.
	DefaultAge = 30 * 24 * time.Hour
)

const (
	// queueLines is how many lines may wait for the disk: a burst of a pass over hundreds of mitigations.
	queueLines = 1024
	// retryAfter is how long nothing is tried on a disk that refused a line, so that a full one is not hammered.
	retryAfter = 5 * time.Second
	// closePatience is how long Close waits for the lines in the queue.
	closePatience = 3 * time.Second
)

// Options of a log. Only Dir and Name are required.
type Options struct {
	// Dir is the folder, which is made when it is missing. Only files of this log are touched there.
	Dir string
	// Name begins the names of the files: NAME-20260514-1.log.
	Name string
	// FileBytes, TotalBytes and Age are limits; see the defaults.
	FileBytes, TotalBytes int64
	Age                   time.Duration
	// Clock is the time of lines and files. Default: the machine's.
	Clock clock.PassiveClock
	// open opens a file to append to, for tests.
	open func(path string) (io.WriteCloser, int64, error)
}

// File is a log. Its methods may be called from several goroutines.
type File struct {
	o     Options
	lines chan []byte
	stop  chan struct{}
	done  chan struct{}

	mu     sync.Mutex
	closed bool
	lost   int64

	// The rest belongs to the goroutine that writes.
	file    io.WriteCloser
	day     string
	number  int
	size    int64
	torn    bool // the last line was not written to its end
	silence time.Time
}

// Open begins a log. It fails if the folder cannot be made or read; later failures cost lines.
func Open(o Options) (*File, error) {
	o.FileBytes = cmp.Or(o.FileBytes, DefaultFileBytes)
	o.TotalBytes = cmp.Or(o.TotalBytes, DefaultTotalBytes)
	o.Age = cmp.Or(o.Age, DefaultAge)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.open == nil {
		o.open = appendTo
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	f := &File{o: o, lines: make(chan []byte, queueLines), stop: make(chan struct{}), done: make(chan struct{})}
	if _, err := f.list(); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	go f.run()
	return f, nil
}

func appendTo(path string) (io.WriteCloser, int64, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// Write queues a line. It never waits and never fails; a line that does not fit is counted.
func (f *File) Write(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	select {
	case f.lines <- line:
	default:
		f.lost++
	}
}

// Log queues a record with the time of now.
func (f *File) Log(component, level, message string, fields ...Field) {
	f.Write(Line(f.o.Clock.Now(), component, level, message, fields...))
}

// Close writes what is in the queue, for some seconds at most, and closes the file.
func (f *File) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.stop)
	}
	f.mu.Unlock()
	select {
	case <-f.done:
	case <-time.After(closePatience):
	}
}

func (f *File) run() {
	defer close(f.done)
	for {
		select {
		case line := <-f.lines:
			f.put(line)
		case <-f.stop:
			for {
				select {
				case line := <-f.lines:
					f.put(line)
				default:
					f.closeFile()
					return
				}
			}
		}
	}
}

// put writes a line, and before it how many were lost.
func (f *File) put(line []byte) {
	now := f.o.Clock.Now()
	if now.Before(f.silence) && f.silence.Sub(now) <= retryAfter { // a clock that was set back does not silence the log
		f.lose(1)
		return
	}
	if err := f.rotate(now, int64(len(line))); err != nil {
		f.fail(now)
		return
	}
	if lost := f.forget(); lost > 0 {
		note := Line(now, "log", LevelWarning, "Lines were lost because the disk did not take them", Field{"lines", lost})
		if !f.append(note) {
			f.lose(lost)
			f.fail(now)
			return
		}
	}
	if !f.append(line) {
		f.fail(now)
	}
}

// append writes bytes to the file that is open.
func (f *File) append(line []byte) bool {
	if f.torn {
		line = append([]byte("\r\n"), line...)
	}
	n, err := f.file.Write(line)
	f.size += int64(n)
	if err != nil || n < len(line) {
		f.torn = f.torn || n > 0
		return false
	}
	f.torn = false
	return true
}

// fail counts a line and leaves the disk alone for a while.
func (f *File) fail(now time.Time) {
	f.closeFile()
	f.lose(1)
	f.silence = now.Add(retryAfter)
}

func (f *File) lose(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost += n
}

func (f *File) forget() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := f.lost
	f.lost = 0
	return lost
}

func (f *File) closeFile() {
	if f.file != nil {
		_ = f.file.Close() // every line was written at once: there is nothing left to lose
		f.file = nil
	}
}

// rotate makes sure that the file of the day is open and has room for a line.
func (f *File) rotate(now time.Time, room int64) error {
	day := now.UTC().Format("20060102")
	if f.file != nil && f.day == day && f.size+room <= f.o.FileBytes {
		return nil
	}
	f.closeFile()
	files, err := f.list()
	if err != nil {
		return err
	}
	f.prune(now, files)
	number := 1
	for _, file := range files {
		if file.day == day {
			number = max(number, file.number)
			if file.number == number && file.size+room > f.o.FileBytes {
				number++
			}
		}
	}
	file, size, err := f.o.open(filepath.Join(f.o.Dir, fmt.Sprintf("%s-%s-%d.log", f.o.Name, day, number)))
	if err != nil {
		return err
	}
	f.file, f.day, f.number, f.size = file, day, number, size
	return nil
}

// prune deletes the oldest files until the rest are within the limits. One that cannot be deleted, because somebody reads it,
// goes next time.
func (f *File) prune(now time.Time, files []logFile) {
	oldest := now.Add(-f.o.Age).UTC().Format("20060102")
	total := f.o.FileBytes // room for the file that is about to be written
	for _, file := range files {
		total += file.size
	}
	for _, file := range files {
		if file.day >= oldest && total <= f.o.TotalBytes {
			return
		}
		if os.Remove(filepath.Join(f.o.Dir, file.name)) == nil {
			total -= file.size
		}
	}
}

// logFile is a file of the log.
type logFile struct {
	name, day string
	number    int
	size      int64
}

var datePart = regexp.MustCompile(`^(\d{8})-(\d{1,6})\.log$`)

// list gives the files of the log, the oldest first.
func (f *File) list() ([]logFile, error) {
	entries, err := os.ReadDir(f.o.Dir)
	if err != nil {
		return nil, err
	}
	var files []logFile
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), f.o.Name+"-")
		parts := datePart.FindStringSubmatch(rest)
		if !ours || parts == nil {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted meanwhile, or nothing of ours
		}
		number, err := strconv.Atoi(parts[2])
		if err != nil {
			continue
		}
		files = append(files, logFile{name: e.Name(), day: parts[1], number: number, size: info.Size()})
	}
	slices.SortFunc(files, func(a, b logFile) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.number, b.number)) })
	return files, nil
}
