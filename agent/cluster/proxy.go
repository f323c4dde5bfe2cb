package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// NoProxy instead of the address of a proxy means none, whatever the environment says.
const NoProxy = "none"

// ProxyFunc chooses the proxy for a request, as rest.Config takes it.
type ProxyFunc = func(*http.Request) (*url.URL, error)

// ParseProxy reads the address of an HTTP proxy on the way to the API server. Empty gives nil, with which HTTPS_PROXY and
// NO_PROXY of the environment decide. User names and passwords are refused: the settings of a service can be read by every
// user of the machine.
func ParseProxy(text string) (ProxyFunc, error) {
	switch text {
	case "":
		return nil, nil
	case NoProxy:
		return func(*http.Request) (*url.URL, error) { return nil, nil }, nil //nolint:nilnil // what rest.Config takes for none
	}
	address, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not the address of a proxy") // the error would repeat what may be a password
	}
	switch {
	case address.User != nil:
		return nil, errors.New("a user name or password is not taken: every user of the server could read it")
	case address.Scheme != "http" && address.Scheme != "https" || address.Hostname() == "":
		return nil, fmt.Errorf("%q: want http://HOST:PORT or https://HOST:PORT", text)
	case address.Path != "" && address.Path != "/" || address.RawQuery != "" || address.Fragment != "":
		return nil, fmt.Errorf("%q: want nothing behind HOST:PORT", text)
	}
	return http.ProxyURL(address), nil
}
