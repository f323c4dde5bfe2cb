// Package drivers chooses what controls application pools and services on this machine.
//
// # Usage
//
//	pools, services := drivers.For(runtime.GOOS, root, appCmd)
//	lister := drivers.ListerFor(runtime.GOOS, root, appCmd)
package drivers

import (
	"path/filepath"

	"mitigation.dev/ems/agent/iis/appcmd"
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/scm"
	"mitigation.dev/ems/agent/iis/standin"
)

// NoAppCmd instead of a path of appcmd.exe keeps application pools and services in files below the root, for machines
// without IIS.
const NoAppCmd = "none"

// For gives the controllers of a system. An empty path of appcmd.exe means its usual place below the root on Windows, and
// NoAppCmd elsewhere. A machine with its own appcmd.exe that is no Windows has a stand-in for it, and no services of
// Windows either.
func For(goos, root, appCmd string) (control.PoolController, control.ServiceController) {
	path := appCmdPath(goos, root, appCmd)
	switch {
	case path == "":
		return standin.NewPools(root, nil), standin.NewServices(root, nil)
	case goos != "windows":
		return appcmd.New(path), standin.NewServices(root, nil)
	}
	return appcmd.New(path), scm.New()
}

// ListerFor gives what lists the sites and application pools of a system, by the same rules as For.
func ListerFor(goos, root, appCmd string) control.Lister {
	if path := appCmdPath(goos, root, appCmd); path != "" {
		return appcmd.New(path)
	}
	return standin.NewPools(root, nil)
}

// appCmdPath is the path of appcmd.exe, empty for none.
func appCmdPath(goos, root, appCmd string) string {
	switch {
	case appCmd == NoAppCmd || appCmd == "" && goos != "windows":
		return ""
	case appCmd == "":
		return filepath.Join(root, "Windows", "System32", "inetsrv", "appcmd.exe")
	}
	return appCmd
}
