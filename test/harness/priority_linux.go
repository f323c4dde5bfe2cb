package harness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// GiveWay lowers the priority of this program, by a niceness from 1 to 19, below that of the processes which it starts. It is for programs
// that do the work of many machines on one: what is measured shall not wait for them.
func GiveWay(niceness int) error {
	tid := make(chan int)
	starter() <- func() { tid <- syscall.Gettid() }
	spawning := <-tid
	// Priorities belong to threads on Linux, and threads and processes have that of the thread that makes them: one that has not given way
	// yet may make another one meanwhile.
	done := map[int]bool{spawning: true}
	for more := true; more; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("priority: %w", err)
		}
		more = false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[id] {
				continue
			}
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("priority: %w", err)
			}
			done[id], more = true, true
		}
	}
	return nil
}
