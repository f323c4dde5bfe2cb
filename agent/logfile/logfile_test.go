package logfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	clocktesting "k8s.io/utils/clock/testing"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 123e6, time.UTC)

func TestLine(t *testing.T) {
	for name, tc := range map[string]struct {
		message string
		fields  []Field
		want    string
	}{
		"a message":          {"Agent starts", nil, "S:LogLevel=Information;S:Message=Agent starts"},
		"fields":             {"Accepted", []Field{{"feed", "contoso"}, {"sequence", 42}, {"error", errors.New("no")}, {"none", nil}}, "S:LogLevel=Information;S:Message=Accepted;S:feed=contoso;S:sequence=42;S:error=no;S:none="},
		"a time":             {"At", []Field{{"at", now}}, "S:LogLevel=Information;S:Message=At;S:at=2026-05-14T16:00:00Z"},
		"what ends a field":  {`a;S:LogLevel=Error`, []Field{{"a=b;c", `C:\x`}}, `S:LogLevel=Information;S:Message=a\;S:LogLevel=Error;S:a\=b\;c=C:\\x`},
		"what ends a line":   {"one\r\n2026 forged\ttwo", nil, `S:LogLevel=Information;S:Message=one\r\n2026 forged\ttwo`},
		"what is not seen":   {"a\x00b\u202ec\u2028d", nil, `S:LogLevel=Information;S:Message=a\u0000b\u202ec\u2028d`},
		"letters":            {"Größe 鍵", nil, "S:LogLevel=Information;S:Message=Größe 鍵"},
		"bytes that are not": {"a\xffb", nil, "S:LogLevel=Information;S:Message=a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			want := "2026-05-14T16:00:00.123Z,iis," + tc.want + "\r\n"
			if diff := cmp.Diff(want, string(Line(now, "iis", LevelInformation, tc.message, tc.fields...))); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
		})
	}
	if got := Line(now, "iis", LevelError, strings.Repeat("ä", maxLine)); len(got) > maxLine+20 || !bytes.HasSuffix(got, []byte("ä ... (cut)\r\n")) {
		t.Errorf("a long line has %d bytes and ends with %q", len(got), got[len(got)-20:])
	}
}

func FuzzLine(f *testing.F) {
	f.Add("component", "message", "name", "value")
	f.Add(",", "a;b\\", "=", "\r\n")
	f.Fuzz(func(t *testing.T, component, message, name, value string) {
		line := string(Line(now, component, LevelInformation, message, Field{name, value}))
		body, ended := strings.CutSuffix(line, "\r\n")
		if !ended || strings.ContainsAny(body, "\r\n\x00") {
			t.Fatalf("not one line: %q", line)
		}
		if strings.HasSuffix(body, "(cut)") {
			return
		}
		// Without what is escaped, there are as many fields as were given.
		plain := strings.NewReplacer(`\\`, "", `\;`, "", `\,`, "", `\=`, "").Replace(body)
		if strings.Count(plain, ";") != 2 {
			t.Errorf("fields: %q", line)
		}
	})
}

func open(t *testing.T, o Options) *File {
	t.Helper()
	o.Name = "ems-agent"
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines gives what stands in each file of a folder.
func lines(t *testing.T, dir string) map[string]int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = bytes.Count(data, []byte("\r\n"))
	}
	return found
}

func TestANewFileBeginsEveryDayAndWhenOneIsFull(t *testing.T) {
	dir := t.TempDir()
	clk := clocktesting.NewFakeClock(now)
	lineBytes := int64(len(Line(now, "a", LevelInformation, "m")))
	for _, step := range []struct {
		lines int
		after time.Duration
		want  map[string]int
	}{
		{2, 0, map[string]int{"ems-agent-20260514-1.log": 2}},
		{3, 0, map[string]int{"ems-agent-20260514-1.log": 3, "ems-agent-20260514-2.log": 2}}, // a new process fills the file up
		{1, 8 * time.Hour, map[string]int{"ems-agent-20260514-1.log": 3, "ems-agent-20260514-2.log": 2, "ems-agent-20260515-1.log": 1}},
	} {
		clk.Step(step.after)
		f := open(t, Options{Dir: dir, Clock: clk, FileBytes: 3 * lineBytes})
		for range step.lines {
			f.Log("a", LevelInformation, "m")
		}
		f.Close()
		if diff := cmp.Diff(step.want, lines(t, dir)); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	}
}

