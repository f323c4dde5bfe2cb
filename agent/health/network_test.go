package health

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/control"
)

const mailHost = "mail.contoso.example"

// authority is a certification authority of our own, and a certificate of it for mailHost.
func authority(t *testing.T) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	issue := func(serial int64, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "Contoso"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if parent == nil {
			parent, parentKey = template, key
			template.KeyUsage = x509.KeyUsageCertSign
		} else {
			template.DNSNames = []string{mailHost}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	ca, caKey := issue(1, nil, nil)
	leaf, key := issue(2, ca, caKey)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return roots, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

// quiet is a server whose complaints about what tests do to it nobody reads.
func quiet(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// try makes one check of a checker.
func try(t *testing.T, c *Checker, check HTTPCheck) Result {
	t.Helper()
	check.Name = "it"
	results, err := c.Look(t.Context(), Checks{HTTP: []HTTPCheck{check}}, SwitchedOff{})
	if err != nil || len(results) != 1 || results[0].Name != `http "it"` || len(results[0].Detail) > MaxDetail {
		t.Fatalf("results %+v, error %v", results, err)
	}
	return results[0]
}

func wantResult(t *testing.T, got Result, ok bool, detail string) {
	t.Helper()
	if got.OK != ok || got.Unknown || !strings.Contains(got.Detail, detail) {
		t.Errorf("result %+v, want OK %v and %q", got, ok, detail)
	}
}

func TestAnswers(t *testing.T) {
	// Neither is asked for anything.
	var elsewhere atomic.Int32
	other := quiet(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	other.Start()
	t.Setenv("HTTP_PROXY", other.URL)
	t.Setenv("http_proxy", other.URL)

	server := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(w, "all is 200 OK here")
		case "/moved":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("x", maxHeaders+1))
		case "/early", "/late":
			room := MaxBody - len("needle")
			if r.URL.Path == "/late" {
				room++
			}
			_, _ = io.WriteString(w, strings.Repeat(" ", room)+"needle")
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "the beginning")
		case "/raw/a%2Fb":
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server.Start()
	port := portOf(t, server.URL)
	for name, tc := range map[string]struct {
		check  HTTPCheck
		ok     bool
		detail string
	}{
		"200 is good by itself":                  {HTTPCheck{Path: "/ok?a=b"}, true, "answered 200"},
		"another is not":                         {HTTPCheck{Path: "/gone"}, false, "answered 503, expected 200"},
		"those that are named are":               {HTTPCheck{Path: "/gone", Statuses: []int{401, 503}}, true, "answered 503"},
		"and no others":                          {HTTPCheck{Path: "/ok", Statuses: []int{401, 503}}, false, "answered 200, expected 401 or 503"},
		"the text is there":                      {HTTPCheck{Path: "/ok", Body: "200 OK"}, true, "with the text"},
		"the text is not there":                  {HTTPCheck{Path: "/ok", Body: "healthy"}, false, `without the text "healthy" in its first 18 bytes`},
		"the text is at the end of what is read": {HTTPCheck{Path: "/early", Body: "needle"}, true, ""},
		"the text ends behind it":                {HTTPCheck{Path: "/late", Body: "needle"}, false, "in its first 65536 bytes"},
		"an answer without end":                  {HTTPCheck{Path: "/endless", Body: "needle"}, false, "in its first 65536 bytes"},
		"an answer that breaks off":              {HTTPCheck{Path: "/broken", Body: "end"}, false, "broke off"},
		"an answer that breaks off behind it":    {HTTPCheck{Path: "/broken", Body: "beginning"}, true, ""},
		"a redirect is an answer":                {HTTPCheck{Path: "/moved", Statuses: []int{302}}, true, "answered 302"},
		"a redirect is not followed":             {HTTPCheck{Path: "/moved"}, false, "answered 302"},
		"headers have a limit":                   {HTTPCheck{Path: "/headers"}, false, "exceeded"},
		"a path goes over the wire as it stands": {HTTPCheck{Path: "/raw/a%2Fb"}, false, "answered 503"},
		"a path that is none":                    {HTTPCheck{Path: "ok"}, false, "does not begin with a slash"},
		"a path with an escape that is none":     {HTTPCheck{Path: "/%zz"}, false, "invalid URL escape"},
		"a path that looks like a server":        {HTTPCheck{Path: "//192.0.2.1/"}, false, "answered 503"},
		"a scheme that is none":                  {HTTPCheck{Path: "/", Scheme: "ftp"}, false, "neither http nor https"},
		"a host that is none":                    {HTTPCheck{Path: "/", Host: "a b"}, false, "cannot be asked for"},
		"HTTPS where HTTP is spoken":             {HTTPCheck{Path: "/ok", Scheme: "https"}, false, "TLS handshake"},
		"a port that is none is never asked for": {HTTPCheck{Path: "/ok", Port: 70000}, false, "no port 70000"},
		"a negative port is never asked for":     {HTTPCheck{Path: "/ok", Port: -1}, false, "no port -1"},
		"a name is not looked up":                {HTTPCheck{Path: "/ok", Host: "nowhere.invalid"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.check.Scheme == "" {
				tc.check.Scheme = "http"
			}
			if tc.check.Port == 0 {
				tc.check.Port = port
			}
			wantResult(t, try(t, New(Options{}), tc.check), tc.ok, tc.detail)
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went to the proxy or along the redirect", n)
	}
}

func TestWhatIsSent(t *testing.T) {
	got := make(chan *http.Request, 1)
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) { got <- r })
	server.Start()
	port := portOf(t, server.URL)
	for host, want := range map[string]string{"": "localhost:", mailHost: mailHost + ":"} {
		wantResult(t, try(t, New(Options{}), HTTPCheck{Scheme: "http", Port: port, Host: host, Path: "/a%2Fb;c?d=%20e"}), true, "")
		r := <-got
		if want += strconv.Itoa(port); r.Host != want || r.RequestURI != "/a%2Fb;c?d=%20e" || r.Method != http.MethodGet {
			t.Errorf("%s %s to host %s, want %s", r.Method, r.RequestURI, r.Host, want)
		}
		if diff := cmp.Diff(http.Header{"User-Agent": {UserAgent}, "Connection": {"close"}}, r.Header); diff != "" {
			t.Error(diff)
		}
	}
	for scheme, want := range map[string]string{"http": "http://" + mailHost + "/", "https": "https://" + mailHost + "/", "": "https://" + mailHost + "/"} {
		request, addresses, err := prepare(t.Context(), HTTPCheck{Scheme: scheme, Host: mailHost, Path: "/"}, nil)
		if err != nil || request.URL.String() != want || len(addresses) != 2 {
			t.Errorf("scheme %q: %v at %v, error %v", scheme, request.URL, addresses, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	roots, certificate := authority(t)
	var name atomic.Value
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) { name.Store(r.TLS.ServerName) })
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}} //nolint:gosec // what a test server takes
	server.StartTLS()
	port := portOf(t, server.URL)
	for text, tc := range map[string]struct {
		roots    *x509.CertPool
		host     string
		ok       bool
		detail   string
		wantName string
	}{
		"the name and a trusted chain":        {roots, mailHost, true, "answered 200", mailHost},
		"another name":                        {roots, "owa.contoso.example", false, "not owa.contoso.example", ""},
		"a chain that the machine trusts not": {x509.NewCertPool(), mailHost, false, "unknown authority", ""},
		"no name, and nothing is looked at":   {x509.NewCertPool(), "", true, "answered 200", "localhost"},
	} {
		t.Run(text, func(t *testing.T) {
			name.Store("")
			wantResult(t, try(t, New(Options{Roots: tc.roots}), HTTPCheck{Port: port, Host: tc.host, Path: "/"}), tc.ok, tc.detail)
			if got := name.Load(); got != tc.wantName {
				t.Errorf("server name %q, want %q", got, tc.wantName)
			}
		})
	}
}

// listen makes a listener whose connections are handled one by one.
func listen(t *testing.T, address string, handle func(net.Conn)) int {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Skip("no such address here: ", err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		// A connection that nobody holds would be closed by the garbage collector.
		var held []net.Conn
		for {
			connection, err := l.Accept()
			if err != nil {
				for _, c := range held {
					_ = c.Close()
				}
				return
			}
			held = append(held, connection)
			handle(connection)
		}
	}()
	return portOf(t, l.Addr().String())
}

// closed gives a port that nobody listens to.
func closed(t *testing.T) int {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func TestServersThatDoNotAnswer(t *testing.T) {
	drip := func(c net.Conn) {
		// An answer before the question is none for the client.
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
	}
	hangUp := func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_ = c.Close()
	}
	for name, tc := range map[string]struct {
		handle func(net.Conn)
		scheme string
		detail string
	}{
		"one that hangs":                 {func(net.Conn) {}, "http", "no answer in time"},
		"one that hangs before TLS":      {func(net.Conn) {}, "https", "no answer in time"},
		"one that does not go on":        {drip, "http", "answered 200 and broke off: no answer in time"},
		"one that hangs up":              {hangUp, "http", "closed the connection without an answer"},
		"one that speaks something else": {func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.contoso.example ESMTP\r\n"); _ = c.Close() }, "http", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Options{})
			c.checkTimeout = 100 * time.Millisecond
			port := listen(t, "127.0.0.1:0", tc.handle)
			wantResult(t, try(t, c, HTTPCheck{Scheme: tc.scheme, Port: port, Path: "/", Body: "y"}), false, tc.detail)
		})
	}
	wantResult(t, try(t, New(Options{}), HTTPCheck{Scheme: "http", Port: closed(t), Path: "/"}), false, "refused")
}

