package policy

import "strings"

// Covers reports whether an entry of a list speaks of the given id: the same id, or a parent of it (M1 covers M1.1 but
// neither M10 nor M2). Case does not matter, as in the names of objects.
func Covers(entry, id string) bool {
	if len(entry) > len(id) || !strings.EqualFold(entry, id[:len(entry)]) {
		return false
	}
	return len(entry) == len(id) || id[len(entry)] == '.'
}
