package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/local"
	"mitigation.dev/ems/agent/switches"
)

// operatorCommands are what the people in charge of a server can do at it, with or without a cluster.
var operatorCommands = []struct {
	name, arguments, summary string
	run                      func(*operatorFlags) error
}{
	{"status", "", "say what the agent last found, and what is switched at this server", showStatus},
	{"kill-switch", "on|off", "remove every mitigation and keep it off, or end that", switchKill},
	{"block", "ID", "remove a mitigation or an action and keep it off", blockHere},
	{"unblock", "ID", "end that", unblockHere},
	{"repair", "", "make the agent look at everything anew, and try again what failed here", repairHere},
	{"test-connectivity", "", "go the agent's way to the API server and tell of each step", testConnectivity},
}

// operatorFlags are the flags of these commands, of which each takes some.
type operatorFlags struct {
	argument string
	stateDir string
	reason   string
	lasting  time.Duration
	now      bool
	iisRoot  string
	appCmd   string
	output   string
	// connection is how test-connectivity reaches the API server.
	connection agent.Options

	ctx            context.Context
	stdout, stderr io.Writer
}

func (f *operatorFlags) bind(command string, flags *flag.FlagSet) {
	paths := agent.DefaultPaths()
	flags.StringVar(&f.stateDir, "state-dir", paths.StateDir, "folder for the agent's state, the same that the agent is started with")
	switch command {
	case "status":
		flags.StringVar(&f.output, "o", "text", "output: text or json")
		return
	case "test-connectivity":
		f.connection.BindConnectionFlags(flags)
		return
	}
	flags.StringVar(&f.reason, "reason", "", "why; it is shown in the cluster with your name. Required to throw the kill switch and to block")
	switch command {
	case "block":
		flags.DurationVar(&f.lasting, "for", 0, "how long, such as 72h (default: until unblock)")
	case "kill-switch":
		flags.BoolVar(&f.now, "now", false, "with on: remove everything here and now if no agent runs that does it")
		flags.StringVar(&f.iisRoot, "iis-root", paths.IISRoot, "with -now: root of the drive that IIS is installed on")
		flags.StringVar(&f.appCmd, "appcmd", "", "with -now: path of appcmd.exe (default on Windows: its usual place below -iis-root), or "+drivers.NoAppCmd+" (default elsewhere)")
	}
}

// isOperatorCommand reports whether the name is that of one of these commands.
func isOperatorCommand(name string) bool {
	for _, c := range operatorCommands {
		if c.name == name {
			return true
		}
	}
	return false
}

// runOperator is "ems-agent status", "ems-agent kill-switch" and so on.
func runOperator(name string, arguments []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := &operatorFlags{ctx: ctx, stdout: stdout, stderr: stderr}
	for _, c := range operatorCommands {
		if c.name != name {
			continue
		}
		flags := flag.NewFlagSet("ems-agent "+name, flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		f.bind(name, flags)
		err := f.parse(flags, arguments, c.arguments)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(stdout, "Usage: %s [flags]\n%s%s.\n\n", strings.TrimSpace("ems-agent "+name+" "+c.arguments), strings.ToUpper(c.summary[:1]), c.summary[1:])
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return 0
		}
		if err == nil {
			err = c.run(f)
		} else {
			err = usageError{err}
		}
		var usage usageError
		switch {
		case err == nil:
			return 0
		case errors.As(err, &usage):
			fmt.Fprintf(stderr, "ems-agent %s: usage:\n%v\nSee ems-agent %s -help.\n", name, err, name)
			return exitUsage
		case !errors.Is(err, errAttention):
			fmt.Fprintf(stderr, "ems-agent: %v\n", err)
		}
		return exitFailure
	}
	return exitUsage
}

// parse takes the argument wherever it stands among the flags.
func (f *operatorFlags) parse(flags *flag.FlagSet, arguments []string, wants string) error {
	var rest []string
	for {
		if err := flags.Parse(arguments); err != nil {
			return err
		}
		if flags.NArg() == 0 {
			break
		}
		rest = append(rest, flags.Arg(0))
		arguments = flags.Args()[1:]
	}
	switch {
	case wants == "" && len(rest) > 0:
		return fmt.Errorf("argument %q: not expected", rest[0])
	case wants != "" && len(rest) != 1:
		return fmt.Errorf("%s: required, once", wants)
	case f.stateDir == "":
		return errors.New("-state-dir: required")
	case utf8.RuneCountInString(f.reason) > switches.MaxReason || !utf8.ValidString(f.reason):
		return fmt.Errorf("-reason: at most %d characters", switches.MaxReason)
	}
	if wants != "" {
		f.argument = rest[0]
	}
	return nil
}

// openSwitches opens the switches of an agent. A folder that is not there is a mistyped one: what is switched in it, nobody obeys.
func (f *operatorFlags) openSwitches() (switches.File, error) {
	if _, err := os.Stat(f.stateDir); err != nil {
		return switches.File{}, fmt.Errorf("-state-dir: %w: no agent works with this folder", err)
	}
	return switches.Open(f.stateDir), nil
}

