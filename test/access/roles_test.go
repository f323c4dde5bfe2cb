package access_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// rulesOf reads all roles of config/rbac, and fails on a binding to a role that is not ours.
func rulesOf(t *testing.T) map[string][]rbacv1.PolicyRule {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "config", "rbac", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no roles: %v", err)
	}
	optional, err := filepath.Glob(filepath.Join("..", "..", "config", "certificates", "component", "*role*.yaml"))
	if err != nil || len(optional) == 0 {
		t.Fatalf("no roles for client certificates: %v", err)
	}
	shards, err := filepath.Glob(filepath.Join("..", "..", "config", "shards", "component", "*role*.yaml"))
	if err != nil || len(shards) == 0 {
		t.Fatalf("no roles for several managers: %v", err)
	}
	files = append(append(files, optional...), shards...)
	rules := map[string][]rbacv1.PolicyRule{}
	bindings := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var object struct {
				Kind     string
				Metadata struct{ Name string }
				Rules    []rbacv1.PolicyRule
				RoleRef  rbacv1.RoleRef
			}
			if err := yaml.Unmarshal(document, &object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			switch object.Kind {
			case "ClusterRole", "Role":
				rules[object.Kind+" "+object.Metadata.Name] = object.Rules
			case "ClusterRoleBinding", "RoleBinding":
				bindings[object.Metadata.Name] = object.RoleRef.Kind + " " + object.RoleRef.Name
			}
		}
	}
	for binding, role := range bindings {
		if len(rules[role]) == 0 {
			t.Errorf("binding %s refers to %s, which is not a role of ours", binding, role)
		}
	}
	return rules
}

func TestNoRoleHasWildcards(t *testing.T) {
	rules := rulesOf(t)
	if len(rules) < 8 {
		t.Fatalf("only %d roles were found", len(rules))
	}
	for role, list := range rules {
		for _, rule := range list {
			for _, values := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs, rule.ResourceNames} {
				if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "*") }) {
					t.Errorf("%s has a wildcard: %+v", role, rule)
				}
			}
			for _, verb := range []string{"list", "watch", "deletecollection"} {
				if slices.Contains(rule.Resources, "secrets") && slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s may %s secrets", role, verb)
				}
			}
			for _, verb := range []string{"escalate", "impersonate"} {
				if slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s may %s", role, verb)
				}
			}
			if slices.Contains(rule.Verbs, "bind") && len(rule.ResourceNames) == 0 {
				t.Errorf("%s may bind every role", role)
			}
		}
	}
}

// Secrets and tokens are for agents and those who enrol them, bound in the namespace of a pool.
func TestSecretsAndTokensAreForEnrolment(t *testing.T) {
	for role, list := range rulesOf(t) {
		for _, rule := range list {
			if role != "ClusterRole ems-enroller" && role != "ClusterRole ems-agent" &&
				(slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "serviceaccounts/token")) {
				t.Errorf("%s: %+v", role, rule)
			}
			if role == "ClusterRole ems-agent" && slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"delete"}) {
				t.Errorf("an agent does more with secrets than delete its own: %+v", rule)
			}
		}
	}
}
