// Command fakeappcmd behaves as appcmd.exe is reported to, for tests of processes on machines without IIS: output, exit
// codes, translated messages, errors on either stream, states that take their time, a service that breaks off calls. Its
// server is a JSON file, which is named by the environment variable FAKE_APPCMD and changed by every call. Calls at the same time, and
// calls that are killed, leave it whole, as WAS does with what it keeps.
//
// Where an exit code has only eight bits, the full one stands in the file of that name with ".exit" behind it.
package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// server is the content of the file.
type server struct {
	// Down means that WAS does not run.
	Down bool `json:"down,omitempty"`
	// Breaks is how many more calls end with an error of the connection.
	Breaks int `json:"breaks,omitempty"`
	// Hresult writes the error of the connection into the message, beside the exit code 1.
	Hresult bool `json:"hresult,omitempty"`
	// Hang lets every call wait for so long, in milliseconds.
	Hang int `json:"hang,omitempty"`
	// Stderr sends errors there.
	Stderr bool `json:"stderr,omitempty"`
	// Russian translates the messages.
	Russian bool `json:"russian,omitempty"`
	// Slow is for how many looks a pool is on its way to a state.
	Slow  int     `json:"slow,omitempty"`
	Pools []*pool `json:"pools"`
	Sites []site  `json:"sites,omitempty"`
	// Sections are outputs of list config, by section and place with a blank between them.
	Sections map[string]string `json:"sections,omitempty"`
	// Calls are all arguments so far.
	Calls []string `json:"calls,omitempty"`
}

type pool struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Next is the state that it is on its way to, after so many Looks.
	Next  string `json:"next,omitempty"`
	Looks int    `json:"looks,omitempty"`
}

type site struct {
	Name     string `json:"name"`
	ID       int    `json:"id"`
	Bindings string `json:"bindings"`
	State    string `json:"state"`
}

// failure is an exit code with its messages.
type failure struct {
	code             int
	english, russian string
}

var (
	unknownObject = failure{1, "", ""}
	badUsage      = failure{87, "The parameter is incorrect.", "Параметр задан неверно."}
	notFound      = failure{1168, "Cannot find APPPOOL object with identifier %q.", "Не удаётся найти объект APPPOOL с идентификатором %q."}
	unavailable   = failure{50, "The WAS service is not available - try starting the service first.", "Служба WAS недоступна - попробуйте сначала запустить службу."}
	notActive     = failure{1062, "The service has not been started.", "Служба не запущена."}
	running       = failure{1056, "An instance of the service is already running.", "Одна копия службы уже запущена."}
	callFailed    = failure{1726, "The remote procedure call failed.", "Сбой при удалённом вызове процедуры."}
)

