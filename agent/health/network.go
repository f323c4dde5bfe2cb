package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mitigation.dev/ems/agent/iis/control"
)

const (
	// MaxBody is how much of an answer is looked at for a text: pages that say how a server does are short.
	MaxBody = 64 << 10
	// maxHeaders bounds the headers of an answer, in bytes: four times what IIS sends at most.
	maxHeaders = 64 << 10
	// maxAddresses bounds the addresses that are tried until one accepts the connection.
	maxAddresses = 8
	// UserAgent is what requests call themselves, so that they are known again in the access log.
	UserAgent = "EMS-health-check"

	schemeHTTP, schemeHTTPS = "http", "https"
)

// http makes the request of a check and looks at the answer.
func (c *Checker) http(ctx context.Context, check HTTPCheck, sites []control.Site) Result {
	request, addresses, err := prepare(ctx, check, sites)
	if err != nil {
		return Result{Detail: "cannot be asked for: " + err.Error()}
	}
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, addresses) },
		TLSClientConfig:        c.tlsConfig(check.Host),
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaders,
	}
	defer transport.CloseIdleConnections()
	// A client would follow redirects and keep cookies.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Result{Detail: said(ctx, err)}
	}
	defer func() { _ = response.Body.Close() }()
	if !slices.Contains(expected(check), response.StatusCode) {
		return Result{Detail: fmt.Sprintf("answered %d, expected %s", response.StatusCode, numbers(expected(check)))}
	}
	if check.Body == "" {
		return Result{OK: true, Detail: fmt.Sprintf("answered %d", response.StatusCode)}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBody))
	switch {
	case strings.Contains(string(body), check.Body):
		return Result{OK: true, Detail: fmt.Sprintf("answered %d with the text", response.StatusCode)}
	case err != nil:
		return Result{Detail: fmt.Sprintf("answered %d and broke off: %s", response.StatusCode, said(ctx, err))}
	}
	return Result{Detail: fmt.Sprintf("answered %d without the text %.60q in its first %d bytes", response.StatusCode, check.Body, len(body))}
}

// prepare makes the request, and says which addresses it may go to.
func prepare(ctx context.Context, check HTTPCheck, sites []control.Site) (*http.Request, []string, error) {
	scheme, port := check.Scheme, check.Port
	if scheme == "" {
		scheme = schemeHTTPS
	}
	switch {
	case scheme != schemeHTTP && scheme != schemeHTTPS:
		return nil, nil, fmt.Errorf("scheme %q is neither http nor https", scheme)
	case port == 0 && scheme == schemeHTTP:
		port = 80
	case port == 0:
		port = 443
	case port < 0 || port > 65535:
		return nil, nil, fmt.Errorf("there is no port %d", port)
	}
	if !strings.HasPrefix(check.Path, "/") {
		return nil, nil, fmt.Errorf("path %q does not begin with a slash", check.Path)
	}
	target, err := url.ParseRequestURI(check.Path)
	if err != nil {
		return nil, nil, err
	}
	host := check.Host
	if host == "" {
		host = "localhost"
	}
	target.Scheme, target.Host = scheme, host
	if port != 80 && scheme == schemeHTTP || port != 443 && scheme == schemeHTTPS {
		target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("User-Agent", UserAgent)
	return request, addressesOf(scheme, port, host, sites, local()), nil
}

func (c *Checker) tlsConfig(host string) *tls.Config {
	// What old servers speak says nothing about how they do, and the connection does not leave the machine.
	config := &tls.Config{RootCAs: c.roots, ServerName: host, MinVersion: tls.VersionTLS10} //nolint:gosec // see above
	config.InsecureSkipVerify = host == ""                                                  //nolint:gosec // there is no name to judge by, see the package
	return config
}

func expected(check HTTPCheck) []int {
	if len(check.Statuses) == 0 {
		return []int{http.StatusOK}
	}
	return check.Statuses
}

func numbers(list []int) string {
	texts := make([]string, 0, len(list))
	for _, n := range list {
		texts = append(texts, strconv.Itoa(n))
	}
	return strings.Join(texts, " or ")
}

// tcp looks whether a port accepts connections.
func (c *Checker) tcp(ctx context.Context, port int, sites []control.Site) Result {
	if port < 1 || port > 65535 {
		return Result{Detail: "there is no such port"}
	}
	connection, err := dial(ctx, addressesOf("", port, "", sites, local()))
	if err != nil {
		return Result{Detail: said(ctx, err)}
	}
	_ = connection.Close()
	return Result{OK: true, Detail: "accepts connections"}
}

// dial connects to the first address that accepts.
func dial(ctx context.Context, addresses []string) (net.Conn, error) {
	var dialer net.Dialer
	var first error
	for _, address := range addresses {
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return connection, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// said gives an error without what differs from one look to the next.
func said(ctx context.Context, err error) string {
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "closed the connection without an answer"
	}
	// The port that the connection comes from is another one each time.
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return fmt.Sprintf("%s %v: %v", op.Op, op.Addr, op.Err)
	}
	return err.Error()
}

// local gives the addresses of the server's own interfaces.
func local() []netip.Addr {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the loopback addresses remain
	}
	var addresses []netip.Addr
	for _, i := range interfaces {
		if prefix, err := netip.ParsePrefix(i.String()); err == nil {
			addresses = append(addresses, prefix.Addr().WithZone("").Unmap())
		}
	}
	return addresses
}

