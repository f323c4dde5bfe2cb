package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/identity"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/clientcert"
	"mitigation.dev/ems/internal/shard"
)

// parallel is how many servers are worked on at once: enough that a thousand take seconds, few enough that others are still served.
const parallel = 16

// work is one call of the verb.
type work struct {
	api

	// url and authority are how servers reach the API server.
	url       string
	authority []*x509.Certificate
	// expires is how long the strings can be used, lifetime how long a token the agents may have; zero means the usual.
	expires, lifetime time.Duration
	// again enrols servers anew that have used their string; certificates gives them certificates in place of tokens.
	again, certificates bool
	// shards are those of the pools, where a pool is another manager's than the main one's.
	shards map[string]shard.Name
	pause  func(ctx context.Context, length time.Duration) error
	note   func(format string, arguments ...any)
}

// each does something for every server, several at once, and returns the errors in the order of the servers.
func each(ctx context.Context, servers []entry, do func(ctx context.Context, i int, e entry) error) []error {
	failed := make([]error, len(servers))
	tokens := make(chan struct{}, parallel)
	var running sync.WaitGroup
	for i, e := range servers {
		tokens <- struct{}{}
		running.Go(func() {
			defer func() { <-tokens }()
			if failed[i] = ctx.Err(); failed[i] == nil {
				failed[i] = do(ctx, i, e)
			}
			if failed[i] != nil {
				failed[i] = fmt.Errorf("%s: %w", e, failed[i])
			}
		})
	}
	running.Wait()
	return failed
}

// enroll makes identities and returns what is to be printed, one for each server that worked.
func (w *work) enroll(ctx context.Context, servers []entry) ([]Enrollment, error) {
	if err := w.checkPools(ctx, servers); err != nil {
		return nil, err
	}
	cleared, failed := w.end(ctx, servers, w.mayBeEnrolled)
	if err := w.forget(ctx, cleared); err != nil {
		return nil, err
	}
	if err := w.bind(ctx); err != nil {
		return nil, err
	}
	if err := w.prepareCertificates(ctx); err != nil {
		return nil, err
	}
	made := make([]*Enrollment, len(servers))
	for i, err := range each(ctx, servers, func(ctx context.Context, i int, e entry) (err error) {
		if failed[i] == nil {
			made[i], err = w.make(ctx, e)
		}
		return err
	}) {
		failed[i] = errors.Join(failed[i], err)
	}
	var list []Enrollment
	for _, e := range made {
		if e != nil {
			list = append(list, *e)
		}
	}
	return list, errors.Join(failed...)
}

// checkPools asks for each pool once.
func (w *work) checkPools(ctx context.Context, servers []entry) error {
	seen := map[string]bool{}
	var problems []error
	for _, e := range servers {
		if seen[e.Pool] {
			continue
		}
		seen[e.Pool] = true
		pool := &emsv1.PoolMitigationConfig{}
		found, err := w.get(ctx, pools, e.Pool, pool)
		if err == nil && !found {
			err = errors.New("the namespace has no PoolMitigationConfig of that name")
		}
		if of := shard.Of(pool); of != shard.Main {
			if w.shards == nil {
				w.shards = map[string]shard.Name{}
			}
			w.shards[e.Pool] = of
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("pool %s/%s: %w", w.namespace, e.Pool, err))
		}
	}
	return errors.Join(problems...)
}

// errEnrolled is what a second enrolment by mistake would cost.
var errEnrolled = errors.New("is enrolled already: --again makes another identity and revokes the present one")

