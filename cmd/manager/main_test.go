package main

import (
	"flag"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/shard"
)

func TestFlagsOfAShard(t *testing.T) {
	for name, tc := range map[string]struct {
		args    []string
		want    shard.Name
		wantErr string
	}{
		"none is the main manager":       {args: nil},
		"one that stands by for others":  {args: []string{"--shard=europe", "--leader-elect"}, want: "europe"},
		"without a Lease nobody knows":   {args: []string{"--shard=europe"}, wantErr: "--leader-elect"},
		"a name that no Lease can have":  {args: []string{"--shard=Europe", "--leader-elect"}, wantErr: `"Europe"`},
		"certificates are the main's":    {args: []string{"--shard=europe", "--leader-elect", "--client-certificates"}, wantErr: "--client-certificates"},
		"telemetry is the main's":        {args: []string{"--shard=europe", "--leader-elect", "--telemetry-url=https://t.contoso.com"}, wantErr: "--telemetry-url"},
		"the main one may have them all": {args: []string{"--leader-elect", "--client-certificates", "--telemetry-url=https://t.contoso.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			flags := flag.NewFlagSet("manager", flag.ContinueOnError)
			o.bind(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			got, err := o.validate()
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want one about %s", err, tc.wantErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
