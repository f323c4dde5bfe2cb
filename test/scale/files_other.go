//go:build !linux

package main

// enoughFiles makes room for the files that agents hold open, on Linux.
func enoughFiles(int) error { return nil }
