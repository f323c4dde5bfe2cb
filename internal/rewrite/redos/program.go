package redos

import (
	"fmt"
	"slices"
)

const (
	// maxProgram bounds the steps into which a pattern is translated. A pattern of 2,048
	// characters without counted repetitions needs at most two for each character; the rest
	// is for the copies that counted repetitions and back references need.
	maxProgram = 12_288
	// maxCopies is the largest count of a repetition that is taken literally. What is
	// repeated more often counts as repeated without bound: inputs have a few thousand
	// characters, so x{0,100}x{0,100} costs what x*x* does, within a small factor.
	maxCopies = 32
	// stepCost is what a step costs in the units of the budget: it and its state have to be
	// made, and their characters compared with those of the others.
	stepCost = 20
)

// operation is what a step of a program does.
type operation int

const (
	opChar     operation = iota // take a character of set, then next[0]
	opSplit                     // try next in order
	opEnter                     // begin an iteration that must not be empty, then next[0]
	opIterated                  // end an iteration: fails if it was begun by opEnter and is empty
	opBegin                     // only at the begin of the input
	opEnd                       // only at the end of the input
	opUnsure                    // may fail for reasons that are not modelled
	opLook                      // try next[0] to its end, then next[1]
	opLookEnd                   // the content of a look-ahead has matched
	opAccept                    // the pattern has matched
)

// step is one step of a program; a program is what a backtracking matcher walks through.
type step struct {
	op   operation
	set  charset
	next []int
	loop int
	at   *node
}

// compiler translates a pattern, back to front: each part is told the step that follows.
type compiler struct {
	steps  []step
	loops  int
	budget *budget
	// rough says that the program allows more than the pattern does.
	rough bool
	// references is how many back references the part that is translated lies in.
	references int
}

func (c *compiler) add(s step) int {
	c.steps = append(c.steps, s)
	return len(c.steps) - 1
}

// compile returns the first step of n followed by the step next.
func (c *compiler) compile(n *node, next int) (int, error) {
	if len(c.steps) > maxProgram {
		return 0, fmt.Errorf("%w: more than %d steps with its counted repetitions", ErrTooComplex, maxProgram)
	}
	if err := c.budget.spend(stepCost); err != nil {
		return 0, err
	}
	switch n.kind {
	case kindChar:
		return c.add(step{op: opChar, set: n.set, next: []int{next}, at: n}), nil
	case kindConcat:
		var err error
		for i := len(n.subs) - 1; i >= 0 && err == nil; i-- {
			next, err = c.compile(n.subs[i], next)
		}
		return next, err
	case kindAlternate:
		split := step{op: opSplit, at: n}
		for _, sub := range n.subs {
			first, err := c.compile(sub, next)
			if err != nil {
				return 0, err
			}
			split.next = append(split.next, first)
		}
		return c.add(split), nil
	case kindRepeat:
		return c.repeat(n, next)
	case kindBegin, kindEnd, kindBoundary:
		return c.assertion(n, next), nil
	case kindLook:
		if c.references > 0 {
			return next, nil // it was tried where the group was, not where the reference is
		}
		c.rough = true
		content, err := c.compile(n.subs[0], c.add(step{op: opLookEnd}))
		if err != nil {
			return 0, err
		}
		return c.add(step{op: opLook, next: []int{content, c.add(step{op: opUnsure, next: []int{next}})}}), nil
	case kindReference:
		return c.reference(n, next)
	case kindEmpty:
	}
	return next, nil
}

// assertion translates what takes no characters.
func (c *compiler) assertion(n *node, next int) int {
	op := opUnsure
	switch {
	case c.references > 0:
		// The group was elsewhere, so the assertion says nothing about this place.
	case n.kind == kindBegin:
		op = opBegin
	case n.kind == kindEnd:
		op = opEnd
	default:
		c.rough = true
	}
	return c.add(step{op: op, next: []int{next}})
}

