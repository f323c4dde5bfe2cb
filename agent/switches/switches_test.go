package switches

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	alice = Use{By: `CONTOSO\alice`, Time: noon, Reason: "login fails"}
)

func TestBlocksCoverChildrenAndEnd(t *testing.T) {
	s := Switches{Blocked: []Block{{ID: "M1", Use: alice}, {ID: "M2.1", Use: alice}, {ID: "M3", Use: alice, Expires: noon.Add(time.Hour)}}}
	for name, tc := range map[string]struct {
		id         string
		at         time.Time
		want       string
		wantWithin int
	}{
		"the same id":                         {id: "M1", at: noon, want: "M1"},
		"the same id in other letters":        {id: "m1", at: noon, want: "M1"},
		"a child":                             {id: "M1.2", at: noon, want: "M1"},
		"another one with the same beginning": {id: "M10", at: noon},
		"an action within":                    {id: "M2", at: noon, wantWithin: 1},
		"before it ends":                      {id: "M3", at: noon.Add(time.Hour - time.Nanosecond), want: "M3"},
		"when it ends":                        {id: "M3", at: noon.Add(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := s.Blocks(tc.id, tc.at)
			if got.ID != tc.want || len(s.Within(tc.id, tc.at)) != tc.wantWithin {
				t.Errorf("block %q, within %v, want %q and %d", got.ID, s.Within(tc.id, tc.at), tc.want, tc.wantWithin)
			}
		})
	}
	if got := s.Next(noon); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("the next end is %v", got)
	}
	if got := s.Next(noon.Add(time.Hour)); !got.IsZero() {
		t.Errorf("after all ends comes %v", got)
	}
}

