package lossless

import (
	"crypto/sha256"
	"sync"
)

// maxAgreed is how many files are remembered. An agent reads some dozen of files, each a few times for a change: before it, to see that
// it arrived, and to see what IIS makes of it.
const maxAgreed = 256

// agreed remembers on which bytes all readers have agreed in this process, by digest: they would agree again.
var agreed agreements

type agreements struct {
	mu   sync.Mutex
	ring [maxAgreed]digest
	next int
	held map[digest]sight
}

type digest = [sha256.Size]byte

// sight is what the readers agreed on.
type sight struct {
	elements int
	order    uint64
}

// known reports whether all readers have agreed on bytes.
func (a *agreements) known(d digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.held[d]
	return ok
}

// on reports whether all readers have agreed that bytes are this document.
func (a *agreements) on(d digest, doc *Document) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen, ok := a.held[d]
	return ok && seen == sight{doc.Elements, doc.order}
}

// add takes down that all readers have agreed.
func (a *agreements) add(d digest, doc *Document) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.held[d]; ok {
		return
	}
	if a.held == nil {
		a.held = make(map[digest]sight, maxAgreed)
	}
	delete(a.held, a.ring[a.next])
	a.ring[a.next], a.held[d] = d, sight{doc.Elements, doc.order}
	a.next = (a.next + 1) % maxAgreed
}
