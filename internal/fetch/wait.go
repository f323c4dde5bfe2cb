package fetch

import (
	"strconv"
	"strings"
	"time"
)

// MaxWait is the longest wait that a Request asks for. Beyond it firewalls have long forgotten the connection.
const MaxWait = 10 * time.Minute

// maxPreferences is how many preferences of an answer are looked at. Real answers name one or two.
const maxPreferences = 16

// preferWait returns the preference for a wait (RFC 7240, section 4.3, in whole seconds), empty without one. Only a
// request that the host can answer with "not modified" can be held.
func preferWait(request Request) (preference string, wait time.Duration) {
	if request.Wait < time.Second || !isETag(request.ETag) {
		return "", 0
	}
	wait = min(request.Wait, MaxWait).Truncate(time.Second)
	return "wait=" + strconv.FormatInt(int64(wait/time.Second), 10), wait
}

// appliedWait reports whether the values of Preference-Applied say that a wait was honoured (RFC 7240, section 3: names in
// any case, values as tokens or quoted, white space around, several in one field or in several). A host may lower the number
// and still wait; how long it really does shows.
func appliedWait(values []string) bool {
	left := maxPreferences
	for _, value := range values {
		for preference := range strings.SplitSeq(value, ",") {
			if left--; left < 0 {
				return false
			}
			if isWait(preference) {
				return true
			}
		}
	}
	return false
}

func isWait(preference string) bool {
	name, seconds, ok := strings.Cut(preference, "=")
	if !ok || !strings.EqualFold(strings.Trim(name, " \t"), "wait") {
		return false
	}
	seconds = strings.Trim(seconds, " \t")
	if len(seconds) >= 2 && seconds[0] == '"' && seconds[len(seconds)-1] == '"' {
		seconds = seconds[1 : len(seconds)-1]
	}
	_, err := strconv.ParseUint(seconds, 10, 31)
	return err == nil
}