// needReason is for what takes protection away.
func (f *operatorFlags) needReason() error {
	if strings.TrimSpace(f.reason) == "" {
		return usageError{errors.New("-reason: required")}
	}
	return nil
}

func switchKill(f *operatorFlags) error {
	file, err := f.openSwitches()
	if err != nil {
		return err
	}
	switch f.argument {
	case "on":
		if err := f.needReason(); err != nil {
			return err
		}
		if f.now && f.iisRoot == "" {
			return usageError{errors.New("-iis-root: required with -now")}
		}
		aside, err := file.Throw(f.ctx, switches.Now(f.reason))
		if err != nil {
			return err
		}
		if aside != "" {
			fmt.Fprintf(f.stderr, "The switches could not be read and were set aside as %s: what was blocked before is blocked by the kill switch alone.\n", aside)
		}
		fmt.Fprintln(f.stdout, "The kill switch is on. A running agent removes every mitigation within 5 seconds, and none is applied until: ems-agent kill-switch off")
		if f.now {
			return f.removeNow()
		}
		return nil
	case "off":
		if f.now {
			return usageError{errors.New("-now: only with on")}
		}
		if err := file.Change(f.ctx, func(s *switches.Switches) error { return s.TakeBack(switches.Now(f.reason)) }); err != nil {
			return err
		}
		fmt.Fprintln(f.stdout, "The kill switch is off. A running agent follows the plan of its pool again.")
		return nil
	}
	return usageError{fmt.Errorf("argument %q: want on or off", f.argument)}
}

// removeNow takes everything away if no agent runs that does so.
func (f *operatorFlags) removeNow() error {
	o := local.Options{IISRoot: f.iisRoot, StateDir: f.stateDir, Registry: facts.Registry}
	o.Pools, o.Services = drivers.For(runtime.GOOS, f.iisRoot, f.appCmd)
	report := local.Revert(f.ctx, o)
	if report.Problem != nil && report.Problem.Reason == local.ReasonAgentRunning {
		fmt.Fprintln(f.stdout, "The agent runs and removes them.")
		return nil
	}
	if printReport(report, "text", f.stdout, f.stderr) != 0 {
		return errors.New("not everything could be removed; the kill switch stays on, and an agent that is started goes on")
	}
	return nil
}

func blockHere(f *operatorFlags) error {
	if err := f.needReason(); err != nil {
		return err
	}
	if f.lasting < 0 {
		return usageError{fmt.Errorf("-for: %v: has to be in the future", f.lasting)}
	}
	block := switches.Block{ID: f.argument, Use: switches.Now(f.reason)}
	until := "until: ems-agent unblock " + f.argument
	if f.lasting > 0 {
		block.Expires = block.Use.Time.Add(max(f.lasting.Truncate(time.Second), time.Second))
		until = "until " + block.Expires.Format(time.RFC3339)
	}
	file, err := f.openSwitches()
	if err != nil {
		return err
	}
	if err := file.Change(f.ctx, func(s *switches.Switches) error { return s.Block(block) }); err != nil {
		return err
	}
	fmt.Fprintf(f.stdout, "%s is blocked on this server %s. A running agent removes it within 5 seconds.\n", f.argument, until)
	return nil
}

func unblockHere(f *operatorFlags) error {
	file, err := f.openSwitches()
	if err != nil {
		return err
	}
	if err := file.Change(f.ctx, func(s *switches.Switches) error { return s.Unblock(f.argument, switches.Now(f.reason)) }); err != nil {
		return err
	}
	fmt.Fprintf(f.stdout, "%s is not blocked on this server any more. A running agent follows the plan of its pool.\n", f.argument)
	return nil
}

func testConnectivity(f *operatorFlags) error {
	o := f.connection
	o.StateDir = f.stateDir
	if o.Kubeconfig != "" && (o.Namespace == "" || o.Pool == "" || o.Server == "") {
		return usageError{errors.New("-namespace, -pool, -server: required with -kubeconfig")}
	}
	if _, err := cluster.ParseProxy(o.Proxy); err != nil {
		return usageError{fmt.Errorf("-proxy: %w", err)}
	}
	ok := agent.TestConnection(f.ctx, o, func(s agent.Step) {
		if s.Err != nil {
			fmt.Fprintf(f.stdout, "FAIL  %-10s  %v\n", s.Name, s.Err)
			return
		}
		fmt.Fprintf(f.stdout, "ok    %-10s  %s\n", s.Name, s.Detail)
	})
	if !ok {
		return errAttention
	}
	return nil
}

func repairHere(f *operatorFlags) error {
	file, err := f.openSwitches()
	if err != nil {
		return err
	}
	if err := file.Change(f.ctx, func(s *switches.Switches) error { return s.AskRepair(switches.Now(f.reason)) }); err != nil {
		return err
	}
	fmt.Fprintln(f.stdout, "A repair is asked for. A running agent begins within 5 seconds: it looks at everything anew, and tries again what failed on this server.")
	return nil
}
