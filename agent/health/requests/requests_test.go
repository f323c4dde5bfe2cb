package requests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/health"
)

const head = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2026-11-22 00:00:00\r\n" +
	"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\r\n"

var since = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)

// lines are requests that were served at some time of that day.
func lines(n int, at string) string {
	return strings.Repeat(line(at, "Mozilla/5.0+(Windows+NT+10.0)"), n)
}

func line(at, agent string) string {
	return "2026-11-22 " + at + " 10.0.0.1 GET /owa/ - 443 - 192.0.2.7 " + agent + " - 200 0 0 15\r\n"
}

// site is a folder of logs.
type site struct {
	t       *testing.T
	folder  string
	cursors []Cursor
}

func newSite(t *testing.T) *site {
	t.Helper()
	return &site{t: t, folder: filepath.Join(t.TempDir(), "W3SVC1")}
}

// put writes text into a file at an offset; -1 is its end.
func (s *site) put(name, text string, at int64) {
	s.t.Helper()
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(s.folder, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if at < 0 {
		info, err := f.Stat()
		if err != nil {
			s.t.Fatal(err)
		}
		at = info.Size()
	}
	if _, err := f.WriteAt([]byte(text), at); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) begin() { s.cursors = Begin([]string{s.folder}, since.Add(300*time.Millisecond)) }

// want counts with cursors that have been on the disk.
func (s *site) want(what string, requests int64, log bool) {
	s.t.Helper()
	data, err := json.Marshal(s.cursors)
	if err != nil {
		s.t.Fatal(err)
	}
	var stored []Cursor
	if err := json.Unmarshal(data, &stored); err != nil {
		s.t.Fatal(err)
	}
	var seen Seen
	s.cursors, seen = Count(stored, 1<<40)
	if diff := cmp.Diff(Seen{Requests: requests, Log: log}, seen); diff != "" {
		s.t.Errorf("%s: %s", what, diff)
	}
}

const daily = "u_ex261122.log"

func TestOnlyWhatCameSinceCounts(t *testing.T) {
	s := newSite(t)
	s.put(daily, head+lines(5, "00:59:00"), 0)
	s.begin()
	s.want("nothing new", 0, true)
	s.put(daily, lines(2, "01:00:00"), -1)
	s.want("two requests", 2, true)
	whole := line("01:00:01", "x")
	s.put(daily, whole[:20], -1)
	s.want("half a line", 2, true)
	s.put(daily, whole[20:], -1)
	s.want("its rest", 3, true)
	s.put(daily, lines(7, "00:59:59"), -1)
	s.want("what was served before and is written late", 3, true)
	s.put(daily, line("01:00:02", health.UserAgent)+line("01:00:02", "x"), -1)
	s.want("the agent's own check beside another request", 4, true)
	s.put(daily, "no line of a log\r\n#Date: 2026-11-22 01:00:03\r\n", -1)
	s.want("a line that cannot be read", 5, true)
}

func TestZeroBytesAreTheEnd(t *testing.T) {
	s := newSite(t)
	begun := head + lines(3, "00:59:00")
	s.put(daily, begun+strings.Repeat("\x00", 64<<10), 0)
	s.begin()
	s.want("nothing but zero bytes", 0, true)
	s.put(daily, lines(4, "01:00:00"), int64(len(begun)))
	s.want("lines in the place of zero bytes", 4, true)
	end := int64(len(begun) + len(lines(4, "01:00:00")))
	s.put(daily, lines(1, "01:00:00"), end+1000)
	s.want("a hole that a crash has left", 5, true)
}

func TestLogsRollOver(t *testing.T) {
	for name, files := range map[string][3]string{
		"daily":                   {"u_ex261121.log", "u_ex261122.log", "u_ex261123.log"},
		"by size":                 {"u_extend8.log", "u_extend9.log", "u_extend10.log"},
		"from counts to four":     {"u_extend998.log", "u_extend999.log", "u_extend1000.log"},
		"from daily to hourly":    {"u_ex261121.log", "u_ex261122.log", "u_ex26112201.log"},
		"from hourly to by month": {"u_ex26112200.log", "u_ex26112201.log", "u_ex2611.log"},
		"to another way of names": {"ex261121.log", "ex261122.log", "u_extend1.log"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.put(files[0], head+lines(100, "01:00:00"), 0)
			s.put(files[1], head+lines(10, "01:00:00"), 0)
			s.put("notes.txt", "not a log\n", 0)
			s.begin()
			s.put(files[1], lines(2, "01:00:00"), -1)
			s.put(files[2], head+lines(3, "01:00:00"), 0)
			s.want("the rest of the old and all of the new", 5, true)
			s.put(files[2], lines(4, "01:00:00"), -1)
			s.want("more of the new", 9, true)
			if err := os.Remove(filepath.Join(s.folder, files[1])); err != nil {
				t.Fatal(err)
			}
			s.put(files[2], lines(1, "01:00:00"), -1)
			s.want("after the old one was cleaned away", 10, true)
		})
	}
}

