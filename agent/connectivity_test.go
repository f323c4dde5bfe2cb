package agent

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func TestTestConnection(t *testing.T) {
	const api = "/apis/ems.mitigation.dev/v1alpha1"
	const server, plan, bundle = api + "/namespaces/ns/poolservers/fe01", api + "/namespaces/ns/mitigationplans/web", api + "/mitigationbundles/contoso-1"
	answers := func(poolOf string) map[string]string {
		return map[string]string{
			server: `{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"PoolServer","metadata":{"name":"fe01","namespace":"ns"},"spec":{"poolName":"` + poolOf + `"}}`,
			plan: `{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"MitigationPlan","metadata":{"name":"web","namespace":"ns","generation":7},"spec":{"mitigations":[
				{"id":"M1","bundleName":"contoso-1"}]}}`,
			bundle: `{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"MitigationBundle","metadata":{"name":"contoso-1"},"spec":{"document":"PGE+"}}`,
		}
	}
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		pool    string
		refuse  map[string]int
		down    bool
		ca      []byte
		want    string
		wantErr string
	}{
		"all is well":               {want: "Identity TCP TLS PoolServer Plan Bundle"},
		"nothing listens":           {down: true, want: "Identity TCP", wantErr: "refused"},
		"another authority":         {ca: keys.Root.PEM(), want: "Identity TCP TLS", wantErr: "certificate"},
		"the token is refused":      {refuse: map[string]int{server: 401}, want: "Identity TCP TLS PoolServer", wantErr: "the token is refused"},
		"the server is not there":   {refuse: map[string]int{server: 404}, want: "Identity TCP TLS PoolServer", wantErr: "does not know the server"},
		"it is of another pool":     {pool: "mail", want: "Identity TCP TLS PoolServer", wantErr: `belongs to pool "mail"`},
		"there is no plan":          {refuse: map[string]int{plan: 404}, want: "Identity TCP TLS PoolServer Plan", wantErr: "has no plan"},
		"no right to read a bundle": {refuse: map[string]int{bundle: 403}, want: "Identity TCP TLS PoolServer Plan Bundle", wantErr: "ems-agent-bundles"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := "web"
			if tc.pool != "" {
				pool = tc.pool
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Header.Get("Authorization") != "Bearer secret" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if status, ok := tc.refuse[r.URL.Path]; ok {
					reason := map[int]string{401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}[status]
					w.WriteHeader(status)
					fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, status)
					return
				}
				fmt.Fprint(w, answers(pool)[r.URL.Path])
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			s.StartTLS()
			defer s.Close()
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			if tc.ca != nil {
				ca = tc.ca
			}
			if tc.down {
				s.Close()
			}
			file := filepath.Join(t.TempDir(), "kubeconfig")
			config := clientcmdapi.NewConfig()
			config.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: ca}
			config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "secret"}
			config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
			config.CurrentContext = "x"
			if err := clientcmd.WriteToFile(*config, file); err != nil {
				t.Fatal(err)
			}
			var steps []string
			var last error
			ok := TestConnection(t.Context(), Options{Kubeconfig: file, Proxy: "none", Namespace: "ns", Pool: "web", Server: "fe01"}, func(s Step) {
				if last != nil {
					t.Errorf("step %s comes after a failure", s.Name)
				}
				steps, last = append(steps, s.Name), s.Err
			})
			if got := strings.Join(steps, " "); got != tc.want || ok != (tc.wantErr == "") {
				t.Errorf("steps %q, went well %v, want %q; last error %v", got, ok, tc.want, last)
			}
			if tc.wantErr != "" && (last == nil || !strings.Contains(last.Error(), tc.wantErr)) {
				t.Errorf("error %v, want %q", last, tc.wantErr)
			}
		})
	}
}

func TestTestConnectionOfAServerThatIsNotEnrolled(t *testing.T) {
	var got []Step
	if TestConnection(t.Context(), Options{StateDir: t.TempDir()}, func(s Step) { got = append(got, s) }) || len(got) != 1 || !strings.Contains(got[0].Err.Error(), "not enrolled") {
		t.Errorf("steps %+v", got)
	}
}
