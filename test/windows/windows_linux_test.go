package windows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/test/harness"
)

const (
	feed = "contoso"
	// limit of whatever has to come true: four imitations of Windows share two slow cores with everything else.
	limit = 2 * time.Minute

	configFile = `C:\windows\system32\inetsrv\config\applicationHost.config`
	agentExe   = `C:\Program Files\EMS\ems-agent.exe`
	helperExe  = `C:\tools\helper.exe`
	poolsFile  = `C:\tools\appcmd.json`
	// disabled is the service that ECP1 switches off together with the pool.
	disabled = harness.HealthManager
)

func TestMain(m *testing.M) {
	if os.Getenv(supervisorAddress) == "" {
		flag.Parse()
		if err := flag.Set("test.parallel", "4"); err != nil { // they wait most of the time
			panic(err)
		}
		os.Exit(m.Run())
	}
	if err := supervise(); err != nil {
		fmt.Fprintln(os.Stderr, "supervisor:", err)
		os.Exit(1)
	}
}

// fleet is four servers with the cluster that they belong to.
type fleet struct {
	env      *harness.Environment
	pool     harness.Pool
	servers  []*harness.Server
	machines []*machine
	// original are the files of IIS before anything was applied.
	original []string
}

// TestFourServers is one story, each part of which begins where the one before ended.
func TestFourServers(t *testing.T) {
	wine := os.Getenv("EMS_TEST_WINE_ROOT")
	if wine == "" {
		t.Skip("EMS_TEST_WINE_ROOT is not set: no Wine to run Windows programs with; make test-windows sets it")
	}
	f := newFleet(t, wine)
	for _, part := range []struct {
		name string
		run  func(*fleet, *testing.T)
	}{
		{"the service is installed and started", (*fleet).install},
		{"mitigations are applied: a rule, a pool and a service", (*fleet).applied},
		{"a file that somebody holds is changed as soon as it is let go", (*fleet).held},
		{"a killed agent goes on where it was", (*fleet).killed},
		{"after a restart of the server everything is put right, without a network as well", (*fleet).rebooted},
		{"a block leaves the server as it was, byte for byte", (*fleet).blocked},
		{"the service is stopped and removed, and what is in place stays", (*fleet).uninstall},
	} {
		begin := time.Now()
		if !t.Run(part.name, func(t *testing.T) { part.run(f, t) }) {
			for _, m := range f.machines {
				t.Logf("log of %s:\n%s", m.name, m.log(t))
			}
			t.Log(f.env.Diagnose(context.WithoutCancel(t.Context())))
			return
		}
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), part.name)
	}
}

