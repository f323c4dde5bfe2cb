package drivers

import (
	"fmt"
	"path/filepath"
	"testing"
)

func TestAppCmdPath(t *testing.T) {
	root := filepath.FromSlash("/iis")
	usual := filepath.Join(root, "Windows", "System32", "inetsrv", "appcmd.exe")
	for name, tc := range map[string]struct{ goos, said, want string }{
		"on Windows it is in its usual place":     {"windows", "", usual},
		"elsewhere there is none":                 {"linux", "", ""},
		"a path is taken":                         {"linux", "/opt/appcmd", "/opt/appcmd"},
		"it can be done without, on Windows, too": {"windows", NoAppCmd, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := appCmdPath(tc.goos, root, tc.said); got != tc.want {
				t.Errorf("appCmdPath() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestForChoosesByTheSystem(t *testing.T) {
	for name, tc := range map[string]struct{ goos, said, wantPools, wantServices string }{
		"on Windows it is Windows":           {"windows", "", "*appcmd.Driver", "scm.Manager"},
		"elsewhere it is files":              {"linux", "", "*standin.Pools", "*standin.Services"},
		"a program elsewhere is a stand-in":  {"linux", "/opt/appcmd", "*appcmd.Driver", "*standin.Services"},
		"on Windows it can be files as well": {"windows", NoAppCmd, "*standin.Pools", "*standin.Services"},
	} {
		pools, services := For(tc.goos, t.TempDir(), tc.said)
		if got := fmt.Sprintf("%T %T", pools, services); got != tc.wantPools+" "+tc.wantServices {
			t.Errorf("%s: %s", name, got)
		}
		if got := fmt.Sprintf("%T", ListerFor(tc.goos, t.TempDir(), tc.said)); got != tc.wantPools {
			t.Errorf("%s: lists by %s", name, got)
		}
	}
}
