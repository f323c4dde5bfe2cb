package identity

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

const (
	// SecretType is the type of the Secrets that tokens are bound to.
	SecretType = "ems.mitigation.dev/credential"
	// PoolLabel on everything that belongs to a server names its pool.
	PoolLabel = "ems.mitigation.dev/pool"
	// ServerLabel on the objects of a server's identity names the server.
	ServerLabel = "ems.mitigation.dev/server"
	// CeilingAnnotation on the ServiceAccount is how long its tokens may last, in seconds, where that is more than MaxToken.
	CeilingAnnotation = "ems.mitigation.dev/token-ceiling-seconds"
	// LongLivedLabel on a request for a token that lasts longer than MaxToken, with the value "true", has the admission policies look
	// for that annotation. They look at all ServiceAccounts of the namespace for it, which no other request shall cost.
	LongLivedLabel = "ems.mitigation.dev/long-lived"
)

const (
	// MinToken is the shortest life of a token that the TokenRequest API grants.
	MinToken = 10 * time.Minute
	// DefaultBootstrap is how long an enrolment string can be used, if nobody says otherwise.
	DefaultBootstrap = time.Hour
	// MaxBootstrap is the most that can be said.
	MaxBootstrap = 24 * time.Hour
	// MaxToken is how long a token of an agent lasts, unless CeilingAnnotation allows more.
	MaxToken = 24 * time.Hour
	// MaxCeiling is the most that can be allowed: servers that are off for longer are enrolled again.
	MaxCeiling = 30 * 24 * time.Hour
	// ForgetAfter is how long after its Secret was deleted a token may still be taken: the API server remembers for 10 seconds
	// that it was good, and hears of the deletion by a watch.
	ForgetAfter = 15 * time.Second
)

// AgentSecret is the name of the Secret that the tokens of a server's agent are bound to.
func AgentSecret(server string) string { return server + "-agent" }

// BootstrapSecret is the name of the Secret that the token in the enrolment string is bound to.
func BootstrapSecret(server string) string { return server + "-bootstrap" }

// User is the name by which the API server knows a server.
func User(namespace, server string) string {
	return "system:serviceaccount:" + namespace + ":" + server
}

const (
	// maxNamespace is the length of a DNS label.
	maxNamespace = 63
	// maxLabel is the length of a label's value, which carries the names of server and pool.
	maxLabel = 63
)

var (
	labelForm     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomainForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// CheckServer reports what is wrong with the name of a server.
func CheckServer(name string) error {
	switch {
	case name == "default":
		// Kubernetes has a ServiceAccount of that name in every namespace, which any Pod may be.
		return errors.New(`server: "default": is the name of every namespace's own ServiceAccount`)
	case len(name) > maxLabel || !subdomainForm.MatchString(name):
		return fmt.Errorf("server: %q: want at most %d lower-case letters, digits, hyphens and dots", clip(name), maxLabel)
	}
	return nil
}

// CheckPool reports what is wrong with the name of a pool.
func CheckPool(name string) error {
	if len(name) > maxLabel || !subdomainForm.MatchString(name) {
		return fmt.Errorf("pool: %q: want at most %d lower-case letters, digits, hyphens and dots", clip(name), maxLabel)
	}
	return nil
}

// CheckNamespace reports what is wrong with the name of a namespace.
func CheckNamespace(name string) error {
	if len(name) > maxNamespace || !labelForm.MatchString(name) {
		return fmt.Errorf("namespace: %q: want at most %d lower-case letters, digits and hyphens", clip(name), maxNamespace)
	}
	return nil
}

// clip keeps foreign text in errors short.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// Bind are the commands that let the agents of a namespace do their work, once for each pool.
func Bind(namespace string) string {
	return fmt.Sprintf("kubectl create rolebinding ems-agents -n %[1]s --clusterrole=ems-agent --group=system:serviceaccounts:%[1]s; "+
		"kubectl create clusterrolebinding ems-agents-%[1]s --clusterrole=ems-agent-bundles --group=system:serviceaccounts:%[1]s", namespace)
}

// BindCertificates is the command that lets the agents of a namespace ask for client certificates.
func BindCertificates(namespace string) string {
	return fmt.Sprintf("kubectl create clusterrolebinding ems-agents-certificates-%[1]s --clusterrole=ems-agent-certificates --group=system:serviceaccounts:%[1]s", namespace)
}
