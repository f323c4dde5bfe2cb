package switches

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode/utf8"
)

// Now is a use by the user of this process: on Windows DOMAIN\user, elsewhere the name, and who became root by sudo is
// named too.
func Now(reason string) Use {
	return Use{By: who(user.Current, os.Getenv, os.Geteuid()), Time: time.Now().UTC().Truncate(time.Second), Reason: strings.TrimSpace(reason)}
}

func who(current func() (*user.User, error), getenv func(string) string, uid int) string {
	name := fmt.Sprintf("user %d", uid)
	if u, err := current(); err == nil && u.Username != "" {
		name = u.Username
	}
	// The word of the environment counts only where whoever could change it could change the file as well.
	if behind := getenv("SUDO_USER"); behind != "" && uid == 0 {
		name = behind + " (sudo)"
	}
	name = strings.ToValidUTF8(name, "?")
	if runes := []rune(name); utf8.RuneCountInString(name) > MaxUser {
		name = string(runes[:MaxUser])
	}
	return name
}