// look refuses names that stand for something else and finds out which Secrets there are.
func (w *work) look(ctx context.Context, e entry) (agent, bootstrap bool, err error) {
	var server emsv1.PoolServer
	found, err := w.get(ctx, poolServers, e.Server, &server)
	switch {
	case err != nil:
		return false, false, err
	case found && server.Spec.PoolName != e.Pool:
		return false, false, fmt.Errorf("PoolServer %s belongs to pool %q", e.Server, server.Spec.PoolName)
	}
	var account corev1.ServiceAccount
	found, err = w.get(ctx, serviceAccounts, e.Server, &account)
	switch {
	case err != nil:
		return false, false, err
	case found && account.Labels[identity.ServerLabel] != e.Server:
		return false, false, fmt.Errorf("ServiceAccount %s is there already and not marked as one of a server: if it is one, label it %s=%s", e.Server, identity.ServerLabel, e.Server)
	}
	if agent, err = w.hasSecret(ctx, identity.AgentSecret(e.Server)); err != nil {
		return false, false, err
	}
	bootstrap, err = w.hasSecret(ctx, identity.BootstrapSecret(e.Server))
	return agent, bootstrap, err
}

// hasSecret finds a Secret of our type. One of another type is somebody else's and must not be deleted.
func (w *work) hasSecret(ctx context.Context, name string) (bool, error) {
	var secret corev1.Secret
	found, err := w.get(ctx, secrets, name, &secret)
	if err == nil && found && secret.Type != identity.SecretType {
		err = fmt.Errorf("secret %s is there already and of type %q", name, secret.Type)
	}
	return found, err
}

// mayBeEnrolled refuses a server that would lose the credential that it works with.
func (w *work) mayBeEnrolled(ctx context.Context, e entry) error {
	agent, bootstrap, err := w.look(ctx, e)
	if err == nil && agent && !bootstrap && !w.again {
		return errors.Join(errEnrolled, w.mendLease(ctx, e))
	}
	return err
}

// mendLease makes the Lease of an enrolled server again, if somebody has deleted it. Its agent cannot do that.
func (w *work) mendLease(ctx context.Context, e entry) error {
	found, err := w.get(ctx, leases, e.Server, &coordinationv1.Lease{})
	if err != nil || found {
		return err
	}
	server, _, lease, _ := w.objects(e)
	if found, err = w.get(ctx, poolServers, e.Server, server); err != nil || !found {
		return err
	}
	server.APIVersion, server.Kind = emsv1.GroupVersion.String(), "PoolServer"
	lease.OwnerReferences = ownedBy(server.TypeMeta, server.ObjectMeta)
	if err := w.ensureLease(ctx, lease); err != nil {
		return err
	}
	w.note("%s: its Lease was missing and is there again", e)
	return nil
}

// end ends all credentials of servers that may have theirs ended. ended says where there were any.
func (w *work) end(ctx context.Context, servers []entry, may func(context.Context, entry) error) (ended []bool, failed []error) {
	ended, enrolments := make([]bool, len(servers)), make([]string, len(servers))
	failed = each(ctx, servers, func(ctx context.Context, i int, e entry) (err error) {
		if err = may(ctx, e); err == nil {
			enrolments[i], err = w.enrolmentOf(ctx, e)
		}
		return err
	})
	listed := w.revokeCertificates(ctx, servers, enrolments)
	for i, err := range each(ctx, servers, func(ctx context.Context, i int, e entry) (err error) {
		switch {
		case failed[i] != nil:
		case enrolments[i] != "" && listed != nil:
			return listed
		default:
			ended[i], err = w.endOne(ctx, e, enrolments[i] != "")
		}
		return err
	}) {
		failed[i] = errors.Join(failed[i], err)
	}
	return ended, failed
}

// endOne ends the credentials of one server, whose certificates are in the list of what was revoked already.
func (w *work) endOne(ctx context.Context, e entry, certificates bool) (ended bool, err error) {
	if certificates {
		if err := w.withoutEnrolment(ctx, e); err != nil {
			return true, err
		}
	}
	ended = certificates
	for _, name := range []string{identity.BootstrapSecret(e.Server), identity.AgentSecret(e.Server)} {
		found, err := w.remove(ctx, secrets, name)
		if err != nil {
			return ended, err
		}
		ended = ended || found
	}
	return ended, nil
}

// forget waits until the API server has forgotten tokens, if any were ended.
func (w *work) forget(ctx context.Context, ended []bool) error {
	for _, is := range ended {
		if is {
			w.note("waiting %v, until the API server has forgotten what was revoked", identity.ForgetAfter)
			return w.pause(ctx, identity.ForgetAfter)
		}
	}
	return nil
}