func TestLogsThatComeLater(t *testing.T) {
	s := newSite(t)
	s.begin()
	s.want("no folder", 0, false)
	s.put("notes.txt", "not a log\n", 0)
	s.want("no log in it", 0, false)
	s.put(daily, head, 0)
	s.want("an empty log", 0, true)
	s.put(daily, lines(2, "01:00:00"), -1)
	s.want("requests", 2, true)
	if err := os.Truncate(filepath.Join(s.folder, daily), 0); err != nil {
		t.Fatal(err)
	}
	s.put(daily, head+lines(1, "01:00:00"), 0)
	s.want("another file of the same name", 3, true)
}

func TestReadingIsBounded(t *testing.T) {
	s := newSite(t)
	s.put(daily, head, 0)
	s.begin()
	n := 3*maxRead/len(line("01:00:00", "x")) + 1
	s.put(daily, strings.Repeat(line("01:00:00", "x"), n), -1)
	s.put("u_ex261123.log", head+lines(10, "01:00:00"), 0)
	var last int64
	for range 3 {
		next, seen := Count(s.cursors, 1<<40)
		if read := (seen.Requests - last) * int64(len(line("01:00:00", "x"))); read < maxRead*9/10 || read > maxRead {
			t.Errorf("%d bytes read", read)
		}
		s.cursors, last = next, seen.Requests
	}
	s.want("the rest, and the next file", int64(n)+10, true)
}

func TestCountingStopsWhenThereIsEnough(t *testing.T) {
	s := newSite(t)
	s.put(daily, head, 0)
	s.begin()
	s.put(daily, lines(50, "01:00:00"), -1)
	s.put("u_ex261123.log", head+lines(10, "01:00:00"), 0)
	next, seen := Count(s.cursors, 50)
	if seen.Requests != 50 {
		t.Errorf("%d requests", seen.Requests)
	}
	if next, seen = Count(next, 50); seen.Requests != 50 {
		t.Errorf("%d requests although that was enough", seen.Requests)
	}
	if _, seen = Count(next, 60); seen.Requests != 60 {
		t.Errorf("%d requests", seen.Requests)
	}
}

func TestALineWithoutEndIsPassedOver(t *testing.T) {
	s := newSite(t)
	s.put(daily, head, 0)
	s.begin()
	s.put(daily, strings.Repeat("x", 2*maxRead)+"\r\n"+lines(3, "01:00:00"), -1)
	Count(s.cursors, 1<<40)
	for range 3 {
		s.cursors, _ = Count(s.cursors, 1<<40)
	}
	if _, seen := Count(s.cursors, 1<<40); seen.Requests < 3 || seen.Requests > 6 {
		t.Errorf("%d requests", seen.Requests)
	}
}

