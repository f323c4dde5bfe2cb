package steer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// api is an API server as far as one change of a pool goes.
type api struct {
	t *testing.T
	// lose is how many applies come too late.
	lose    int
	applied []map[string]any
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason, message string) {
		w.WriteHeader(code)
		err := json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
		if err != nil {
			a.t.Error(err)
		}
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/selfsubjectreviews"):
		status(http.StatusForbidden, "Forbidden", "not you")
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/poolmitigationconfigs/mail"):
		_, err := io.WriteString(w, `{"metadata":{"name":"mail","namespace":"frontends","resourceVersion":"7"},"spec":{"mode":"Enforce"}}`)
		if err != nil {
			a.t.Error(err)
		}
	case r.Method == http.MethodPatch:
		var document map[string]any
		if err := json.NewDecoder(r.Body).Decode(&document); err != nil {
			a.t.Error(err)
		}
		a.applied = append(a.applied, document)
		if r.URL.Query().Get("fieldManager") != "ems-plugin" || r.URL.Query().Has("force") || r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
			a.t.Errorf("request = %s, %s", r.URL, r.Header.Get("Content-Type"))
		}
		if len(a.applied) <= a.lose {
			status(http.StatusConflict, "Conflict", "the object has been modified")
			return
		}
		if err := json.NewEncoder(w).Encode(document); err != nil {
			a.t.Error(err)
		}
	default:
		status(http.StatusNotFound, "NotFound", "not found")
	}
}

func TestRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		lose, wantApplies int
		wantError         string
	}{
		"the first one wins":                {wantApplies: 1},
		"two others were faster":            {lose: 2, wantApplies: 3},
		"others are faster again and again": {lose: 100, wantApplies: 10, wantError: "pool frontends/mail: was changed 10 times by others meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{t: t, lose: tc.lose}
			server := httptest.NewServer(a)
			defer server.Close()
			kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
			content := `{"apiVersion":"v1","kind":"Config","current-context":"x","clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}],
"users":[{"name":"bob","user":{}}],"contexts":[{"name":"x","context":{"cluster":"c","user":"bob","namespace":"frontends"}}]}`
			if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("KUBECONFIG", kubeconfig)
			err := call(t, "block M1 --pool mail --reason x")
			if tc.wantError == "" && err != nil || tc.wantError != "" && (err == nil || !strings.Contains(err.Error(), tc.wantError)) {
				t.Errorf("error = %v, want %q", err, tc.wantError)
			}
			if len(a.applied) != tc.wantApplies {
				t.Fatalf("%d applies, want %d", len(a.applied), tc.wantApplies)
			}
			sent, err := json.Marshal(a.applied[0])
			if err != nil {
				t.Fatal(err)
			}
			// The cluster does not say who it is, so the kubeconfig does.
			const want = `{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"PoolMitigationConfig","metadata":{"name":"mail","namespace":"frontends","resourceVersion":"7"},` +
				`"spec":{"blocked":[{"id":"M1","owner":"bob","reason":"x"}]}}`
			if string(sent) != want {
				t.Errorf("applied %s, want %s", sent, want)
			}
		})
	}
}
