package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/journal/durable"
)

type body struct {
	Text  string `json:"text"`
	Bytes []byte `json:"bytes,omitempty"`
}

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "journal")
	s, err := Open(dir, durable.OS{})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestRecordsComeBack(t *testing.T) {
	s, dir := open(t)
	want := map[string]body{"M2.1.0": {Text: "a<b>&\u2028"}, "CON": {Bytes: []byte{0, 0xFF}}, `..\..\pool "x"/Ü`: {Text: "p"}}
	for name, b := range want {
		if err := s.Put("mitigation", name, body{Text: "first"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Put("mitigation", strings.ToUpper(name), b); err != nil {
			t.Fatal(err)
		}
		if err := s.Put("mitigation", name, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put("pool", "M2.1.0", body{Text: "another kind"}); err != nil {
		t.Fatal(err)
	}
	got, err := Load[body](s, "mitigation")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%d files, error %v", len(entries), err)
	}
	for _, name := range []string{"m2.1.0", "CON", "never there"} {
		if err := s.Delete("mitigation", name); err != nil {
			t.Error(err)
		}
	}
	if got, err := Load[body](s, "mitigation"); err != nil || len(got) != 1 {
		t.Errorf("%d records left, error %v", len(got), err)
	}
}

func TestDamagedRecordsAreSetAside(t *testing.T) {
	tests := map[string]func([]byte) []byte{
		"cut off":                  func(b []byte) []byte { return b[:len(b)/2] },
		"empty":                    func([]byte) []byte { return nil },
		"a changed letter":         func(b []byte) []byte { return bytes.Replace(b, []byte("precious"), []byte("preciouS"), 1) },
		"another name":             func(b []byte) []byte { return bytes.Replace(b, []byte(`"M1"`), []byte(`"M2"`), 1) },
		"another kind":             func(b []byte) []byte { return bytes.Replace(b, []byte(`"mitigation"`), []byte(`"pool"`), 1) },
		"version zero":             func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":0`), 1) },
		"zeros, as NTFS may leave": func(b []byte) []byte { return make([]byte, len(b)) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t)
			if err := s.Put("mitigation", "M1", body{Text: "precious"}); err != nil {
				t.Fatal(err)
			}
			if err := s.Put("mitigation", "M3", body{Text: "other"}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "mitigation-m1.json")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(data)
			if bytes.Equal(damaged, data) {
				t.Fatal("the test damaged nothing")
			}
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it is already aside
				got, err := Load[body](s, "mitigation")
				if err != nil || len(got) != 1 || got["M3"].Text != "other" {
					t.Fatalf("records %v, error %v", got, err)
				}
				if names, err := s.Damaged("mitigation"); err != nil || !cmp.Equal(names, []string{"m1"}) {
					t.Fatalf("damaged %v, error %v", names, err)
				}
			}
			if kept, err := os.ReadFile(filepath.Join(dir, "mitigation-m1.json.corrupt")); err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("the damaged file was not kept: %v", err)
			}
			if err := s.Resolve("mitigation", "M1"); err != nil {
				t.Fatal(err)
			}
			if names, err := s.Damaged("mitigation"); err != nil || len(names) != 0 {
				t.Errorf("after Resolve: damaged %v, error %v", names, err)
			}
		})
	}
}

func TestARecordOfANewerFormatStopsEverything(t *testing.T) {
	s, dir := open(t)
	file := filepath.Join(dir, "mitigation-m1.json")
	if err := os.WriteFile(file, []byte(`{"version":2,"kind":"mitigation","name":"M1","body":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load[body](s, "mitigation"); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the record was moved: %v", err)
	}
}

func TestLeftoversOfACrashAreIgnored(t *testing.T) {
	s, dir := open(t)
	if err := os.WriteFile(filepath.Join(dir, "mitigation-m1.json"+durable.TempSuffix), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Load[body](s, "mitigation"); err != nil || len(got) != 0 {
		t.Errorf("records %v, error %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode("mitigation", "M1", body{Text: "x", Bytes: []byte{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"kind":"mitigation","name":"M1","sha256":"","body":null}`))
	f.Add([]byte(`{"version":9}`))
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		var b body
		name, err := decode(data, "mitigation", &b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := encode("mitigation", name, b)
		if err != nil {
			t.Fatal(err)
		}
		var c body
		if n, err := decode(again, "mitigation", &c); err != nil || n != name || !cmp.Equal(b, c) {
			t.Fatalf("%q %v %v", n, c, err)
		}
		decoded, err := decodeName(encodeName(name))
		if err != nil || encodeName(decoded) != encodeName(name) {
			t.Fatalf("name %q comes back as %q, %v", name, decoded, err)
		}
	})
}

// decode reads a record as Load does.
func decode(data []byte, kind string, into any) (string, error) {
	name, raw, err := unwrap(data, kind)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return "", errors.Join(ErrCorrupt, err)
	}
	return name, nil
}

func TestWhatWasBelievedIsReadFromTheDiskAllTheSame(t *testing.T) {
	s, dir := open(t)
	if err := s.Put("plan", "pool", body{Text: "first"}); err != nil {
		t.Fatal(err)
	}
	load := func() map[string]body {
		t.Helper()
		got, err := Load[body](s, "plan")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := load(); got["pool"].Text != "first" {
		t.Fatalf("%+v", got)
	}
	// Another process writes it: another Store on the same folder has nothing in memory.
	other, err := Open(dir, durable.OS{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Put("plan", "pool", body{Text: "second"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // read, and believed
		if got := load(); got["pool"].Text != "second" {
			t.Fatalf("%+v", got)
		}
	}
	// What one caller does with a record is not seen by the next.
	if err := s.Put("plan", "pool", body{Bytes: []byte("abc")}); err != nil {
		t.Fatal(err)
	}
	load()["pool"].Bytes[0] = 'X'
	if got := load(); string(got["pool"].Bytes) != "abc" {
		t.Fatalf("%s", got["pool"].Bytes)
	}
	// One flipped byte under the same name is damage, however often it was in order before.
	path := filepath.Join(dir, "plan-pool.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte(`"YWJj"`))+1] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := load(); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	if damaged, err := s.Damaged("plan"); err != nil || len(damaged) != 1 {
		t.Fatalf("%v %v", damaged, err)
	}
	if len(s.believed) != 0 {
		t.Errorf("%d records are remembered that are gone", len(s.believed))
	}
}

func TestBigRecordsAreNotKeptInMemory(t *testing.T) {
	s, _ := open(t)
	if err := s.Put("file", "big", body{Bytes: make([]byte, maxBelieved)}); err != nil {
		t.Fatal(err)
	}
	if got, err := Load[body](s, "file"); err != nil || len(got["big"].Bytes) != maxBelieved || len(s.believed) != 0 {
		t.Errorf("%d remembered, %v", len(s.believed), err)
	}
}
