package standin

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/test/iistree"
)

const owaPool = "MSExchangeOWAAppPool"

func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := iistree.Write(root, iistree.Options{}); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestPoolsRefuseTheImpossible(t *testing.T) {
	root := tree(t)
	p := NewPools(root, nil)
	ctx := t.Context()
	if _, err := p.State(ctx, "Nope"); !errors.Is(err, control.ErrPoolNotFound) {
		t.Errorf("state of an unknown pool: %v", err)
	}
	if err := p.Stop(ctx, "Nope"); !errors.Is(err, control.ErrPoolNotFound) {
		t.Errorf("stop of an unknown pool: %v", err)
	}
	if err := p.Start(ctx, owaPool); !errors.Is(err, control.ErrPoolRunning) {
		t.Errorf("start of a started pool: %v", err)
	}
	if err := p.Stop(ctx, strings.ToUpper(owaPool)); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(ctx, owaPool); !errors.Is(err, control.ErrPoolNotRunning) {
		t.Errorf("stop of a stopped pool: %v", err)
	}
	if s, err := NewPools(root, nil).State(ctx, owaPool); err != nil || s != control.PoolStopped {
		t.Errorf("state %s, error %v", s, err)
	}
	if err := p.Reboot(); err != nil {
		t.Fatal(err)
	}
	if s, err := p.State(ctx, owaPool); err != nil || s != control.PoolStarted {
		t.Errorf("after a reboot: state %s, error %v", s, err)
	}
	path, err := p.StatePath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.State(ctx, owaPool); err == nil {
		t.Error("a damaged file of states was accepted")
	}
	if _, err := NewPools(t.TempDir(), nil).State(ctx, owaPool); err == nil {
		t.Error("a tree without IIS has pools")
	}
}

func services(t *testing.T) *Services {
	t.Helper()
	s := NewServices(tree(t), nil)
	err := s.Set([]ServiceEntry{
		{Name: "Directory", StartType: control.StartManual, State: control.ServiceStopped},
		{Name: "Mail", StartType: control.StartAutomatic, State: control.ServiceRunning, DependsOn: []string{"RPC"}},
		{Name: "Off", StartType: control.StartDisabled, State: control.ServiceStopped},
		{Name: "RPC", StartType: control.StartAutomatic, State: control.ServiceRunning},
		{Name: "Search", StartType: control.StartManual, State: control.ServiceStopped, DependsOn: []string{"directory"}},
		{Name: "Spam", StartType: control.StartDelayed, State: control.ServiceRunning, DependsOn: []string{"Off"}},
		{Name: "Circle", StartType: control.StartManual, State: control.ServiceStopped, DependsOn: []string{"Circle"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServicesRefuseTheImpossible(t *testing.T) {
	s := services(t)
	ctx := t.Context()
	for name, tc := range map[string]struct {
		got  error
		want error
	}{
		"start of an unknown service":                     {s.Start(ctx, "Nope"), control.ErrServiceNotFound},
		"stop of an unknown service":                      {s.Stop(ctx, "Nope"), control.ErrServiceNotFound},
		"start type of an unknown service":                {s.SetStartType(ctx, "Nope", control.StartManual), control.ErrServiceNotFound},
		"start of a running service":                      {s.Start(ctx, "mail"), control.ErrServiceRunning},
		"start of a disabled service":                     {s.Start(ctx, "Off"), control.ErrServiceDisabled},
		"stop of a stopped service":                       {s.Stop(ctx, "Off"), control.ErrServiceNotRunning},
		"stop of a service that a running one depends on": {s.Stop(ctx, "rpc"), control.ErrDependentsRunning},
	} {
		if !errors.Is(tc.got, tc.want) {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
	if err := s.SetStartType(ctx, "Mail", "Boot"); err == nil {
		t.Error("a start type that services do not have was accepted")
	}
	if err := s.Start(ctx, "Circle"); err == nil {
		t.Error("a service that depends on itself was started")
	}
	if _, err := NewServices(tree(t), nil).Query(ctx, "Mail"); !errors.Is(err, control.ErrServiceNotFound) {
		t.Errorf("a tree without services: %v", err)
	}
}

func want(t *testing.T, s *Services, name string, start control.StartType, state control.ServiceState) {
	t.Helper()
	got, err := s.Query(t.Context(), name)
	if err != nil || got.StartType != start || got.State != state {
		t.Errorf("service %s is %+v, error %v; want %s and %s", name, got, err, start, state)
	}
}

func TestServicesStartAndStop(t *testing.T) {
	s := services(t)
	ctx := t.Context()
	if err := s.Start(ctx, "Search"); err != nil {
		t.Fatal(err)
	}
	want(t, s, "Search", control.StartManual, control.ServiceRunning)
	want(t, s, "Directory", control.StartManual, control.ServiceRunning)
	if err := errors.Join(s.Stop(ctx, "Mail"), s.SetStartType(ctx, "Mail", control.StartDisabled), s.Stop(ctx, "RPC")); err != nil {
		t.Fatal(err)
	}
	want(t, s, "RPC", control.StartAutomatic, control.ServiceStopped)
	if err := s.Reboot(); err != nil {
		t.Fatal(err)
	}
	want(t, s, "RPC", control.StartAutomatic, control.ServiceRunning)
	want(t, s, "Mail", control.StartDisabled, control.ServiceStopped)
	want(t, s, "Search", control.StartManual, control.ServiceStopped)
	want(t, s, "Spam", control.StartDelayed, control.ServiceStopped)
}

func TestSitesAndPoolsAreListed(t *testing.T) {
	root := tree(t)
	p := NewPools(root, nil)
	ctx := t.Context()
	if err := errors.Join(p.Stop(ctx, owaPool), p.SetSite("EXCHANGE Back End", control.SiteStopped)); err != nil {
		t.Fatal(err)
	}
	pools, err := NewPools(root, nil).Pools(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, pool := range pools {
		if want := map[bool]control.PoolState{true: control.PoolStopped, false: control.PoolStarted}[pool.Name == owaPool]; pool.State != want {
			t.Errorf("pool %s is %s, want %s", pool.Name, pool.State, want)
		}
	}
	if len(pools) != len(iistree.DefaultPools()) {
		t.Errorf("%d pools", len(pools))
	}
	sites, err := NewPools(root, nil).Sites(ctx)
	if err != nil || len(sites) != 2 {
		t.Fatalf("sites %+v, error %v", sites, err)
	}
	if s := sites[0]; s.Name != "Default Web Site" || s.ID != "1" || s.State != control.SiteStarted || s.Bindings[0] != (control.Binding{Protocol: "http", Information: "*:80:"}) {
		t.Errorf("site %+v", s)
	}
	if s := sites[1]; s.State != control.SiteStopped {
		t.Errorf("site %+v", s)
	}
	path, err := p.SitesPath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sites(ctx); err == nil {
		t.Error("a damaged file of states was accepted")
	}
}
