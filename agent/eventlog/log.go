package eventlog

import (
	"strings"
	"sync"
	"unicode/utf8"

	"mitigation.dev/ems/agent/logfile"
)

// maxMessage bounds an event in bytes. Windows takes 31,839 characters; what is longer than this nobody reads in
// a list of events, and the state of the server says it as well.
const maxMessage = 4 << 10

// component is how the text log names these lines.
const component = "event"

// writer is the event log of the system.
type writer interface {
	report(d Definition, message string) error
	close() error
}

// Log writes events. Its methods may be called from several goroutines.
type Log struct {
	mirror *logfile.File

	mu      sync.Mutex
	system  writer
	problem string
}

// Open opens the event log of this system. What goes wrong with it stands in the mirror, which may be nil.
func Open(mirror *logfile.File) *Log {
	l := &Log{mirror: mirror}
	system, err := openSystem()
	if err != nil {
		l.say(logfile.LevelWarning, "The event log cannot be used", logfile.Field{Name: "error", Value: err})
	} else {
		l.system = system
	}
	return l
}

// InFile is a log of events in the text log alone, for an agent that does not run as a service.
func InFile(mirror *logfile.File) *Log { return &Log{mirror: mirror} }

// Write writes an event.
func (l *Log) Write(id ID, message string) {
	d := definition(id)
	message = clean(message)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say(levels[d.Severity], message, logfile.Field{Name: "EventId", Value: uint32(id)}, logfile.Field{Name: "Event", Value: d.Name})
	if l.system == nil {
		return
	}
	problem := ""
	if err := l.system.report(d, message); err != nil {
		problem = err.Error()
	}
	if problem != l.problem && problem != "" {
		l.say(logfile.LevelWarning, "The event log does not take events", logfile.Field{Name: "error", Value: problem})
	}
	l.problem = problem
}

// Close closes the event log, not the mirror.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.system != nil {
		_ = l.system.close() // there is nothing that could be done about it
		l.system = nil
	}
}

var levels = map[Severity]string{Information: logfile.LevelInformation, Warning: logfile.LevelWarning, Error: logfile.LevelError}

func (l *Log) say(level, message string, fields ...logfile.Field) {
	if l.mirror != nil {
		l.mirror.Log(component, level, message, fields...)
	}
}

// clean makes a message one that the event log takes: bounded, and without the zero that ends texts of Windows.
func clean(message string) string {
	message = strings.ToValidUTF8(strings.ReplaceAll(message, "\x00", "\ufffd"), "\ufffd")
	if len(message) > maxMessage {
		end := maxMessage
		for end > 0 && !utf8.RuneStart(message[end]) {
			end--
		}
		message = message[:end] + " ... (cut)"
	}
	return message
}