func TestDamagedCursors(t *testing.T) {
	s := newSite(t)
	s.put(daily, head+lines(3, "01:00:00"), 0)
	outside := filepath.Join(filepath.Dir(s.folder), "outside.log")
	if err := os.WriteFile(outside, []byte(lines(9, "01:00:00")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Position{
		"another folder": {Name: "../outside.log"}, "no name": {Offset: 7}, "a negative offset": {Name: daily, Offset: -7}, "an offset behind the end": {Name: daily, Offset: 1 << 40},
	} {
		cursors := []Cursor{{Folder: s.folder, Since: since, Files: map[string]Position{"u_ex.log6": p}, Counted: -5}}
		if _, seen := Count(cursors, 1<<40); seen.Requests != 3 || seen.Problem != "" {
			t.Errorf("%s: %+v", name, seen)
		}
	}
	if next, seen := Count([]Cursor{{Folder: outside}, {Folder: s.folder, Since: since}}, 1<<40); seen.Requests != 3 || !seen.Log || seen.Problem == "" || len(next) != 2 {
		t.Errorf("a file for a folder: %+v", seen)
	}
	if next, seen := Count(nil, 1); len(next) != 0 || seen != (Seen{}) {
		t.Errorf("no folders: %+v", seen)
	}
}

func config(log, defaults, sites string) string {
	return "<configuration><configSections /><system.applicationHost>" + log + "<sites>" + sites + defaults + "</sites></system.applicationHost><system.webServer /></configuration>"
}

func TestFolders(t *testing.T) {
	three := `<site name="Mail" id="1" /><site name="Web" id="12"><logFile directory="E:\logs" /></site><site name="Quiet" id="3"><logFile enabled="false" /></site>`
	defaults := `<siteDefaults><logFile logFormat="W3C" directory="D:\all" /></siteDefaults>`
	for name, tc := range map[string]struct {
		config string
		sites  []string
		want   string
	}{
		"all sites that log":                 {config("", defaults, three), nil, `D:\all|W3SVC1 E:\logs|W3SVC12`},
		"those that are named":               {config("", defaults, three), []string{"WEB", "Nope"}, `E:\logs|W3SVC12`},
		"nothing said is the default":        {config("", "", three), []string{"mail"}, `%SystemDrive%\inetpub\logs\LogFiles|W3SVC1`},
		"a site may log where others do not": {config("", `<siteDefaults><logFile enabled="false" /></siteDefaults>`, `<site name="A" id="1"><logFile enabled="true" /></site><site name="B" id="2" />`), nil, `%SystemDrive%\inetpub\logs\LogFiles|W3SVC1`},
		"another format":                     {config("", `<siteDefaults><logFile logFormat="IIS" /></siteDefaults>`, three), nil, ""},
		"one log for all sites":              {config(`<log centralLogFileMode="CentralW3C" />`, defaults, three), nil, ""},
		"one log for each site, as said":     {config(`<log centralLogFileMode="Site" />`, defaults, three), []string{"Mail"}, `D:\all|W3SVC1`},
		"a folder that cannot be resolved":   {config("", defaults, `<site name="A" id="1"><logFile directory="\\share\logs" /></site>`), nil, ""},
	} {
		folders, err := Folders([]byte(tc.config), tc.sites, func(directory, below string) (string, error) {
			if strings.HasPrefix(directory, `\\`) {
				return "", os.ErrInvalid
			}
			return directory + "|" + below, nil
		})
		if got := strings.Join(folders, " "); err != nil || got != tc.want {
			t.Errorf("%s: %s, error %v", name, got, err)
		}
	}
	if _, err := Folders([]byte("<configuration>"), nil, nil); err == nil {
		t.Error("a damaged file was read")
	}
	var many strings.Builder
	for i := range maxFolders + 5 {
		fmt.Fprintf(&many, `<site name="S%d" id="%d" />`, i, i)
	}
	folders, err := Folders([]byte(config("", "", many.String())), nil, func(directory, below string) (string, error) { return directory + below, nil })
	if err != nil || len(folders) != maxFolders {
		t.Errorf("%d folders, error %v", len(folders), err)
	}
}

// FuzzCount looks for logs that count more requests than they have lines, or that reading does not get to the end of.
func FuzzCount(f *testing.F) {
	f.Add(head+lines(3, "01:00:00"), lines(2, "01:00:00"))
	f.Add("", "\x00\x00\n\n#Fields:\n")
	f.Add("#Fields: a", "b\nc\x00d\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		s := newSite(t)
		s.put(daily, before, 0)
		s.begin()
		s.put(daily, after, -1)
		next, seen := Count(s.cursors, 1<<40)
		if most := int64(strings.Count(before+after, "\n")); seen.Requests < 0 || seen.Requests > most {
			t.Fatalf("%d requests in %d lines", seen.Requests, most)
		}
		if _, again := Count(next, 1<<40); again.Requests != seen.Requests {
			t.Fatalf("%d requests, and then %d", seen.Requests, again.Requests)
		}
	})
}

// BenchmarkCount is a look at a log of ten years to which 100 requests were added.
func BenchmarkCount(b *testing.B) {
	folder := b.TempDir()
	for day := range 3650 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("u_ex%06d.log", 160000+day)), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cursors := Begin([]string{folder}, since)
	if err := os.WriteFile(filepath.Join(folder, "u_ex163649.log"), []byte(head+lines(100, "01:00:00")), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, seen := Count(cursors, 1<<40); seen.Requests != 100 {
			b.Fatal(seen)
		}
	}
}
