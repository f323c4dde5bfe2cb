package switches

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
)

// Limits. They are those of status.local of a PoolServer, where all of this is shown.
const (
	// MaxBlocks is how many mitigations can be blocked at once.
	MaxBlocks = 64
	// MaxReason is the length of a reason in characters, MaxUser that of the name of a user.
	MaxReason = 1024
	MaxUser   = 256
	// MaxRecent is how many of the last uses are remembered: more than a person makes in a night, and few for a status that
	// every server has.
	MaxRecent = 8
	// maxDid bounds the words for a use; ours have at most thirty beside an id.
	maxDid = 128
	// maxBytes bounds the file: 66 uses with 1,280 characters and the last 8 with 1,408 of at most twelve bytes each (two escaped
	// surrogates) are 1,148,928 bytes; names, dates and blanks fit into the rest.
	maxBytes = 1200 << 10
)

// APIVersion is the format of the file.
const APIVersion = "ems.mitigation.dev/switches/v1"

// Use is something that a person did.
type Use struct {
	// By is the user of the system, Time is UTC in whole seconds.
	By     string    `json:"by"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason,omitempty"`
}

// String tells who, when and why.
func (u Use) String() string {
	text := fmt.Sprintf("by %s at %s", u.By, u.Time.UTC().Format(time.RFC3339))
	if u.Reason != "" {
		text += ": " + u.Reason
	}
	return text
}

// Block keeps a mitigation, or an action of one, off the server. A parent id covers its children.
type Block struct {
	ID  string `json:"id"`
	Use Use    `json:"use"`
	// Expires is when the block stops counting; zero if it does not by itself.
	Expires time.Time `json:"expires,omitzero"`
}

// Counts reports whether the block counts at a time: until it expires, and not at that instant.
func (b Block) Counts(now time.Time) bool { return b.Expires.IsZero() || now.Before(b.Expires) }

// Event is something that somebody did, which what is on does not always tell.
type Event struct {
	// Did is in words, such as "the kill switch was taken back".
	Did string `json:"did"`
	Use Use    `json:"use"`
}

// Switches are all of a server. The zero value has nothing switched. They are not changed in place: methods that change
// something make new lists.
type Switches struct {
	// KillSwitch keeps everything off the server; nil while it is off.
	KillSwitch *Use    `json:"killSwitch,omitempty"`
	Blocked    []Block `json:"blocked,omitempty"`
	// Repair is the last request to look at everything anew.
	Repair *Use `json:"repair,omitempty"`
	// Recent are the last uses, the newest first: also those that another one undid before the cluster heard of them.
	Recent []Event `json:"recent,omitempty"`
}

// note remembers a use.
func (s *Switches) note(did string, use Use) {
	recent := append([]Event{{did, use}}, s.Recent...)
	s.Recent = recent[:min(len(recent), MaxRecent)]
}

// Kill tells who threw the kill switch, if it is on.
func (s Switches) Kill() (Use, bool) {
	if s.KillSwitch == nil {
		return Use{}, false
	}
	return *s.KillSwitch, true
}

// Blocks finds the block that covers an id.
func (s Switches) Blocks(id string, now time.Time) (Block, bool) {
	for _, b := range s.Blocked {
		if b.Counts(now) && policy.Covers(b.ID, id) {
			return b, true
		}
	}
	return Block{}, false
}

// Within gives the blocks of parts of a mitigation: of actions, but not of the whole.
func (s Switches) Within(id string, now time.Time) []Block {
	var within []Block
	for _, b := range s.Blocked {
		if b.Counts(now) && policy.Covers(id, b.ID) && !policy.Covers(b.ID, id) {
			within = append(within, b)
		}
	}
	return within
}

// Next is when the next block expires; zero if none does.
func (s Switches) Next(now time.Time) time.Time {
	var next time.Time
	for _, b := range s.Blocked {
		if b.Expires.After(now) && (next.IsZero() || b.Expires.Before(next)) {
			next = b.Expires
		}
	}
	return next
}

