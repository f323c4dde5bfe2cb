package windows_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mitigation.dev/ems/agent/iis/winpath"
)

// machine is a server with Windows.
type machine struct {
	name string
	// prefix is the folder that holds its disk.
	prefix string

	mu      sync.Mutex
	command *exec.Cmd
	stdin   *json.Encoder
	stdout  *json.Decoder
	network *network
}

// network is the way of a server to the API server.
type network struct {
	target string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func (n *network) dial() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, fmt.Errorf("the network is cut")
	}
	conn, err := net.Dial("tcp", n.target)
	if err == nil {
		n.conns[conn] = true
	}
	return conn, err
}

// set cuts the network with everything that is under way on it, or mends it.
func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut {
		for conn := range n.conns {
			_ = conn.Close()
		}
		clear(n.conns)
	}
}

// newMachine makes a server from a template; boot switches it on. api is where the API server listens, inside as outside.
func newMachine(t *testing.T, name, wine, sandbox, api string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{name: name, prefix: filepath.Join(dir, "prefix"), network: &network{target: api, conns: map[net.Conn]bool{}}}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--reflink=auto", filepath.Join(wine, "prefix"), m.prefix).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	socket := filepath.Join(dir, "api")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go relay(listener, m.network.dial)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.command = exec.Command(sandbox, filepath.Join(wine, "root"), m.prefix, self) // it ends with its input, in the cleanup
	m.command.Env = append(os.Environ(), "SANDBOX_NETWORK=none", "SANDBOX_SECONDS=900", "SANDBOX_BIND="+dir+" "+filepath.Dir(self),
		supervisorAddress+"="+api, supervisorSocket+"="+socket)
	m.command.Stderr = os.Stderr
	stdin, err := m.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := m.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = m.command.Wait()
	})
	m.stdin, m.stdout = json.NewEncoder(stdin), json.NewDecoder(stdout)
	return m
}

// boot starts Windows, and with it the services that start by themselves. With -p they stay when the last program has ended.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	if r := m.order(t, order{Args: []string{"/usr/lib/wine/wineserver64", "-p"}}); r.Code != 0 {
		t.Fatalf("%s: boot: exit code %d\n%s", m.name, r.Code, r.Output)
	}
	m.want(t, 0, "wineboot")
}

// off ends every process without a warning.
func (m *machine) off(t *testing.T) {
	t.Helper()
	m.order(t, order{Args: []string{"/usr/lib/wine/wineserver64", "-k"}})
	m.order(t, order{Args: []string{"/usr/lib/wine/wineserver64", "-w"}}) // until it is really gone
}

func (m *machine) order(t *testing.T, o order) result {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.Seconds == 0 {
		o.Seconds = 120
	}
	var r result
	if err := m.stdin.Encode(o); err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	if err := m.stdout.Decode(&r); err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	if r.Problem != "" {
		t.Fatalf("%s: %q: %s\n%s", m.name, o.Args, r.Problem, r.Output)
	}
	return r
}

// run runs a program of Windows.
func (m *machine) run(t *testing.T, args ...string) result {
	t.Helper()
	r := m.order(t, order{Args: append([]string{"/usr/lib/wine/wine64"}, args...)})
	r.Output = strings.ReplaceAll(r.Output, "\r", "")
	return r
}

// want runs a program of Windows that has to end with a code, and gives its output.
func (m *machine) want(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := m.run(t, args...)
	if r.Code != code {
		t.Fatalf("%s: %q: exit code %d, want %d\n%s", m.name, args, r.Code, code, r.Output)
	}
	return r.Output
}

// path is where a file of drive C lies outside. What is not there yet gets the name as it is given.
func (m *machine) path(t *testing.T, windows string) string {
	t.Helper()
	path := filepath.Join(m.prefix, "drive_c")
	for name := range strings.SplitSeq(strings.TrimPrefix(windows, `C:\`), `\`) {
		found, err := winpath.Find(path, name)
		if err != nil { // there is no such folder
			found = filepath.Join(path, name)
		}
		path = found
	}
	return path
}

// read reads a file of drive C. Wine replaces a file in two steps, between which there is none, so that it is tried again.
func (m *machine) read(t *testing.T, windows string) string {
	t.Helper()
	var data []byte
	eventually(t, windows+" of "+m.name+" to be there", func() (bool, string) {
		var err error
		data, err = os.ReadFile(m.path(t, windows))
		return err == nil, fmt.Sprint(err)
	})
	return string(data)
}

func (m *machine) write(t *testing.T, windows, content string) {
	t.Helper()
	path := m.path(t, windows)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyTree brings a folder onto drive C.
func (m *machine) copyTree(t *testing.T, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		m.write(t, `C:\`+strings.ReplaceAll(name, "/", `\`), string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
