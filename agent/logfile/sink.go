package logfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
)

// sink writes logr's records into a File.
type sink struct {
	file   *File
	name   string
	fields []Field
	// verbosity is the highest level of detail that is written.
	verbosity int
}

var _ logr.LogSink = sink{}

// Sink gives a sink for logr that writes into the file. Details (V levels above 0) are left out.
func (f *File) Sink() logr.LogSink { return sink{file: f, name: "agent"} }

// Init implements logr.LogSink.
func (sink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (s sink) Enabled(level int) bool { return level <= s.verbosity }

// Info implements logr.LogSink.
func (s sink) Info(level int, message string, keysAndValues ...any) {
	severity := LevelInformation
	if level > 0 {
		severity = LevelDebug
	}
	s.file.Log(s.name, severity, message, s.with(keysAndValues)...)
}

// Error implements logr.LogSink.
func (s sink) Error(err error, message string, keysAndValues ...any) {
	s.file.Log(s.name, LevelError, message, append(s.with(keysAndValues), Field{"error", err})...)
}

// WithValues implements logr.LogSink.
func (s sink) WithValues(keysAndValues ...any) logr.LogSink {
	s.fields = s.with(keysAndValues)
	return s
}

// WithName implements logr.LogSink.
func (s sink) WithName(name string) logr.LogSink {
	s.name = strings.TrimPrefix(s.name+"."+name, "agent.")
	return s
}

func (s sink) with(keysAndValues []any) []Field {
	fields := slices.Clone(s.fields)
	for i := 0; i < len(keysAndValues); i += 2 {
		f := Field{Name: fmt.Sprint(keysAndValues[i])}
		if i+1 < len(keysAndValues) {
			f.Value = keysAndValues[i+1]
		}
		fields = append(fields, f)
	}
	return fields
}

// tee hands every record to several sinks.
type tee []logr.LogSink

var _ logr.LogSink = tee{}

// Tee gives a sink that hands every record to all of these, which were in use by a logger before.
func Tee(sinks ...logr.LogSink) logr.LogSink { return tee(sinks).WithCallDepth(1) }

// Init implements logr.LogSink. The sinks were given their depth by their own loggers, and one more by Tee.
func (tee) Init(logr.RuntimeInfo) {}

// WithCallDepth implements logr.CallDepthLogSink.
func (t tee) WithCallDepth(depth int) logr.LogSink {
	return t.each(func(s logr.LogSink) logr.LogSink {
		if deeper, ok := s.(logr.CallDepthLogSink); ok {
			return deeper.WithCallDepth(depth)
		}
		return s
	})
}

// Enabled implements logr.LogSink.
func (t tee) Enabled(level int) bool {
	return slices.ContainsFunc(t, func(s logr.LogSink) bool { return s.Enabled(level) })
}

// Info implements logr.LogSink.
func (t tee) Info(level int, message string, keysAndValues ...any) {
	for _, s := range t {
		if s.Enabled(level) {
			s.Info(level, message, keysAndValues...)
		}
	}
}

// Error implements logr.LogSink.
func (t tee) Error(err error, message string, keysAndValues ...any) {
	for _, s := range t {
		s.Error(err, message, keysAndValues...)
	}
}

// WithValues implements logr.LogSink.
func (t tee) WithValues(keysAndValues ...any) logr.LogSink {
	return t.each(func(s logr.LogSink) logr.LogSink { return s.WithValues(keysAndValues...) })
}

// WithName implements logr.LogSink.
func (t tee) WithName(name string) logr.LogSink {
	return t.each(func(s logr.LogSink) logr.LogSink { return s.WithName(name) })
}

func (t tee) each(change func(logr.LogSink) logr.LogSink) tee {
	changed := make(tee, len(t))
	for i, s := range t {
		changed[i] = change(s)
	}
	return changed
}
