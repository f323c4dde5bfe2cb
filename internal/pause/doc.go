// Package pause waits for a time to go by, or for whoever asked to lose interest.
package pause
