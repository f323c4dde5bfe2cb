package cluster

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestParseProxy(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "https://api.contoso.com:6443/", nil)
	for text, want := range map[string]string{
		"http://proxy.contoso.com:8080":  "http://proxy.contoso.com:8080",
		"https://proxy.contoso.com/":     "https://proxy.contoso.com/",
		"http://[2001:db8::1]:3128":      "http://[2001:db8::1]:3128",
		NoProxy:                          "",
		"proxy.contoso.com:8080":         "refused",
		"http://:8080":                   "refused",
		"socks5://proxy.contoso.com":     "refused",
		"http://user:secret@proxy:8080":  "refused",
		"http://user:sec%zzret@p:8080":   "refused",
		"http://proxy.contoso.com/x?y#z": "refused",
	} {
		choose, err := ParseProxy(text)
		if err != nil {
			if want != "refused" || strings.Contains(err.Error(), "sec") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		address, err := choose(request)
		got := ""
		if address != nil {
			got = address.String()
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if choose, err := ParseProxy(""); choose != nil || err != nil {
		t.Error("without a proxy the environment has to decide")
	}
}

// TestRequestsGoThroughTheProxy shows the CONNECT that a proxy gets.
func TestRequestsGoThroughTheProxy(t *testing.T) {
	asked := make(chan string, 8)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Method + " " + r.Host:
		default:
		}
		http.Error(w, "closed", http.StatusServiceUnavailable)
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	choose, err := ParseProxy("http://" + address.Host)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(&rest.Config{Host: "https://api.contoso.com:6443", Proxy: choose})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.contoso.com:6443/version", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("the proxy was not used")
	}
	if got := <-asked; got != "CONNECT api.contoso.com:6443" {
		t.Errorf("the proxy was asked %q", got)
	}
}