func main() {
	path := os.Getenv("FAKE_APPCMD")
	code, err := run(path, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil {
		err = os.WriteFile(path+".exit", []byte(strconv.Itoa(code)), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeappcmd:", err)
		os.Exit(99)
	}
	if runtime.GOOS != "windows" && code != 0 {
		code = max(1, code&0xff)
	}
	os.Exit(code)
}

func run(path string, args []string, stdout, stderr io.Writer) (int, error) {
	var s server
	var output string
	var failed *failure
	err := change(path, &s, func() {
		s.Calls = append(s.Calls, strings.Join(args, "|"))
		output, failed = s.answer(args)
	})
	if err != nil {
		return 0, err
	}
	<-time.After(time.Duration(s.Hang) * time.Millisecond)
	if failed == nil {
		fmt.Fprintf(stdout, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n%s</appcmd>\r\n", output)
		return 0, nil
	}
	to := stdout
	if s.Stderr {
		to = stderr
	}
	code, message := failed.code, failed.english
	if s.Russian {
		message = failed.russian
	}
	if s.Hresult {
		code, message = 1, fmt.Sprintf("ERROR ( hresult:%08x, message:Command execution failed.\r\n%s )", 0x80070000|failed.code, message)
	}
	if message != "" {
		fmt.Fprintf(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n    <ERROR message=\"%s\" />\r\n</appcmd>\r\n", escape(message))
	}
	return code, nil
}

const (
	// again is the pause between tries, tries how many there are: five seconds in all.
	again = 10 * time.Millisecond
	tries = 500
	// stale is how old the lock of a call is that was killed: calls hold it for a millisecond.
	stale = 2 * time.Second
)

// change reads the server from its file, changes it and puts it back, alone and in one step.
func change(path string, s *server, answer func()) error {
	lock := path + ".lock"
	err := persist(func() error {
		if info, err := os.Stat(lock); err == nil && time.Since(info.ModTime()) > stale {
			_ = os.Remove(lock)
		}
		f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		return err
	}
	defer func() { _ = persist(func() error { return os.Remove(lock) }) }()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, s); err != nil {
		return err
	}
	answer()
	if data, err = json.Marshal(s); err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.WriteFile(beside, data, 0o600); err != nil {
		return err
	}
	return persist(func() error { return os.Rename(beside, path) })
}

// persist tries until it succeeds: on Windows a file that somebody reads in that moment can neither be replaced nor removed.
func persist(try func() error) error {
	var err error
	for range tries {
		if err = try(); err == nil {
			return nil
		}
		<-time.After(again)
	}
	return err
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// answer carries out one command. Only the forms that the driver uses are known.
func (s *server) answer(args []string) (string, *failure) {
	switch {
	case s.Breaks > 0:
		s.Breaks--
		return "", &callFailed
	case (len(args) == 4 || len(args) == 5) && args[0] == "list" && args[1] == "config":
		return s.config(args[2:])
	case len(args) == 3 && args[0] == "list" && args[2] == "/xml":
		return s.all(args[1])
	case len(args) != 4 || args[1] != "apppool" || args[3] != "/xml" || strings.HasPrefix(args[2], "/"):
		return "", &badUsage
	}
	var p *pool
	for _, known := range s.Pools {
		if strings.EqualFold(known.Name, args[2]) {
			p = known
		}
	}
	if args[0] == "list" {
		return s.list(p)
	}
	return s.control(args[0], args[2], p)
}

func (s *server) config(args []string) (string, *failure) {
	place := ""
	if len(args) == 3 {
		place = args[0]
		args = args[1:]
	}
	section, isSection := strings.CutPrefix(args[0], "-section:")
	if !isSection || args[1] != "/xml" {
		return "", &badUsage
	}
	output, ok := s.Sections[section+" "+place]
	if !ok {
		return "", &unknownObject
	}
	return output, nil
}

// all lists the objects of a kind; without any it is as if one had been named that is not there.
func (s *server) all(kind string) (string, *failure) {
	var output strings.Builder
	switch kind {
	case "apppool":
		for _, p := range s.Pools {
			line, _ := s.list(p)
			output.WriteString(line)
		}
	case "site":
		for _, site := range s.Sites {
			state := site.State
			if s.Down {
				state = "Unknown"
			}
			fmt.Fprintf(&output, "    <SITE SITE.NAME=\"%s\" SITE.ID=\"%d\" bindings=\"%s\" state=\"%s\" />\r\n", escape(site.Name), site.ID, escape(site.Bindings), state)
		}
	default:
		return "", &badUsage
	}
	if output.Len() == 0 {
		return "", &unknownObject
	}
	return output.String(), nil
}

func (s *server) list(p *pool) (string, *failure) {
	if p == nil {
		return "", &unknownObject
	}
	if p.Next != "" {
		if p.Looks--; p.Looks < 0 {
			p.State, p.Next = p.Next, ""
		}
	}
	state := p.State
	if s.Down {
		state = "Unknown"
	}
	return `    <APPPOOL APPPOOL.NAME="` + escape(p.Name) + `" PipelineMode="Integrated" RuntimeVersion="v4.0" state="` + state + "\" />\r\n", nil
}

func (s *server) control(verb, name string, p *pool) (string, *failure) {
	var passing, state string
	var already *failure
	switch verb {
	case "start":
		passing, state, already = "Starting", "Started", &running
	case "stop":
		passing, state, already = "Stopping", "Stopped", &notActive
	default:
		return "", &badUsage
	}
	switch {
	case s.Down:
		return "", &unavailable
	case p == nil:
		f := notFound
		f.english, f.russian = fmt.Sprintf(f.english, name), fmt.Sprintf(f.russian, name)
		return "", &f
	case p.State == state || p.Next == state:
		return "", already
	}
	p.State, p.Next, p.Looks = passing, state, s.Slow
	return fmt.Sprintf("    <STATUS message=\"%s successfully %sed\" />\r\n", escape(p.Name), verb), nil
}