func TestPorts(t *testing.T) {
	open := listen(t, "127.0.0.1:0", func(c net.Conn) { _ = c.Close() })
	shut := closed(t)
	results, err := New(Options{}).Look(t.Context(), Checks{TCPPorts: []int{open, shut, open, 0, 65536}}, SwitchedOff{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, fmt.Sprint(r.Name, r.OK))
	}
	want := []string{fmt.Sprintf("TCP port %dtrue", open), fmt.Sprintf("TCP port %dfalse", shut), "TCP port 0false", "TCP port 65536false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIPv6(t *testing.T) {
	server := quiet(t, func(http.ResponseWriter, *http.Request) {})
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	wantResult(t, try(t, New(Options{}), HTTPCheck{Scheme: "http", Port: portOf(t, server.URL), Path: "/"}), true, "")
}

func TestABindingOfOneAddressIsAskedThere(t *testing.T) {
	server := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		if host, _, _ := net.SplitHostPort(r.Host); host != mailHost {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address here: ", err)
	}
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	port := portOf(t, server.URL)
	check := HTTPCheck{Name: "it", Scheme: "http", Port: port, Host: mailHost, Path: "/"}
	wantResult(t, try(t, New(Options{}), check), false, "refused")
	lister := &fakeLister{sites: []control.Site{{Name: "Mail", State: control.SiteStarted, Bindings: []control.Binding{{Protocol: "http", Information: fmt.Sprintf("127.0.0.2:%d:", port)}}}}}
	c := New(Options{Lister: lister})
	for range 2 { // the second time by what is known from the first
		results, err := c.Look(t.Context(), Checks{HTTP: []HTTPCheck{check}}, SwitchedOff{})
		if err != nil {
			t.Fatal(err)
		}
		wantResult(t, results[0], true, "")
		lister.err = io.ErrUnexpectedEOF
	}
	// What answers on another address is another server.
	other := listen(t, "127.0.0.1:0", func(c net.Conn) { _ = c.Close() })
	lister.err, lister.sites[0].Bindings[0].Information = nil, fmt.Sprintf("127.0.0.2:%d:", other)
	results, err := c.Look(t.Context(), Checks{TCPPorts: []int{other}}, SwitchedOff{})
	if err != nil {
		t.Fatal(err)
	}
	wantResult(t, results[0], false, "refused")
}

func TestAddresses(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")}
	sites := func(bindings ...string) []control.Site {
		var s control.Site
		for _, b := range bindings {
			protocol, information, _ := strings.Cut(b, " ")
			s.Bindings = append(s.Bindings, control.Binding{Protocol: protocol, Information: information})
		}
		return []control.Site{s}
	}
	var many []string
	for i := range maxAddresses + 1 {
		many = append(many, fmt.Sprintf("https 127.0.1.%d:443:", i), fmt.Sprintf("https 127.0.1.%d:443:", i))
	}
	for name, tc := range map[string]struct {
		sites []control.Site
		want  string
	}{
		"no bindings":                       {nil, "127.0.0.1 [::1]"},
		"every address":                     {sites("https *:443:"), "127.0.0.1 [::1]"},
		"every address, as a number":        {sites("https 0.0.0.0:443:"), "127.0.0.1 [::1]"},
		"one address":                       {sites("https 10.0.0.5:443:"), "10.0.0.5"},
		"one address of version 6":          {sites("https [fd00::5]:443:"), "[fd00::5]"},
		"a loopback address":                {sites("https 127.0.0.2:443:"), "127.0.0.2"},
		"the host name first":               {sites("https *:443:", "https 10.0.0.5:443:MAIL.contoso.example"), "10.0.0.5 127.0.0.1 [::1]"},
		"every address for the name first":  {sites("https 10.0.0.5:443:", "https *:443:mail.contoso.example"), "127.0.0.1 [::1] 10.0.0.5"},
		"another name last":                 {sites("https 10.0.0.5:443:owa.contoso.example", "https *:443:"), "127.0.0.1 [::1] 10.0.0.5"},
		"another port":                      {sites("https 10.0.0.5:444:"), "127.0.0.1 [::1]"},
		"another protocol":                  {sites("http 10.0.0.5:443:"), "127.0.0.1 [::1]"},
		"an address of another server":      {sites("https 192.0.2.1:443:"), "127.0.0.1 [::1]"},
		"what is no web binding":            {sites("net.tcp 808:*", "net.pipe *", "https a:b:c", "https 999.0.0.1:443:", "https"), "127.0.0.1 [::1]"},
		"an address of version 4 as such":   {sites("https [::ffff:10.0.0.5]:443:"), "10.0.0.5"},
		"more addresses than anybody tries": {sites(many...), "127.0.1.0 127.0.1.1 127.0.1.2 127.0.1.3 127.0.1.4 127.0.1.5 127.0.1.6 127.0.1.7"},
	} {
		got := strings.ReplaceAll(strings.Join(addressesOf("https", 443, mailHost, tc.sites, own), " "), ":443", "")
		if got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	if got := addressesOf("", 25, "", sites("smtp 10.0.0.5:25:"), own); got[0] != "10.0.0.5:25" {
		t.Errorf("a port of any protocol: %v", got)
	}
}

// FuzzSplit looks for bindings that make an address of another server, or none at all.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"*:80:", "[::1]:443:a", "10.0.0.5:80:b", ":80:", "::", "", "[fe80::1%3]:80:", "0.0.0.0:1:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, information string) {
		b, ok := split(information)
		if !ok {
			return
		}
		sites := []control.Site{{Bindings: []control.Binding{{Protocol: "http", Information: information}}}}
		for _, text := range addressesOf("http", b.port&0xffff, b.name, sites, nil) {
			at, err := netip.ParseAddrPort(text)
			if err != nil || !at.Addr().IsLoopback() {
				t.Errorf("address %q", text)
			}
		}
	})
}

// FuzzPrepare looks for checks whose request goes elsewhere than to the path that is asked for.
func FuzzPrepare(f *testing.F) {
	for _, seed := range []string{"/", "/a?b#c", "//host/x", "/%2e%2e/", "/a b", "/\x00", "/@x", "/?", "/é"} {
		f.Add(seed, mailHost)
	}
	f.Add("/", "[::1]")
	f.Add("/", "a:b@c")
	f.Fuzz(func(t *testing.T, path, host string) {
		request, addresses, err := prepare(t.Context(), HTTPCheck{Scheme: "http", Path: path, Host: host}, nil)
		if err != nil {
			return
		}
		if len(addresses) != 2 || request.URL.User != nil {
			t.Errorf("%q at %q: %v, %v", path, host, request.URL, addresses)
		}
		want, _, _ := strings.Cut(path, "?")
		if decoded, err := url.PathUnescape(want); err == nil && request.URL.Path != decoded {
			t.Errorf("path %q became %q", path, request.URL.Path)
		}
	})
}