// bind lets the ServiceAccounts of the namespace work as agents, if the user may do that.
func (w *work) bind(ctx context.Context) error {
	const name = "ems-agents"
	found, err := w.get(ctx, roleBindings, name, &rbacv1.RoleBinding{})
	if found {
		return nil
	}
	if err == nil {
		err = w.create(ctx, roleBindings, &rbacv1.RoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-agent"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + w.namespace}},
		})
	}
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("RoleBinding %s: %w", name, err)
	}
	w.note("agents of a namespace need these rights once, the second from an administrator of the cluster: %s", identity.Bind(w.namespace))
	return nil
}

// objects are what an identity consists of, without what only the API server knows.
func (w *work) objects(e entry) (*emsv1.PoolServer, *corev1.ServiceAccount, *coordinationv1.Lease, []*corev1.Secret) {
	labels := map[string]string{identity.PoolLabel: e.Pool, identity.ServerLabel: e.Server}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: w.namespace, Labels: labels}
	}
	server := &emsv1.PoolServer{
		TypeMeta:   metav1.TypeMeta{APIVersion: emsv1.GroupVersion.String(), Kind: "PoolServer"},
		ObjectMeta: metav1.ObjectMeta{Name: e.Server, Namespace: w.namespace, Labels: map[string]string{identity.PoolLabel: e.Pool}},
		Spec:       emsv1.PoolServerSpec{PoolName: e.Pool, HostName: e.HostName},
	}
	if of := w.shards[e.Pool]; of != shard.Main {
		// Its manager has it at once, and no other has to hand it over.
		server.Labels[emsv1.ShardLabel] = string(of)
	}
	account := &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   meta(e.Server),
		AutomountServiceAccountToken: new(false),
	}
	switch {
	case w.certificates:
		account.Annotations = map[string]string{clientcert.EnrolmentAnnotation: clientcert.NewEnrolment()}
	case w.lifetime != 0:
		account.Annotations = map[string]string{identity.CeilingAnnotation: strconv.FormatInt(int64(w.lifetime/time.Second), 10)}
	}
	lease := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: meta(e.Server),
	}
	var both []*corev1.Secret
	for _, name := range []string{identity.AgentSecret(e.Server), identity.BootstrapSecret(e.Server)} {
		both = append(both, &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta(name), Type: identity.SecretType})
	}
	return server, account, lease, both
}

// ownedBy makes objects go with another one.
func ownedBy(kind metav1.TypeMeta, owner metav1.ObjectMeta) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: kind.APIVersion, Kind: kind.Kind, Name: owner.Name, UID: owner.UID}}
}

// make makes one identity.
func (w *work) make(ctx context.Context, e entry) (*Enrollment, error) {
	server, account, lease, both := w.objects(e)
	if err := w.ensureServer(ctx, server); err != nil {
		return nil, err
	}
	account.OwnerReferences = ownedBy(server.TypeMeta, server.ObjectMeta)
	enrolment := account.Annotations[clientcert.EnrolmentAnnotation]
	if err := w.ensureAccount(ctx, account); err != nil {
		return nil, err
	}
	lease.OwnerReferences = ownedBy(server.TypeMeta, server.ObjectMeta)
	if err := w.ensureLease(ctx, lease); err != nil {
		return nil, err
	}
	for _, secret := range both {
		secret.OwnerReferences = ownedBy(account.TypeMeta, account.ObjectMeta)
		if err := w.create(ctx, secrets, secret); err != nil {
			return nil, err
		}
	}
	// The last one is that of the string.
	answer, err := w.token(ctx, e.Server, both[len(both)-1], int64(w.expires/time.Second))
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	text, err := identity.Ticket{
		URL: w.url, CA: w.authority, Namespace: w.namespace, Pool: e.Pool, Server: e.Server, Token: answer.Status.Token, Lifetime: w.lifetime, Enrolment: enrolment,
	}.Encode()
	if err != nil {
		return nil, err
	}
	return &Enrollment{
		Namespace: w.namespace, Pool: e.Pool, Server: e.Server, HostName: server.Spec.HostName,
		ExpiryTime: answer.Status.ExpirationTimestamp.UTC(), Token: text, Commands: commandsFor(e.Server, server.Spec.HostName, text),
	}, nil
}

