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

// Successor follows a chain of supersessions to its end: the mitigation that stands in the place of the given one. The map
// has the successor of each superseded mitigation, by lower-case id. It reports false when nothing supersedes the
// mitigation, and when the chain runs in a circle: then the publisher's word means nothing, and nothing may be removed on
// account of it.
func Successor(id string, supersededBy map[string]string) (string, bool) {
	current, found := id, false
	for range len(supersededBy) + 1 {
		next, ok := supersededBy[strings.ToLower(current)]
		if !ok || next == "" {
			return current, found
		}
		current, found = next, true
	}
	return "", false
}