func TestChangesAreThereAfterwards(t *testing.T) {
	f := Open(filepath.Join(t.TempDir(), "state"))
	if s, err := f.Read(); err != nil || !s.Equal(Switches{}) {
		t.Fatalf("a new server has %+v, %v", s, err)
	}
	change := func(wantErr string, do func(*Switches) error) {
		t.Helper()
		err := f.Change(t.Context(), do)
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Fatalf("error %v, want %q", err, wantErr)
		}
	}
	change("", func(s *Switches) error { return s.Block(Block{ID: "M2", Use: alice}) })
	change("", func(s *Switches) error { return s.Block(Block{ID: "M1", Use: alice, Expires: noon.Add(time.Hour)}) })
	change("", func(s *Switches) error {
		return s.Block(Block{ID: "m2", Use: Use{By: "bob", Time: noon, Reason: "as well"}})
	})
	change("the block of m2 covers it", func(s *Switches) error { return s.Unblock("M2.1", alice) })
	change("not blocked on this server", func(s *Switches) error { return s.Unblock("M7", alice) })
	change("not the id", func(s *Switches) error { return s.Block(Block{ID: "../M1", Use: alice}) })
	change("not in the future", func(s *Switches) error { return s.Block(Block{ID: "M9", Use: alice, Expires: noon}) })
	change("is not on", func(s *Switches) error { return s.TakeBack(alice) })
	change("", func(s *Switches) error { return s.AskRepair(alice) })
	if _, err := f.Throw(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Throw(t.Context(), Use{By: "bob", Time: noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	change("", func(s *Switches) error { return s.Unblock("m1", alice) })
	got, err := f.Read()
	want := Switches{
		KillSwitch: &alice, Blocked: []Block{{ID: "m2", Use: Use{By: "bob", Time: noon, Reason: "as well"}}}, Repair: &alice,
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Recent) < 3 || got.Recent[0] != (Event{"m1 was unblocked", alice}) {
		t.Errorf("recent uses %+v, want all, the newest first", got.Recent)
	}
	got.Recent = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("switches differ (-want +got):\n%s", diff)
	}
}

func TestExpiredBlocksMakeRoom(t *testing.T) {
	var s Switches
	for i := range MaxBlocks {
		if err := s.Block(Block{ID: fmt.Sprintf("M%d", i), Use: alice, Expires: noon.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Block(Block{ID: "X1", Use: alice}); err == nil || !strings.Contains(err.Error(), "use the kill switch") {
		t.Errorf("one too many: %v", err)
	}
	later := alice
	later.Time = noon.Add(time.Hour)
	if err := s.Block(Block{ID: "X1", Use: later}); err != nil || len(s.Blocked) != 1 {
		t.Errorf("after all have ended: %v, %d blocks", err, len(s.Blocked))
	}
}

// The largest that can be switched has to fit into what is read.
func TestTheLargestFileCanBeRead(t *testing.T) {
	use := Use{By: strings.Repeat("\u2028", MaxUser), Time: noon, Reason: strings.Repeat("\u2028", MaxReason)}
	s := Switches{KillSwitch: &use, Repair: &use, Recent: slices.Repeat([]Event{{strings.Repeat("😀", maxDid), use}}, MaxRecent)}
	for i := range MaxBlocks {
		s.Blocked = append(s.Blocked, Block{ID: fmt.Sprintf("M%d", i), Use: use, Expires: noon})
	}
	data, err := format(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(data); err != nil || !got.Equal(s) {
		t.Errorf("%d bytes cannot be read: %v", len(data), err)
	}
}

func TestDamagedFilesAreNoEmptyOnes(t *testing.T) {
	const begin = `{"apiVersion":"ems.mitigation.dev/switches/v1"`
	for name, tc := range map[string]struct{ content, want string }{
		"empty":                    {"", "EOF"},
		"cut off":                  {begin + `,"blocked":[{"id":"M1"`, "EOF"},
		"no JSON":                  {"\x00\x00", "invalid"},
		"two values":               {begin + `}{}`, "more than one"},
		"another version":          {`{"apiVersion":"v2"}`, "apiVersion"},
		"a word nobody knows":      {begin + `,"maintenance":true}`, "unknown field"},
		"an id that is none":       {begin + `,"blocked":[{"id":"*","use":{"by":"a","time":"2026-03-01T12:00:00Z"}}]}`, "no id"},
		"a block by nobody":        {begin + `,"blocked":[{"id":"M1","use":{"time":"2026-03-01T12:00:00Z"}}]}`, "by: 1 to"},
		"a kill switch at no time": {begin + `,"killSwitch":{"by":"a"}}`, "time"},
		"too large":                {begin + strings.Repeat(" ", maxBytes) + "}", "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Open(t.TempDir())
			if err := f.Change(t.Context(), func(s *Switches) error { return s.Block(Block{ID: "M1", Use: alice}) }); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.Path(), []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Read(); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err := f.Change(t.Context(), func(s *Switches) error { return s.AskRepair(alice) }); !errors.Is(err, ErrUnusable) {
				t.Errorf("it is overwritten: %v", err)
			}
			if last, ok := f.Last(); !ok || len(last.Blocked) != 1 {
				t.Errorf("the switches as they last were: %+v, %t", last, ok)
			}
			aside, err := f.Throw(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := f.Read(); err != nil || s.KillSwitch == nil || len(s.Blocked) != 1 {
				t.Errorf("the kill switch is not on, or the block is lost: %+v, %v", s, err)
			}
			if kept, err := os.ReadFile(aside); err != nil || string(kept) != tc.content {
				t.Errorf("the damaged file is not kept: %v", err)
			}
		})
	}
}

func TestWhatOthersCanWriteIsNotBelieved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("access lists are set at installation")
	}
	for _, loose := range []string{".", "switches", "switches/switches.json"} {
		t.Run(loose, func(t *testing.T) {
			dir := t.TempDir()
			f := Open(dir)
			if err := f.Change(t.Context(), func(s *Switches) error { return s.AskRepair(alice) }); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, loose), 0o772); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Read(); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "can write") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWatchTellsOfChanges(t *testing.T) {
	f := Open(t.TempDir())
	changes := f.Watch(t.Context())
	if _, err := f.Throw(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
	case <-time.After(5 * time.Second):
		t.Error("not told of within 5 s")
	}
}

func TestWho(t *testing.T) {
	environment := func(sudo string) func(string) string {
		return func(name string) string { return map[string]string{"SUDO_USER": sudo}[name] }
	}
	for name, tc := range map[string]struct {
		user string
		err  error
		sudo string
		uid  int
		want string
	}{
		"a user of a domain":              {user: `CONTOSO\alice`, uid: -1, want: `CONTOSO\alice`},
		"root":                            {user: "root", want: "root"},
		"root by sudo":                    {user: "root", sudo: "alice", want: "alice (sudo)"},
		"a user who claims to be another": {user: "mallory", sudo: "alice", uid: 1000, want: "mallory"},
		"a user without a name":           {err: errors.New("unknown"), uid: 1000, want: "user 1000"},
		"a name that is too long":         {user: strings.Repeat("ä", 300), uid: 1, want: strings.Repeat("ä", MaxUser)},
	} {
		t.Run(name, func(t *testing.T) {
			current := func() (*user.User, error) { return &user.User{Username: tc.user}, tc.err }
			if got := who(current, environment(tc.sudo), tc.uid); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	s := Switches{KillSwitch: &alice, Blocked: []Block{{ID: "M1.1", Use: alice, Expires: noon}}, Repair: &alice, Recent: []Event{{"x", alice}}}
	data, err := format(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"apiVersion":"ems.mitigation.dev/switches/v1"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		again, err := format(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if got, err := Parse(again); err != nil || !got.Equal(s) {
			t.Fatalf("what was written is not what was read: %v\n%s", err, again)
		}
	})
}
