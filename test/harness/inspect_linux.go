package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is the resident memory of a process in bytes; 0 where nobody knows.
func Memory(pid int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmRSS", pid)
}

// Listening lists the local addresses, as the kernel writes them, on which a process waits for others: TCP that listens, and UDP
// without a peer.
func Listening(pid int) ([]string, error) {
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, d := range descriptors {
		if target, err := os.Readlink(filepath.Join(fmt.Sprintf("/proc/%d/fd", pid), d.Name())); err == nil { // else it is closed by now
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var found []string
	for table, waits := range map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue // a system without IPv6
		}
		scanner := bufio.NewScanner(bytes.NewReader(content))
		for scanner.Scan() {
			const local, state, inode = 1, 3, 9
			if fields := strings.Fields(scanner.Text()); len(fields) > inode && fields[state] == waits && own[fields[inode]] {
				found = append(found, table+" "+fields[local])
			}
		}
	}
	return found, nil
}
