package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}

var errNotGreen = errors.New("the tests did not pass")

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("testsum", flag.ContinueOnError)
	summaryFile := flags.String("summary", "", "also write the two closing lines to this `file`")
	slowest := flags.Int("slow", 10, "how many of the slowest tests to name, among those that took a second or more")
	if err := flags.Parse(args); err != nil {
		return err
	}
	started := time.Now()
	s := newSummary(out)
	if err := s.read(in); err != nil {
		return err
	}
	s.finishOthers()
	closing := s.close(*slowest, time.Since(started))
	s.printf("%s", closing)
	if *summaryFile != "" {
		if err := os.WriteFile(*summaryFile, []byte(closing), 0o644); err != nil {
			return fmt.Errorf("summary file: %w", err)
		}
	}
	if !s.ok() {
		return errNotGreen
	}
	return nil
}

// read handles every line of the stream. It uses ReadBytes and not a Scanner because a line of output may be longer than
// any fixed limit, and a summary that stops reading would make the tests look finished.
func (s *summary) read(in io.Reader) error {
	reader := bufio.NewReader(in)
	for {
		line, err := reader.ReadBytes('\n')
		if e, ok := parseEvent(line); ok {
			s.handle(e)
		} else if len(line) > 0 {
			s.printf("%s", line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("test events: %w", err)
		}
	}
}
