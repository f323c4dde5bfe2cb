package harness

import (
	"context"
	"os"
	"time"
)

// EndWithParent cancels when the program that started this one is gone, and returns then or when the context ends: a signal that ends
// "go run" or make does not reach their children.
func EndWithParent(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}
