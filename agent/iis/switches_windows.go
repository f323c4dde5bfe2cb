package iis

import (
	"errors"

	"golang.org/x/sys/windows/registry"

	"mitigation.dev/ems/agent/iis/effective"
)

// switchesKey is the key below HKEY_LOCAL_MACHINE with the switches of URL Rewrite; the module reads them when a worker
// process starts.
const switchesKey = `SOFTWARE\Microsoft\InetStp\Rewrite`

// readSwitches reads the registry. What is not there has its default.
func readSwitches() effective.Registry {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, switchesKey, registry.QUERY_VALUE)
	switch {
	case errors.Is(err, registry.ErrNotExist):
		return effective.Registry{}
	case err != nil:
		return effective.Registry{Inbound: effective.SwitchUnknown, Outbound: effective.SwitchUnknown}
	}
	defer func() { _ = key.Close() }()
	read := func(name string) effective.Switch {
		number, _, err := key.GetIntegerValue(name)
		switch {
		case errors.Is(err, registry.ErrNotExist):
			return effective.SwitchOn
		case err != nil:
			return effective.SwitchUnknown
		case number == 0:
			return effective.SwitchOff
		}
		return effective.SwitchOn
	}
	return effective.Registry{Inbound: read("InboundRewriteEnabled"), Outbound: read("OutboundRewriteEnabled")}
}
