package agent

import (
	"container/list"
	"context"
	"sync"
)

// Turns lets no more than a number of agents of one process make a pass at a time, where they share processors. A pass that many others
// interrupt would take its own slowness for that of the server.
//
// Passes that somebody waits for come first: a server of its own would not wait with them for what other servers do at their leisure.
type Turns struct {
	mu   sync.Mutex
	free int
	// awaited and others are the passes that wait, as chan struct{} which their turn closes.
	awaited, others list.List
}

// NewTurns lets so many agents make a pass at a time.
func NewTurns(number int) *Turns { return &Turns{free: number} }

// take waits for a turn, which release gives back. It reports whether there is one before the context ends. A pass that nobody waited for
// joins the others as soon as hurry delivers, which says whether somebody does now.
func (t *Turns) take(ctx context.Context, awaited bool, hurry <-chan struct{}, hurries func() bool) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	queue, turn := &t.others, make(chan struct{})
	if awaited {
		queue = &t.awaited
	}
	place := queue.PushBack(turn)
	t.mu.Unlock()
	for {
		select {
		case <-turn:
			return true
		case <-hurry:
			if awaited || !hurries() {
				continue
			}
			if !t.leave(queue, place, turn) {
				return true
			}
			return t.take(ctx, true, hurry, hurries)
		case <-ctx.Done():
			if !t.leave(queue, place, turn) {
				t.release()
			}
			return false
		}
	}
}

// leave gives up a place in a queue. It reports false if the turn came in the same moment.
func (t *Turns) leave(queue *list.List, place *list.Element, turn <-chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-turn:
		return false
	default:
		queue.Remove(place)
		return true
	}
}

// release gives a turn back, to whoever is next.
func (t *Turns) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, queue := range []*list.List{&t.awaited, &t.others} {
		if first := queue.Front(); first != nil {
			close(queue.Remove(first).(chan struct{})) //nolint:forcetypeassert // nothing else is put there
			return
		}
	}
	t.free++
}
