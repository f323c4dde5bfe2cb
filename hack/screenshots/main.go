//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"mitigation.dev/ems/hack/screenshots/dashboard"
	"mitigation.dev/ems/test/chromium"
	"mitigation.dev/ems/test/harness"
)

// limit of everything.
const limit = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "screenshots: %v\n", err)
		os.Exit(1) //nolint:gocritic // run has stopped what it started
	}
}

func run(ctx context.Context) (err error) {
	logf.SetLogger(logr.Discard()) // The client would complain that there is none.
	path, ok := chromium.Find()
	if !ok {
		return errors.New("there is no Chromium: install one, or name it in $EMS_CHROMIUM")
	}
	prometheus, err := exec.LookPath(cmp.Or(os.Getenv("EMS_PROMETHEUS"), "prometheus"))
	if err != nil {
		return fmt.Errorf("there is no Prometheus: install one, or name it in $EMS_PROMETHEUS: %w", err)
	}
	root, err := harness.FindRoot()
	if err != nil {
		return err
	}
	var programs harness.Programs
	if err := programs.FindControlPlane(root); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ems-screenshots-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			_ = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w (logs: %s)", err, filepath.Join(dir, "logs"))
		}
	}()
	if err := programs.Build(ctx, root, filepath.Join(dir, "programs")); err != nil {
		return err
	}
	env, err := harness.New(harness.Options{Root: root, Dir: filepath.Join(dir, "fleet"), Programs: programs})
	if err != nil {
		return err
	}
	defer env.Stop()
	p := &photographer{env: env, root: root, images: filepath.Join(root, "docs", "images")}
	if err := p.start(ctx); err != nil {
		return err
	}
	if err := p.scrape(ctx, prometheus); err != nil {
		return err
	}
	defer p.prometheus.Stop()
	acting, enough := context.WithCancel(ctx)
	defer enough()
	s := &stage{env: env}
	acted, err := s.play(acting)
	if err != nil {
		return err
	}
	if p.browser, err = chromium.Start(ctx, path); err != nil {
		return err
	}
	defer p.browser.Stop()
	if err := p.takeAll(ctx); err != nil {
		return err
	}
	enough()
	return <-acted
}

// photographer takes the pictures.
type photographer struct {
	env     *harness.Environment
	browser *chromium.Browser
	// prometheus scrapes metrics since began.
	prometheus   *dashboard.Prometheus
	began        time.Time
	url, metrics string
	root, images string
}

