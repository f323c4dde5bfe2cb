package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/facts"
)

// errNotEnrolled is what a new server is told.
var errNotEnrolled = errors.New("-kubeconfig: not given, and this server is not enrolled: run what \"kubectl mitigation enroll POOL/SERVER\" prints")

// takeIdentity fills in who the server is from its enrolment. What is said besides has to be the same.
func (o *Options) takeIdentity() error {
	enrolled, err := credential.Open(o.StateDir).Load()
	switch {
	case errors.Is(err, credential.ErrNone):
		return errNotEnrolled
	case err != nil && (enrolled.Server == "" || !errors.Is(err, credential.ErrDamaged)):
		return err
	}
	// One that is damaged keeps nobody from protecting as the last plan says.
	var problems []error
	for _, part := range []struct {
		name string
		said *string
		is   string
	}{{"namespace", &o.Namespace, enrolled.Namespace}, {"pool", &o.Pool, enrolled.Pool}, {"server", &o.Server, enrolled.Server}} {
		if *part.said != "" && *part.said != part.is {
			problems = append(problems, fmt.Errorf("-%s: %q, but the server was enrolled as %q: leave it out", part.name, *part.said, part.is))
		}
		*part.said = part.is
	}
	return errors.Join(problems...)
}

// reached is a connection with its credential.
type reached struct {
	*cluster.Connection

	// keep has to run as long as the connection is used; it fails if the agent has to start again.
	keep func(context.Context) error
	// expiry is when the credential ends; nil if nobody knows.
	expiry func() time.Time
}

// connect prepares the connection to the API server, as a kubeconfig says or as the enrolled server.
func connect(o Options) (reached, error) {
	if o.Kubeconfig != "" {
		connection, err := cluster.Connect(o.Kubeconfig, o.Proxy)
		return reached{Connection: connection, keep: func(context.Context) error { return nil }}, err
	}
	proxy, err := cluster.ParseProxy(o.Proxy)
	if err != nil {
		return reached{}, fmt.Errorf("proxy: %w", err)
	}
	source, err := credential.NewSource(credential.Options{
		Store: credential.Open(o.StateDir), Clock: clock.RealClock{}, Log: o.Log.WithName("credential"), Proxy: proxy, Tell: o.tellOfCredential(),
	})
	if err != nil {
		return reached{}, err
	}
	connection, err := cluster.ConnectConfig(source.Config())
	return reached{connection, source.Run, source.Expiry}, err
}

// tellOfCredential writes into the event log of the server.
func (o *Options) tellOfCredential() func(good bool, sentence string) {
	return func(good bool, sentence string) {
		switch {
		case o.Events == nil:
		case good:
			o.Events(eventlog.CredentialRenewed, sentence)
		default:
			o.Events(eventlog.CredentialProblem, sentence)
		}
	}
}

// holder is what this process calls itself in the Lease of a server: no other does, and people see where it runs.
func holder(server string) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	host, err := facts.HostName()
	if err != nil {
		host = "unknown"
	}
	return server + "_" + host + "_" + hex.EncodeToString(random[:])
}

// tellOfAnother tells administrators, of the server and of the cluster, that a copy of this server works under its name.
func (o *Options) tellOfAnother(inCluster func(note string)) func(other string) {
	return func(other string) {
		sentence := fmt.Sprintf("Somebody else works with the credential of server %s/%s and calls itself %s (server, host, process). "+
			"If it is a copy of this server, stop it or enrol it as a server of its own. If nobody knows it, the credential was stolen: "+
			"kubectl mitigation enroll --again -n %s %s/%s", o.Namespace, o.Server, other, o.Namespace, o.Pool, o.Server)
		inCluster(sentence)
		if o.Events != nil {
			o.Events(eventlog.IdentityShared, sentence)
		}
	}
}