func TestOldFilesAreDeleted(t *testing.T) {
	for name, tc := range map[string]struct {
		total int64
		age   time.Duration
		want  []string
	}{
		"by age":  {1 << 30, 48 * time.Hour, []string{"ems-agent-20260512-1.log", "ems-agent-20260513-9.log", "ems-agent-20260513-10.log"}},
		"by size": {2500, 9999 * time.Hour, []string{"ems-agent-20260513-10.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			foreign := []string{"ems-agent-20260101-1.log.bak", "ems-agent-notes.txt", "other-20260101-1.log", "ems-agent-20260101-x.log"}
			for _, name := range append(foreign, "ems-agent-20260101-1.log", "ems-agent-20260512-1.log", "ems-agent-20260513-9.log", "ems-agent-20260513-10.log") {
				if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1000), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f := open(t, Options{Dir: dir, Clock: clocktesting.NewFakeClock(now), FileBytes: 1000, TotalBytes: tc.total, Age: tc.age})
			f.Log("a", LevelInformation, "m")
			f.Close()
			want := map[string]bool{"ems-agent-20260514-1.log": true}
			for _, name := range append(foreign, tc.want...) {
				want[name] = true
			}
			got := map[string]bool{}
			for name := range lines(t, dir) {
				got[name] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// disk is a disk in the hands of a test.
type disk struct {
	mu   sync.Mutex
	data bytes.Buffer
	// room is what still fits; negative for no limit. gone makes opening fail.
	room int
	gone bool
	// stuck blocks every write until it is closed.
	stuck chan struct{}
}

func (d *disk) open(string) (io.WriteCloser, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, 0, os.ErrNotExist
	}
	return d, int64(d.data.Len()), nil
}

func (d *disk) Close() error { return nil }

func (d *disk) Write(p []byte) (int, error) {
	if d.stuck != nil {
		<-d.stuck
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room >= 0 && len(p) > d.room {
		n, _ := d.data.Write(p[:d.room])
		d.room = 0
		return n, errors.New("no space left on device")
	}
	if d.room > 0 {
		d.room -= len(p)
	}
	return d.data.Write(p)
}

func (d *disk) set(room int, gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room, d.gone = room, gone
}

func (d *disk) content() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data.String()
}

// settled waits until the queue is empty and the line that was taken out of it is dealt with.
func settled(t *testing.T, f *File, lost int64) {
	t.Helper()
	for range 5000 {
		f.mu.Lock()
		done := len(f.lines) == 0 && f.lost == lost
		f.mu.Unlock()
		if done {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatalf("the queue holds %d lines", len(f.lines))
}

func TestAFullDiskCostsLinesAndNothingElse(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	d := &disk{room: 10}
	f := open(t, Options{Dir: t.TempDir(), Clock: clk, open: d.open})
	for n := range 3 {
		f.Log("a", LevelInformation, fmt.Sprintf("lost %d", n))
	}
	settled(t, f, 3)
	d.set(-1, true)
	clk.Step(retryAfter)
	f.Log("a", LevelInformation, "lost too")
	settled(t, f, 4)
	d.set(-1, false)
	f.Log("a", LevelInformation, "too early")
	settled(t, f, 5)
	clk.Step(retryAfter)
	f.Log("a", LevelInformation, "written")
	f.Close()
	f.Log("a", LevelInformation, "after the end")
	f.Close()
	want := "2026-05-14\r\n" +
		"2026-05-14T16:00:10.123Z,log,S:LogLevel=Warning;S:Message=Lines were lost because the disk did not take them;S:lines=5\r\n" +
		"2026-05-14T16:00:10.123Z,a,S:LogLevel=Information;S:Message=written\r\n"
	if diff := cmp.Diff(want, d.content()); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	d := &disk{room: -1, stuck: make(chan struct{})}
	f := open(t, Options{Dir: t.TempDir(), open: d.open})
	for range 3 * queueLines { // with a write that waits, this would never end
		f.Log("a", LevelInformation, "m")
	}
	close(d.stuck)
	settledOnce := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.lines) == 0
	}
	for !settledOnce() {
		<-time.After(time.Millisecond)
	}
	f.Log("a", LevelInformation, "last")
	f.Close()
	if got := d.content(); !strings.Contains(got, "Lines were lost") || !strings.HasSuffix(got, "S:Message=last\r\n") {
		t.Errorf("the loss is not told: ...%s", got[max(0, len(got)-300):])
	}
}

func TestAFolderThatCannotBeUsedIsSaidAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: filepath.Join(file, "logs"), Name: "ems-agent"}); err == nil {
		t.Error("a folder below a file was taken")
	}
}

func TestSinkAndTee(t *testing.T) {
	var console bytes.Buffer
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&console), zapcore.InfoLevel)
	d := &disk{room: -1}
	f := open(t, Options{Dir: t.TempDir(), Clock: clocktesting.NewFakeClock(now), open: d.open})
	log := logr.New(Tee(zapr.NewLogger(zap.New(core, zap.AddCaller())).GetSink(), f.Sink()))
	log.Info("Agent starts", "server", "fe01")
	named := log.WithName("documents").WithName("shelf").WithValues("feed", "contoso")
	odd := []any{"bundle", "b1", "odd"}
	named.Error(errors.New("no"), "Document cannot be used", odd...)
	named.V(1).Info("detail")
	f.Close()
	want := "2026-05-14T16:00:00.123Z,agent,S:LogLevel=Information;S:Message=Agent starts;S:server=fe01\r\n" +
		"2026-05-14T16:00:00.123Z,documents.shelf,S:LogLevel=Error;S:Message=Document cannot be used;S:feed=contoso;S:bundle=b1;S:odd=;S:error=no\r\n"
	if diff := cmp.Diff(want, d.content()); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	var first struct{ Msg, Caller, Server string }
	if err := json.Unmarshal(bytes.SplitN(console.Bytes(), []byte("\n"), 2)[0], &first); err != nil {
		t.Fatal(err)
	}
	if first.Msg != "Agent starts" || first.Server != "fe01" || !strings.Contains(first.Caller, "logfile_test.go") {
		t.Errorf("console: %+v", first)
	}
}