func newFleet(t *testing.T, wine string) *fleet {
	t.Helper()
	begin := time.Now()
	root, err := harness.FindRoot()
	must(t, err)
	var programs harness.Programs
	must(t, programs.FindControlPlane(root))
	dir := t.TempDir()
	must(t, programs.Build(t.Context(), root, dir))
	exes := map[string]string{agentExe: "./cmd/ems-agent", helperExe: "./test/windows/helper", `C:\windows\system32\inetsrv\appcmd.exe`: "./agent/iis/appcmd/fakeappcmd"}
	built := map[string]string{}
	f := &fleet{pool: harness.Pool{Name: "frontends", Namespace: "pool-windows", FQDN: "frontends.contoso.com", Rollout: harness.AtOnce()}}
	for path, pkg := range exes {
		built[path] = filepath.Join(dir, filepath.Base(pkg)+".exe")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", built[path], pkg)
		build.Dir, build.Env = root, append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", pkg, err, out)
		}
	}
	f.env, err = harness.New(harness.Options{Root: root, Dir: filepath.Join(dir, "harness"), Programs: programs})
	must(t, err)
	t.Cleanup(f.env.Stop)
	ctx := t.Context()
	must(t, f.env.StartControlPlane(ctx))
	must(t, f.env.Install(ctx))
	must(t, f.env.StartManager(ctx))
	must(t, f.env.Apply(ctx, f.env.Feed(feed, f.env.Publisher.Trust())))
	must(t, f.env.AddPool(ctx, f.pool))
	api, err := url.Parse(f.env.ControlPlane.Config().Host)
	must(t, err)
	for n := range 4 {
		s, err := f.env.AddServer(ctx, f.pool, fmt.Sprintf("win%02d", n+1), harness.ServerOptions{Believes: map[string]emsv1.TrustPolicy{feed: f.env.Publisher.Trust()}})
		must(t, err)
		f.servers = append(f.servers, s)
		f.machines = append(f.machines, newMachine(t, s.Name, wine, filepath.Join(root, "hack", "wine", "sandbox.sh"), api.Host))
	}
	f.original = make([]string, len(f.machines))
	f.each(t, func(t *testing.T, n int, m *machine) {
		m.boot(t)
		m.copyTree(t, f.servers[n].Root)
		for path, exe := range built {
			data, err := os.ReadFile(exe)
			must(t, err)
			m.write(t, path, string(data))
		}
		m.write(t, poolsFile, `{"pools": [{"name": "`+harness.ECPPool+`", "state": "Started"}]}`)
		// A service has the environment of the machine.
		m.want(t, 0, "reg", "add", `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`, "/v", "FAKE_APPCMD", "/d", poolsFile, "/f")
		m.want(t, 0, "sc", "create", disabled, "binPath=", helperExe+" service", "start=", "auto")
		m.off(t)
		m.boot(t)
		f.original[n] = m.read(t, configFile)
		m.wantService(t, runningAutomatic)
	})
	t.Logf("%5.1f s  four servers and a control plane", time.Since(begin).Seconds())
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// each does something on all servers at once.
func (f *fleet) each(t *testing.T, do func(t *testing.T, n int, m *machine)) {
	t.Helper()
	t.Run("on each", func(t *testing.T) {
		for n, m := range f.machines {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				do(t, n, m)
			})
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// publish serves mitigations and waits until the manager has them.
func (f *fleet) publish(t *testing.T, configs ...ocs.Config) {
	t.Helper()
	document, err := f.env.Publisher.Publish(configs...)
	must(t, err)
	f.env.Endpoint.Serve(document)
	_, err = f.env.Poll(t.Context(), feed, limit)
	must(t, err)
}

// revised is M1 in another revision, with a second rule.
func revised() ocs.Config {
	m1 := harness.M1()
	m1.Revision = 2
	m1.Actions[0].Rewrite = bytes.Replace(m1.Actions[0].Rewrite, []byte("PowerShell - inbound"), []byte("PowerShell - inbound, again"), 1)
	return m1
}

func (f *fleet) waitFor(t *testing.T, state emsv1.MitigationState, ids ...string) {
	t.Helper()
	for _, id := range ids {
		must(t, f.env.WaitForState(t.Context(), limit, f.servers, id, state))
	}
}

// eventually waits until something is as it should be.
func eventually(t *testing.T, what string, is func() (bool, string)) {
	t.Helper()
	must(t, harness.Wait(t.Context(), limit, what, func(context.Context) (bool, string) { return is() }))
}

// enroll gives a server its identity, as an operator and an administrator do. The one that the harness gave the server, which has
// no Windows, is revoked by that.
func (f *fleet) enroll(t *testing.T, s *harness.Server, m *machine) {
	t.Helper()
	command := exec.CommandContext(t.Context(), f.env.Programs.Plugin, "enroll", "--again", "--kubeconfig", f.env.Kubectl.Kubeconfig, "-n", f.pool.Namespace,
		"--host-name", s.HostName(), "-o", "json", f.pool.Name+"/"+s.Name)
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, &problems)
	}
	var enrolled []struct{ Token string }
	if err := json.Unmarshal(out, &enrolled); err != nil || len(enrolled) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	arguments := []string{agentExe, "enroll", "--token", enrolled[0].Token, "--server", s.Name}
	if out := m.want(t, 0, arguments...); !strings.HasPrefix(out, "Enrolled as ") {
		t.Errorf("enroll: %s", out)
	}
}

