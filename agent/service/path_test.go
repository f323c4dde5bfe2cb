package service

import (
	"errors"
	"strings"
	"testing"
)

func TestPathsOfAService(t *testing.T) {
	for path, good := range map[string]bool{
		`C:\`:                                   true,
		`C:\ProgramData\EMS\state`:              true,
		`d:\Program Files\EMS\ems-agent.exe`:    true,
		`C:\EMS\`:                               true,
		`C:\Größen für Außenstellen\a.b`:        true,
		`C:\console\null`:                       true,
		``:                                      false,
		`C:`:                                    false,
		`C:state`:                               false,
		`state`:                                 false,
		`\state`:                                false,
		`/state`:                                false,
		`C:/EMS`:                                false,
		`C:\EMS/state`:                          false,
		`\\fileserver\share\state`:              false,
		`//fileserver/share`:                    false,
		`\\?\C:\EMS`:                            false,
		`\\.\pipe\ems`:                          false,
		`C:\EMS\..\Users`:                       false,
		`C:\EMS\.\state`:                        false,
		`C:\EMS\...\state`:                      false,
		`C:\EMS\\state`:                         false,
		`C:\EMS \state`:                         false,
		`C:\EMS.\state`:                         false,
		`C:\EMS\state:stream`:                   false,
		`C:\EMS\"quoted"`:                       false,
		`C:\EMS\a*`:                             false,
		"C:\\EMS\\a\nb":                         false,
		"C:\\EMS\\a\x00b":                       false,
		`C:\EMS\nul`:                            false,
		`C:\EMS\COM1.log`:                       false,
		`C:\EMS\Com²`:                           false,
		`C:\` + strings.Repeat("a", maxPath):    false,
		`C:\` + strings.Repeat("a", maxPath-3):  true,
		`GLOBALROOT\Device\HarddiskVolume1\EMS`: false,
	} {
		if err := CheckPath(path); (err == nil) != good || err != nil && !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v, want good %v", path, err, good)
		}
	}
}

func TestBelowIsNotAPrefix(t *testing.T) {
	for _, tc := range []struct {
		folder, path string
		want         bool
	}{
		{`C:\Program Files`, `C:\program files\EMS\ems-agent.exe`, true},
		{`C:\Program Files\`, `C:\Program Files\ems-agent.exe`, true},
		{`C:\Program Files`, `C:\Program Files-evil\ems-agent.exe`, false},
		{`C:\Program Files`, `C:\Program Files`, false},
		{`C:\Program Files`, `C:\Program Files\`, false},
		{`C:\`, `C:\EMS`, true},
		{``, `C:\EMS`, false},
	} {
		if got := Below(tc.folder, tc.path); got != tc.want {
			t.Errorf("%q below %q: %v", tc.path, tc.folder, got)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, seed := range []string{`C:\EMS`, `C:\EMS\..`, `\\?\C:\EMS`, `C:\a b\c.d\`, `C:\nul`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if CheckPath(path) != nil {
			return
		}
		if len(path) > maxPath || path[1] != ':' || strings.Contains(path, `..\`) || strings.HasSuffix(path, "..") || strings.Count(path, ":") != 1 {
			t.Errorf("%q was taken", path)
		}
	})
}