// maxReferences bounds how deep back references to groups with back references go.
const maxReferences = 8

// reference translates a back reference as anything that its group can take, or nothing: a
// group that took no part is empty. Every way through the input is among the ways of that,
// and comparing with the text of the group takes as long as walking through it.
func (c *compiler) reference(n *node, next int) (int, error) {
	c.rough = true
	if len(n.subs) == 0 {
		return next, nil
	}
	if c.references++; c.references > maxReferences {
		return 0, fmt.Errorf("%w: back references within back references", ErrTooComplex)
	}
	defer func() { c.references-- }()
	content, err := c.compile(n.subs[0], next)
	if err != nil {
		return 0, err
	}
	split := c.add(step{op: opSplit, next: []int{content, next}, at: n})
	return c.add(step{op: opUnsure, next: []int{split}}), nil
}

// repeat translates a repetition by copying its content.
func (c *compiler) repeat(n *node, next int) (int, error) {
	low, high := n.min, n.max
	if low > maxCopies || high > maxCopies {
		// Whether the count fits is not known any more, so neither is acceptance.
		c.rough = true
		next = c.add(step{op: opUnsure, next: []int{next}})
		high = unbounded
		low = min(low, 1)
	}
	var err error
	if high == unbounded {
		next, err = c.unboundedLoop(n, low, next)
		low = max(low-1, 0)
	}
	exit := next
	for i := low; i < high && err == nil; i++ {
		next, err = c.optional(n, next, exit)
	}
	for i := 0; i < low && err == nil; i++ {
		next, err = c.compile(n.subs[0], next)
	}
	return next, err
}

// unboundedLoop translates x* if low is 0, else x+. The first iteration of x+ may be empty,
// all others must not be.
func (c *compiler) unboundedLoop(n *node, low, next int) (int, error) {
	loop := c.newLoop()
	// The step that decides about another iteration comes before the content it leads to.
	head := c.add(step{op: opSplit, at: n})
	back := head
	if nullable(n.subs[0]) {
		back = c.add(step{op: opIterated, loop: loop, next: []int{head}})
	}
	content, err := c.compile(n.subs[0], back)
	if err != nil {
		return 0, err
	}
	again := content
	if back != head {
		again = c.add(step{op: opEnter, loop: loop, next: []int{content}})
	}
	c.steps[head].next = order(n, again, next)
	if low > 0 {
		return content, nil
	}
	return head, nil
}

// order returns the ways from a repetition by priority.
func order(n *node, content, next int) []int {
	if n.lazy {
		return []int{next, content}
	}
	return []int{content, next}
}

// optional translates one iteration that may be left out; then the step exit follows. An
// iteration that is not required must not be empty, as the specification has it.
func (c *compiler) optional(n *node, next, exit int) (int, error) {
	if !nullable(n.subs[0]) {
		content, err := c.compile(n.subs[0], next)
		return c.add(step{op: opSplit, next: order(n, content, exit), at: n}), err
	}
	loop := c.newLoop()
	content, err := c.compile(n.subs[0], c.add(step{op: opIterated, loop: loop, next: []int{next}}))
	if err != nil {
		return 0, err
	}
	enter := c.add(step{op: opEnter, loop: loop, next: []int{content}})
	return c.add(step{op: opSplit, next: order(n, enter, exit), at: n}), nil
}

func (c *compiler) newLoop() int {
	c.loops++
	return c.loops - 1
}

// nullable tells whether a part can match without taking a character.
func nullable(n *node) bool {
	switch n.kind {
	case kindChar:
		return false
	case kindConcat:
		return !slices.ContainsFunc(n.subs, func(sub *node) bool { return !nullable(sub) })
	case kindAlternate:
		return slices.ContainsFunc(n.subs, nullable)
	case kindRepeat:
		return n.min == 0 || nullable(n.subs[0])
	case kindEmpty, kindBegin, kindEnd, kindBoundary, kindLook, kindReference:
	}
	return true
}