// start starts API server and manager, which serves the page.
func (p *photographer) start(ctx context.Context) error {
	if err := p.env.StartControlPlane(ctx); err != nil {
		return err
	}
	if err := p.env.Install(ctx); err != nil {
		return err
	}
	page, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	if p.metrics, err = freeAddress(ctx); err != nil {
		return err
	}
	p.url = "https://" + page
	p.env.ManagerFlags = []string{"--page-bind-address=" + page, "--metrics-bind-address=" + p.metrics, "--leader-elect"}
	if err := p.env.StartManager(ctx); err != nil {
		return err
	}
	return os.MkdirAll(p.images, 0o755) //nolint:gosec // a folder of the repository
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// shot is a picture of a page.
type shot struct {
	name, path string
	options    chromium.Options
	all        bool
}

func (p *photographer) takeAll(ctx context.Context) error {
	token, err := p.token(ctx, "operations", "ems-page-viewer")
	if err != nil {
		return err
	}
	for _, s := range []shot{
		{"fleet-page", "/fleet", chromium.Options{Width: 1180, Height: 1400}, false},
		{"fleet-page-dark", "/fleet", chromium.Options{Width: 1180, Height: 1400, Dark: true}, false},
		{"fleet-page-narrow", "/fleet", chromium.Options{Width: 400, Height: 1100}, false},
		{"fleet-page-mitigation", "/fleet/mitigations/owa1", chromium.Options{Width: 1180, Height: 1150}, false},
	} {
		if err := p.take(ctx, s, token); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := p.takeTerminal(ctx); err != nil {
		return err
	}
	return p.takeDashboard(ctx)
}

// take signs in as a person does, and takes a picture.
func (p *photographer) take(ctx context.Context, s shot, token string) error {
	s.options.Still = true
	page, err := p.browser.Open(ctx, s.options)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return page.Go(ctx, p.url+s.path) },
		func() error { return page.Wait(ctx, "document.activeElement.id === 'token'") },
		func() error { return page.Type(ctx, token) },
		func() error { return page.Press(ctx, "Enter") },
		func() error {
			return page.Wait(ctx, "document.querySelector('#live button') && document.querySelector('h1')")
		},
		func() error { return p.save(ctx, page, s.name, s.all) },
		func() error { return page.Close(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (p *photographer) save(ctx context.Context, page *chromium.Page, name string, all bool) error {
	picture, err := page.Picture(ctx, all)
	if err != nil {
		return err
	}
	return save(filepath.Join(p.images, name+".png"), picture)
}

// token is that of a user who has a role, and no other rights.
func (p *photographer) token(ctx context.Context, name, role string) (string, error) {
	err := p.env.Apply(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ems-system"}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role + "s"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: "ems-system"}},
		})
	if err != nil {
		return "", err
	}
	text, err := p.env.Kubectl.Run(ctx, "create", "token", name, "--namespace", "ems-system")
	return strings.TrimSpace(text), err
}

// takeTerminal runs the plugin in a terminal of its own and takes a picture of what it writes.
func (p *photographer) takeTerminal(ctx context.Context) error {
	const command = "kubectl mitigation rollout status OWA1 -A"
	run := exec.CommandContext(ctx, "script", "-q", "-e", "-c",
		"stty cols 100 rows 60; exec "+p.env.Programs.Plugin+" rollout status OWA1 -A", "/dev/null")
	run.Env = append(os.Environ(), "KUBECONFIG="+p.env.Kubectl.Kubeconfig, "TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "NO_COLOR=")
	output, err := run.Output()
	var exit *exec.ExitError
	// 1 says that something is halted, 3 that something moves.
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 3) {
		return fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	html := terminal(command, strings.TrimRight(string(output), "\r\n")+"\n")
	return p.takeHTML(ctx, "rollout-status", html, chromium.Options{Width: 1000, Height: 300})
}

// takeHTML takes a picture of a page of ours.
func (p *photographer) takeHTML(ctx context.Context, name, html string, o chromium.Options) error {
	page, err := p.browser.Open(ctx, o)
	if err != nil {
		return err
	}
	if err := page.Go(ctx, "data:text/html;charset=utf-8;base64,"+base64.StdEncoding.EncodeToString([]byte(html))); err != nil {
		return err
	}
	return p.save(ctx, page, name, true)
}

// scrape starts Prometheus, which sees everything from the manager's first minute on.
func (p *photographer) scrape(ctx context.Context, program string) error {
	token, err := p.token(ctx, "prometheus", "ems-metrics-reader")
	if err != nil {
		return err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(p.env.Dir, "prometheus")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	p.began = time.Now()
	p.prometheus, err = dashboard.Scrape(ctx, dashboard.Options{Program: program, Dir: dir, Listen: address, Target: p.metrics, Token: token})
	return err
}

// takeDashboard draws the dashboard of what Prometheus has seen.
func (p *photographer) takeDashboard(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(p.root, "config", "grafana", "ems.json"))
	if err != nil {
		return err
	}
	board, err := dashboard.Read(data)
	if err != nil {
		return err
	}
	html, err := p.prometheus.Draw(ctx, board, p.began, time.Now())
	if err != nil {
		return err
	}
	if keep := os.Getenv("EMS_DEBUG_HTML"); keep != "" {
		_ = os.WriteFile(keep, []byte(html), 0o600)
	}
	return p.takeHTML(ctx, "dashboard", html, chromium.Options{Width: 1400, Height: 800})
}
