package lossless

import (
	"crypto/sha256"
	"fmt"
	"testing"
)

func TestAgreementsForgetTheOldest(t *testing.T) {
	sum := func(i int) digest { return sha256.Sum256(fmt.Append(nil, i)) }
	doc, other := &Document{Elements: 3, order: 7}, &Document{Elements: 3, order: 8}
	var a agreements
	if a.on(sum(0), doc) || a.on(digest{}, &Document{}) {
		t.Error("there is an agreement before the first")
	}
	for i := range maxAgreed {
		a.add(sum(i), doc)
		a.add(sum(i), other) // which takes no second place
	}
	if !a.on(sum(0), doc) || a.on(sum(0), other) || len(a.held) != maxAgreed {
		t.Errorf("%d agreements are held, want %d with the first", len(a.held), maxAgreed)
	}
	a.add(sum(maxAgreed), doc)
	if a.on(sum(0), doc) || !a.on(sum(1), doc) || !a.on(sum(maxAgreed), doc) || len(a.held) != maxAgreed {
		t.Errorf("%d agreements are held, want %d without the first", len(a.held), maxAgreed)
	}
}

// What one reader refuses is refused each time, and what all have agreed on gives the same document again.
func TestAgreementChangesNoAnswer(t *testing.T) {
	good, bad := []byte("<configuration><a b=\"1\"/></configuration>"), []byte("<configuration a=\"1\" a=\"2\"/>")
	for i := range 3 {
		doc, err := Parse(good)
		if err != nil || doc.Elements != 2 {
			t.Errorf("reading %d: %+v, %v", i, doc, err)
		}
		if doc, err := Parse(bad); err == nil {
			t.Errorf("reading %d of a file with an attribute twice: %+v, want an error", i, doc)
		}
	}
	doc, err := Scan(good)
	if err != nil || !agreed.on(sha256.Sum256(good), doc) {
		t.Errorf("the readers agree, and nobody knows: error %v", err)
	}
}

func BenchmarkParseAgain(b *testing.B) {
	data := benchmarkFile()
	if _, err := Parse(data); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
