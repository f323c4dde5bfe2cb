package appcmd

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/control"
)

func TestTheProgramListsSitesAndPools(t *testing.T) {
	m := newMachine(t, map[string]any{"breaks": 1, "sites": []map[string]any{
		{"name": "Default Web Site", "id": 1, "state": "Started", "bindings": "http/*:80:,https/*:443:mail.contoso.example,net.tcp/808:*,http/[::1]:80:"},
		{"name": "R&D", "id": 7, "state": "Stopped", "bindings": ""},
	}})
	sites, err := m.driver.Sites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []control.Site{
		{Name: "Default Web Site", ID: "1", State: control.SiteStarted, Bindings: []control.Binding{
			{Protocol: "http", Information: "*:80:"}, {Protocol: "https", Information: "*:443:mail.contoso.example"},
			{Protocol: "net.tcp", Information: "808:*"}, {Protocol: "http", Information: "[::1]:80:"},
		}},
		{Name: "R&D", ID: "7", State: control.SiteStopped},
	}
	if diff := cmp.Diff(want, sites); diff != "" {
		t.Error(diff)
	}
	pools, err := m.driver.Pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]control.Pool{{Name: "R D's pool", State: control.PoolStarted}, {Name: "Idle", State: control.PoolStopped}}, pools); diff != "" {
		t.Error(diff)
	}
	// The first one broke off.
	const list = "list|site|/xml"
	if diff := cmp.Diff([]string{list, list, "list|apppool|/xml"}, m.calls()); diff != "" {
		t.Error(diff)
	}
}

func TestListsThatAreNone(t *testing.T) {
	tests := map[string]struct {
		output  string
		code    int
		want    int
		wantErr error
		wantIn  string
	}{
		"a server without sites":    {code: 1},
		"an empty list":             {output: "<appcmd></appcmd>"},
		"a state that is not known": {output: `<appcmd><SITE SITE.NAME="a" SITE.ID="1" bindings="x,/,http/" state="Dozing" /></appcmd>`, want: 1},
		"a service that is down":    {code: 50, wantErr: control.ErrPoolsUnavailable},
		"no XML":                    {output: "SITE", wantIn: "output"},
		"a list of something else":  {output: `<appcmd><APPPOOL APPPOOL.NAME="a" /></appcmd>`, wantIn: "APPPOOL"},
		"too long a list":           {output: "<appcmd>" + strings.Repeat("<SITE/>", maxListed+1) + "</appcmd>", wantIn: "limit"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := &Driver{run: func(context.Context, string, []string) ([]byte, int, error) { return []byte(tc.output), tc.code, nil }}
			sites, err := d.Sites(t.Context())
			wantErr := tc.wantErr != nil || tc.wantIn != ""
			if (err != nil) != wantErr || tc.wantErr != nil && !errors.Is(err, tc.wantErr) || err != nil && !strings.Contains(err.Error(), tc.wantIn) {
				t.Fatalf("error %v", err)
			}
			if len(sites) != tc.want || len(sites) > 0 && sites[0].State != control.SiteUnknown {
				t.Errorf("sites %+v", sites)
			}
		})
	}
}
