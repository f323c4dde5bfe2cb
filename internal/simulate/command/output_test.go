package command

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProgressIsForTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	var out bytes.Buffer
	p := newProgress(&out, file)
	p.show(10)
	p.done()
	p = newProgress(file, file)
	p.show(10)
	p.done()
	if info, err := file.Stat(); err != nil || info.Size() != 0 || out.Len() != 0 {
		t.Errorf("written: %q, and to the file: %v, %v", &out, info, err)
	}

	p = &progress{out: &out, size: 200}
	p.show(50)
	const quarter = "\r[##########                              ]  25 %"
	if out.String() != quarter {
		t.Errorf("%q, want %q", &out, quarter)
	}
	p.show(100)
	if out.String() != quarter {
		t.Errorf("it is drawn again at once: %q", &out)
	}
	p.next = time.Time{}
	out.Reset()
	// A file may grow while it is read.
	p.show(400)
	if want := "\r[########################################] 100 %"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
	out.Reset()
	p.done()
	if want := "\r                                                \r"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 100000: "100,000"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