// ensureServer leaves a PoolServer that is there as it is, but for a host name that was given.
func (w *work) ensureServer(ctx context.Context, wanted *emsv1.PoolServer) error {
	var there emsv1.PoolServer
	found, err := w.get(ctx, poolServers, wanted.Name, &there)
	switch {
	case err != nil:
		return err
	case !found:
		return w.create(ctx, poolServers, wanted)
	case there.Spec.PoolName != wanted.Spec.PoolName:
		return fmt.Errorf("PoolServer %s belongs to pool %q", wanted.Name, there.Spec.PoolName)
	case wanted.Spec.HostName != "" && there.Spec.HostName != wanted.Spec.HostName:
		part := map[string]any{"spec": map[string]any{"hostName": wanted.Spec.HostName}}
		if err := w.patch(ctx, poolServers, wanted.Name, part, &there); err != nil {
			return err
		}
	}
	there.TypeMeta = wanted.TypeMeta
	*wanted = there
	return nil
}

// ensureAccount makes a ServiceAccount that is there one of this enrolment.
func (w *work) ensureAccount(ctx context.Context, wanted *corev1.ServiceAccount) error {
	err := w.create(ctx, serviceAccounts, wanted)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// Every enrolment says how long tokens may last, or which certificates are its own: the absence takes back what another one said.
	said := map[string]any{identity.CeilingAnnotation: nil, clientcert.EnrolmentAnnotation: nil}
	for name, text := range wanted.Annotations {
		said[name] = text
	}
	return w.patch(ctx, serviceAccounts, wanted.Name, map[string]any{
		"metadata": map[string]any{
			"annotations": said, "labels": wanted.Labels, "ownerReferences": wanted.OwnerReferences,
		},
		"automountServiceAccountToken": false,
	}, wanted)
}

// ensureLease leaves what an agent wrote into a Lease that is there.
func (w *work) ensureLease(ctx context.Context, wanted *coordinationv1.Lease) error {
	err := w.create(ctx, leases, wanted)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	part := map[string]any{"metadata": map[string]any{"labels": wanted.Labels, "ownerReferences": wanted.OwnerReferences}}
	return w.patch(ctx, leases, wanted.Name, part, wanted)
}

// revoke ends the identities of servers and returns what became of each.
func (w *work) revoke(ctx context.Context, servers []entry, all bool) ([]string, error) {
	ended, failed := w.end(ctx, servers, func(ctx context.Context, e entry) error {
		_, _, err := w.look(ctx, e)
		return err
	})
	words := make([]string, len(servers))
	for i, err := range each(ctx, servers, func(ctx context.Context, i int, e entry) (err error) {
		words[i] = "revoked"
		if !ended[i] {
			words[i] = "had no credential"
		}
		if all && failed[i] == nil {
			words[i] += ", removed"
			ended[i], err = w.removeServer(ctx, e, ended[i])
		}
		return err
	}) {
		failed[i] = errors.Join(failed[i], err)
	}
	err := errors.Join(w.forget(ctx, ended), w.prune(ctx))
	var done []string
	for i, e := range servers {
		if failed[i] == nil {
			done = append(done, fmt.Sprintf("%s: %s", e, words[i]))
		}
	}
	return done, errors.Join(append(failed, err)...)
}

// removeServer removes what is left of a server, and reports whether credentials were ended, then or before: without its
// ServiceAccount a token is refused, too.
func (w *work) removeServer(ctx context.Context, e entry, ended bool) (bool, error) {
	for _, r := range []resource{serviceAccounts, leases, poolServers} {
		found, err := w.remove(ctx, r, e.Server)
		if err != nil {
			return ended, err
		}
		ended = ended || found && r == serviceAccounts
	}
	return ended, nil
}

// shortName is the first label of a host name.
func shortName(host string) string {
	short, _, _ := strings.Cut(strings.ToLower(host), ".")
	return short
}