// install is what an administrator does: copy the program and the trust file, enrol, install.
func (f *fleet) install(t *testing.T) {
	f.each(t, func(t *testing.T, n int, m *machine) {
		s := f.servers[n]
		f.enroll(t, s, m)
		arguments := []string{agentExe, "service", "install", "--start", `--iis-root=C:\`}
		for _, argument := range s.Agent.Args {
			name, value, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
			switch name {
			case "trust-file":
				data, err := os.ReadFile(value)
				must(t, err)
				m.write(t, `C:\ProgramData\EMS\trust.yaml`, string(data))
			case "kubeconfig", "namespace", "pool", "server", "iis-root", "state-dir":
			default:
				arguments = append(arguments, argument)
			}
		}
		if out := m.want(t, 3, agentExe, "service", "status"); !strings.Contains(out, "is not installed") {
			t.Errorf("status before: %s", out)
		}
		out := m.want(t, 0, arguments...)
		if !strings.HasPrefix(out, "Installed service EMSAgent") || !strings.HasSuffix(out, "Service EMSAgent runs.\n") {
			t.Errorf("install: %s", out)
		}
		m.wantAgent(t, "Running")
		m.want(t, 0, agentExe, "service", "start") // runs already
		if out := m.want(t, 2, agentExe, "service", "install", `--trust-file=\\files\share\trust.yaml`); !strings.Contains(out, "network or device path") {
			t.Errorf("an install with a trust file on the network: %s", out)
		}
		m.want(t, 1, agentExe, "service", "run")
	})
}

func (f *fleet) applied(t *testing.T) {
	f.publish(t, harness.M1(), harness.ECP1())
	f.waitFor(t, emsv1.StateApplied, "M1", "ECP1")
	f.each(t, func(t *testing.T, _ int, m *machine) {
		m.wantRule(t, "EMS M1.1 PowerShell - inbound")
		m.wantPool(t, "Stopped")
		m.wantService(t, stoppedDisabled)
	})
}

// held changes a mitigation while another program has applicationHost.config open and shares it with nobody.
func (f *fleet) held(t *testing.T) {
	const release = `C:\tools\release`
	m, s := f.machines[0], f.servers[0]
	m.order(t, order{Args: []string{"/usr/lib/wine/wine64", helperExe, "hold", configFile, release}, Detached: true})
	eventually(t, "the file to be held", func() (bool, string) {
		_, err := os.Stat(m.path(t, release+".held"))
		return err == nil, fmt.Sprint(err)
	})
	f.publish(t, revised(), harness.ECP1())
	eventually(t, "the server to report the held file", func() (bool, string) {
		reported, err := f.env.Reported(t.Context(), s)
		if err != nil {
			return false, err.Error()
		}
		all := fmt.Sprintf("%+v %+v", reported.Status.Conditions, reported.Status.Mitigations)
		return strings.Contains(all, "ConfigurationBusy"), all
	})
	m.write(t, release, "")
	f.waitForRevision(t, "M1", 2)
	f.each(t, func(t *testing.T, _ int, m *machine) { m.wantRule(t, "EMS M1.1 PowerShell - inbound, again") })
}

func (f *fleet) waitForRevision(t *testing.T, id string, revision int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("revision %d of %s everywhere", revision, id), func() (bool, string) {
		for _, s := range f.servers {
			reported, err := f.env.Reported(t.Context(), s)
			if err != nil {
				return false, err.Error()
			}
			if m := harness.StateOf(reported, id); m.State != emsv1.StateApplied || m.Revision != revision {
				return false, fmt.Sprintf("%s: %+v", s.Name, m)
			}
		}
		return true, ""
	})
}

var rules = regexp.MustCompile(`(?s)<rule name="EMS .*?</rule>\s*`)

// deleteRules takes the rules out of the configuration, as somebody would who is in the dark.
func (m *machine) deleteRules(t *testing.T) {
	t.Helper()
	before := m.read(t, configFile)
	after := rules.ReplaceAllString(before, "")
	if before == after {
		t.Fatalf("%s: there is no rule to delete", m.name)
	}
	m.write(t, configFile, after)
}

// killed ends the agent as a crash does. Its service is seen as stopped, and the next start repairs what happened meanwhile.
func (f *fleet) killed(t *testing.T) {
	f.each(t, func(t *testing.T, _ int, m *machine) {
		m.want(t, 0, "taskkill", "/f", "/im", "ems-agent.exe")
		eventually(t, "the service to be seen as stopped", func() (bool, string) {
			r := m.run(t, agentExe, "service", "status")
			return r.Code == 3 && strings.Contains(r.Output, "Stopped"), r.Output
		})
		m.deleteRules(t)
		m.want(t, 0, agentExe, "service", "start")
		m.wantRule(t, "EMS M1.1 PowerShell - inbound, again")
		// The event follows the change; what ends the agent in between, as the next part would, costs it.
		eventually(t, "the repair to be told", func() (bool, string) {
			log := m.log(t)
			return strings.Contains(log, ";S:EventId=1012;"), log
		})
	})
}

// rebooted takes the power from all servers at once. Two of them come back into a network that is cut.
func (f *fleet) rebooted(t *testing.T) {
	f.each(t, func(t *testing.T, n int, m *machine) {
		m.off(t)
		m.deleteRules(t)
		m.network.set(n%2 == 1)
		m.boot(t)
		m.wantRule(t, "EMS M1.1 PowerShell - inbound, again")
		m.wantAgent(t, "Running")
		m.wantService(t, stoppedDisabled)
		m.network.set(false)
	})
	f.waitForRevision(t, "M1", 2)
}

func (f *fleet) blocked(t *testing.T) {
	f.configure(t, `{"blocked":[{"id":"M1","reason":"A test"},{"id":"ECP1","reason":"A test"}]}`)
	f.waitFor(t, emsv1.StateRemoved, "M1", "ECP1")
	f.each(t, func(t *testing.T, n int, m *machine) {
		if diff := cmp.Diff(f.original[n], m.read(t, configFile)); diff != "" {
			t.Errorf("applicationHost.config (-before +after):\n%s", diff)
		}
		m.wantPool(t, "Started")
		m.wantService(t, runningAutomatic)
	})
	f.configure(t, `{"blocked":null}`)
	f.waitFor(t, emsv1.StateApplied, "M1", "ECP1")
}

func (f *fleet) configure(t *testing.T, patch string) {
	t.Helper()
	_, err := f.env.Kubectl.Run(t.Context(), "patch", "poolmitigationconfig", f.pool.Name, "-n", f.pool.Namespace, "--type=merge", "-p", `{"spec":`+patch+`}`)
	must(t, err)
}

func (f *fleet) uninstall(t *testing.T) {
	f.each(t, func(t *testing.T, _ int, m *machine) {
		m.want(t, 0, agentExe, "service", "stop")
		m.wantAgent(t, "Stopped")
		in := m.read(t, configFile)
		if out := m.want(t, 0, agentExe, "service", "uninstall"); !strings.HasPrefix(out, "Removed service EMSAgent") {
			t.Errorf("uninstall: %s", out)
		}
		if out := m.want(t, 3, agentExe, "service", "status"); !strings.Contains(out, "is not installed") {
			t.Errorf("status after: %s", out)
		}
		if diff := cmp.Diff(in, m.read(t, configFile)); diff != "" || !strings.Contains(in, "EMS M1.1") {
			t.Errorf("the removal changed the server (-before +after):\n%s", diff)
		}
		m.wantEvents(t)
	})
}

// wantEvents looks for what happened in the text log, which has every event: those of Wine are lost.
func (m *machine) wantEvents(t *testing.T) {
	t.Helper()
	log := m.log(t)
	counts := map[string]int{}
	for _, found := range regexp.MustCompile(`;S:EventId=(\d+)`).FindAllStringSubmatch(log, -1) {
		counts[found[1]]++
	}
	for id, least := range map[string]int{
		"1000": 3 /* starts */, "1001": 1 /* the stop */, "1005": 4 /* twice two */, "1006": 1, "1007": 2, "1009": 2, "1012": 2, "1020": 2,
	} {
		if counts[id] < least {
			t.Errorf("event %s stands in the log %d times, want at least %d; all: %v", id, counts[id], least, counts)
		}
	}
	if counts["1002"] > 0 {
		t.Errorf("the service failed: %v", counts)
	}
}

func (m *machine) log(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	names, err := filepath.Glob(filepath.Join(m.path(t, `C:\ProgramData\EMS\logs`), "*.log"))
	must(t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(t, err)
		all.Write(data)
	}
	return all.String()
}

func (m *machine) wantRule(t *testing.T, rule string) {
	t.Helper()
	eventually(t, "the rule to be in place", func() (bool, string) {
		n := strings.Count(m.read(t, configFile), `<rule name="`+rule+`"`)
		return n == 1, fmt.Sprintf("%q stands there %d times", rule, n)
	})
}

// wantPool looks at the application pool as appcmd.exe has it.
func (m *machine) wantPool(t *testing.T, state string) {
	t.Helper()
	var server struct {
		Pools []struct{ Name, State string }
	}
	eventually(t, "the pool to be "+state, func() (bool, string) {
		// appcmd.exe may be writing it.
		if err := json.Unmarshal([]byte(m.read(t, poolsFile)), &server); err != nil || len(server.Pools) != 1 {
			return false, fmt.Sprint(err)
		}
		return server.Pools[0].State == state, server.Pools[0].State
	})
}

// Services as winsvc.h counts: SERVICE_RUNNING and SERVICE_AUTO_START, SERVICE_STOPPED and SERVICE_DISABLED.
const (
	runningAutomatic = "state 4 start 2\n"
	stoppedDisabled  = "state 1 start 4\n"
)

// wantService looks at the service that is switched off with another program than the agent.
func (m *machine) wantService(t *testing.T, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("service %s to be %q", disabled, want), func() (bool, string) {
		out := m.run(t, helperExe, "query", disabled).Output
		return out == want, out
	})
}

func (m *machine) wantAgent(t *testing.T, state string) {
	t.Helper()
	eventually(t, "the agent to be "+state, func() (bool, string) {
		out := m.run(t, agentExe, "service", "status").Output
		return regexp.MustCompile(`State: +` + state).MatchString(out), out
	})
}
