package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeys switches escape sequences on; consoles before Windows 10 have none.
func obeys(file *os.File) bool {
	var mode uint32
	handle := windows.Handle(file.Fd())
	if windows.GetConsoleMode(handle, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