// addressesOf gives the addresses to connect to, the best first: those of bindings for the host name, of bindings for any name,
// and of other bindings of the port. HTTP.sys answers for a binding of one address on that address only, and another server may
// answer on another one, so the loopback addresses are left for a port without bindings. An empty scheme takes bindings of any
// protocol.
func addressesOf(scheme string, port int, host string, sites []control.Site, own []netip.Addr) []string {
	var named, unnamed, others []netip.Addr
	for _, site := range sites {
		for _, binding := range site.Bindings {
			b, ok := split(binding.Information)
			switch {
			case !ok || b.port != port || scheme != "" && !strings.EqualFold(binding.Protocol, scheme):
			case b.name == "":
				unnamed = append(unnamed, b.reachable(own)...)
			case strings.EqualFold(b.name, host):
				named = append(named, b.reachable(own)...)
			default:
				others = append(others, b.reachable(own)...)
			}
		}
	}
	ordered := slices.Concat(named, unnamed, others)
	if len(ordered) == 0 {
		ordered = loopback()
	}
	var addresses []string
	for _, a := range ordered {
		text := netip.AddrPortFrom(a, uint16(port)).String() //nolint:gosec // callers have checked it
		if len(addresses) < maxAddresses && !slices.Contains(addresses, text) {
			addresses = append(addresses, text)
		}
	}
	return addresses
}

func loopback() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// webBinding is the information of a web binding.
type webBinding struct {
	// address is not valid if the binding is for every one.
	address netip.Addr
	port    int
	name    string
}

// reachable gives the addresses of a binding that are the server's own: it may have been copied from another server.
func (b webBinding) reachable(own []netip.Addr) []netip.Addr {
	switch {
	case !b.address.IsValid() || b.address.IsUnspecified():
		return loopback()
	case b.address.IsLoopback() || slices.Contains(own, b.address):
		return []netip.Addr{b.address}
	}
	return nil
}

// split takes the information of a web binding apart: address, port and host name.
func split(information string) (webBinding, bool) {
	last := strings.LastIndexByte(information, ':')
	if last < 0 {
		return webBinding{}, false
	}
	rest := information[:last]
	middle := strings.LastIndexByte(rest, ':')
	if middle < 0 {
		return webBinding{}, false
	}
	b := webBinding{name: information[last+1:]}
	var err error
	if b.port, err = strconv.Atoi(rest[middle+1:]); err != nil {
		return webBinding{}, false
	}
	address := strings.Trim(rest[:middle], "[]")
	if address == "*" || address == "" {
		return b, true
	}
	b.address, err = netip.ParseAddr(address)
	b.address = b.address.Unmap()
	return b, err == nil
}