// Equal reports whether both say the same.
func (s Switches) Equal(o Switches) bool {
	a, errA := json.Marshal(s)
	b, errB := json.Marshal(o)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// Throw throws the kill switch. Thrown already, it stays as it was thrown first.
func (s *Switches) Throw(use Use) error {
	if s.KillSwitch == nil {
		s.KillSwitch = &use
		s.note("the kill switch was thrown", use)
	}
	return nil
}

// TakeBack takes the kill switch back.
func (s *Switches) TakeBack(use Use) error {
	if s.KillSwitch == nil {
		return errors.New("the kill switch is not on")
	}
	s.KillSwitch = nil
	s.note("the kill switch was taken back", use)
	return nil
}

// Block adds a block, or gives one of the same id another reason and end. Blocks that have expired are dropped.
func (s *Switches) Block(b Block) error {
	if !ocs.ValidID(b.ID) {
		return fmt.Errorf("id %q: not the id of a mitigation or of an action, such as M1 or M1.1", b.ID)
	}
	if !b.Counts(b.Use.Time) {
		return errors.New("the end of the block is not in the future")
	}
	kept := slices.DeleteFunc(slices.Clone(s.Blocked), func(o Block) bool { return strings.EqualFold(o.ID, b.ID) || !o.Counts(b.Use.Time) })
	if len(kept) >= MaxBlocks {
		return fmt.Errorf("%d mitigations are blocked, which is the most; use the kill switch", len(kept))
	}
	kept = append(kept, b)
	s.Blocked = kept
	slices.SortFunc(s.Blocked, func(x, y Block) int { return strings.Compare(strings.ToLower(x.ID), strings.ToLower(y.ID)) })
	s.note(b.ID+" was blocked", b.Use)
	return nil
}

// Unblock takes the block of exactly this id back.
func (s *Switches) Unblock(id string, use Use) error {
	kept := slices.DeleteFunc(slices.Clone(s.Blocked), func(b Block) bool { return strings.EqualFold(b.ID, id) })
	if len(kept) == len(s.Blocked) {
		if b, ok := s.Blocks(id, use.Time); ok {
			return fmt.Errorf("%s is not blocked by itself: the block of %s covers it", id, b.ID)
		}
		return fmt.Errorf("%s is not blocked on this server", id)
	}
	s.Blocked = kept
	s.note(id+" was unblocked", use)
	return nil
}

// AskRepair asks for a look at everything anew.
func (s *Switches) AskRepair(use Use) error {
	s.Repair = &use
	s.note("a repair was asked for", use)
	return nil
}

// file is what stands on the disk.
type file struct {
	APIVersion string `json:"apiVersion"`
	Switches
}

// Parse reads the content of a file. A word that is not known may be one that switches something, so it is an error.
func Parse(data []byte) (Switches, error) {
	if len(data) > maxBytes {
		return Switches{}, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var f file
	if err := decoder.Decode(&f); err != nil {
		return Switches{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Switches{}, errors.New("more than one JSON value")
	}
	if f.APIVersion != APIVersion {
		return Switches{}, fmt.Errorf("apiVersion: %q, want %q", f.APIVersion, APIVersion)
	}
	if err := f.check(); err != nil {
		return Switches{}, err
	}
	return f.Switches, nil
}

// format is the opposite of Parse.
func format(s Switches) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(file{APIVersion, s}, "", "  ")
	return append(data, '\n'), err
}

func (s Switches) check() error {
	if len(s.Blocked) > MaxBlocks {
		return fmt.Errorf("blocked: %d entries, at most %d", len(s.Blocked), MaxBlocks)
	}
	for _, part := range []struct {
		name string
		use  *Use
	}{{"killSwitch", s.KillSwitch}, {"repair", s.Repair}} {
		if part.use == nil {
			continue
		}
		if err := part.use.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if len(s.Recent) > MaxRecent {
		return fmt.Errorf("recent: %d entries, at most %d", len(s.Recent), MaxRecent)
	}
	for _, e := range s.Recent {
		if err := e.Use.check(); err != nil {
			return fmt.Errorf("recent: %w", err)
		}
		if e.Did == "" || utf8.RuneCountInString(e.Did) > maxDid {
			return fmt.Errorf("recent: did: 1 to %d characters", maxDid)
		}
	}
	seen := map[string]bool{}
	for _, b := range s.Blocked {
		if !ocs.ValidID(b.ID) || seen[strings.ToLower(b.ID)] {
			return fmt.Errorf("blocked: %q: no id, or there twice", b.ID)
		}
		seen[strings.ToLower(b.ID)] = true
		if err := b.Use.check(); err != nil {
			return fmt.Errorf("blocked: %s: %w", b.ID, err)
		}
		if y := b.Expires.UTC().Year(); !b.Expires.IsZero() && (y < 1 || y > 9999) {
			return fmt.Errorf("blocked: %s: expires: the year %d", b.ID, y)
		}
	}
	return nil
}

func (u Use) check() error {
	switch {
	case u.By == "" || utf8.RuneCountInString(u.By) > MaxUser:
		return fmt.Errorf("by: 1 to %d characters", MaxUser)
	case utf8.RuneCountInString(u.Reason) > MaxReason:
		return fmt.Errorf("reason: at most %d characters", MaxReason)
	case u.Time.UTC().Year() < 1970 || u.Time.UTC().Year() > 9999:
		return fmt.Errorf("time: the year %d", u.Time.UTC().Year())
	}
	return nil
}
