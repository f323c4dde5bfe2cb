//go:build !windows

// Command helper plays what the tests of servers with Windows need there. It does nothing elsewhere.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "helper: this is no Windows")
	os.Exit(1)
}
