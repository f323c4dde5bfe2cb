package enroll

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/internal/clientcert"
)

// The kinds of credentials.
const byToken, byCertificate = "token", "certificate"

func checkCredential(kind string, lifetime time.Duration) error {
	switch {
	case kind != byToken && kind != byCertificate:
		return cli.Misused("--credential: %q: want %s or %s", kind, byToken, byCertificate)
	case kind == byCertificate && lifetime > clientcert.MaxLife:
		return cli.Misused("--max-lifetime: %v: want at most %v with certificates, which cannot be taken back", lifetime, clientcert.MaxLife)
	}
	return nil
}

// revokedList is the ConfigMap of what was revoked, without any.
func (w *work) revokedList() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: clientcert.RevokedList, Namespace: w.namespace, Labels: map[string]string{"app.kubernetes.io/part-of": "ems"}},
	}
}

// prepareCertificates makes the list of what is revoked, which tells before anything else whether the cluster has what certificates need.
func (w *work) prepareCertificates(ctx context.Context) error {
	if !w.certificates {
		return nil
	}
	w.note("agents with certificates need this right once, from an administrator of the cluster: %s", identity.BindCertificates(w.namespace))
	found, err := w.get(ctx, configMaps, clientcert.RevokedList, &corev1.ConfigMap{})
	if err == nil && !found {
		err = w.create(ctx, configMaps, w.revokedList())
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("ConfigMap %s: %w; client certificates need config/certificates in the cluster", clientcert.RevokedList, err)
	}
	return nil
}

// enrolmentOf is the enrolment that the certificates of a server name; empty if it has none.
func (w *work) enrolmentOf(ctx context.Context, e entry) (string, error) {
	var account corev1.ServiceAccount
	found, err := w.get(ctx, serviceAccounts, e.Server, &account)
	enrolment := account.Annotations[clientcert.EnrolmentAnnotation]
	if err != nil || !found || enrolment == "" {
		return "", err
	}
	if err := clientcert.CheckEnrolment(enrolment); err != nil {
		return "", fmt.Errorf("annotation %s of ServiceAccount %s: %w: nothing of it can be revoked", clientcert.EnrolmentAnnotation, e.Server, err)
	}
	return enrolment, nil
}

// revokeCertificates has what servers write with their certificates refused; enrolments are those of the servers, empty for none. All
// go into the list at once: it has an entry for each server of a pool then, and to write it a thousand times is to write a gigabyte.
// What cannot be used any more is taken out, so that it does not grow for ever.
func (w *work) revokeCertificates(ctx context.Context, servers []entry, enrolments []string) error {
	var with []string
	for i, enrolment := range enrolments {
		if enrolment != "" {
			with = append(with, servers[i].String())
		}
	}
	if len(with) == 0 {
		return nil
	}
	var list corev1.ConfigMap
	found, err := w.get(ctx, configMaps, clientcert.RevokedList, &list)
	if err == nil && !found {
		if err = w.create(ctx, configMaps, w.revokedList()); apierrors.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err == nil {
		err = w.patch(ctx, configMaps, clientcert.RevokedList, map[string]any{"data": changesOf(list.Data, servers, enrolments, time.Now())}, &list)
	}
	if err != nil {
		return fmt.Errorf("ConfigMap %s: nothing was revoked: %w", clientcert.RevokedList, err)
	}
	who := with[0]
	if len(with) > 1 {
		who = fmt.Sprintf("%d servers", len(with))
	}
	w.note("%s: what is written with a client certificate of before is refused from now on; whoever holds it can read until it ends, 7 days from its issue at most", who)
	return nil
}

// changesOf is what to patch into the list of what was revoked.
func changesOf(list map[string]string, servers []entry, enrolments []string, now time.Time) map[string]any {
	changes := map[string]any{}
	for _, enrolment := range endedBefore(list, now.Add(-clientcert.KeepRevoked)) {
		changes[enrolment] = nil
	}
	for i, enrolment := range enrolments {
		if enrolment != "" {
			changes[enrolment] = servers[i].Server + " " + now.UTC().Format(time.RFC3339)
		}
	}
	return changes
}

// withoutEnrolment keeps a server from getting certificates. Before that the enrolment has to be in the list: once the ServiceAccount
// does not name it any more, nobody knows what to put there.
func (w *work) withoutEnrolment(ctx context.Context, e entry) error {
	part := map[string]any{"metadata": map[string]any{"annotations": map[string]any{clientcert.EnrolmentAnnotation: nil}}}
	return w.patch(ctx, serviceAccounts, e.Server, part, &corev1.ServiceAccount{})
}

// prune takes out of the list what no certificate can be of any more. Who may not keep the list has none.
func (w *work) prune(ctx context.Context) error {
	var list corev1.ConfigMap
	found, err := w.get(ctx, configMaps, clientcert.RevokedList, &list)
	if apierrors.IsForbidden(err) || err == nil && !found {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", clientcert.RevokedList, err)
	}
	old := endedBefore(list.Data, time.Now().Add(-clientcert.KeepRevoked))
	if len(old) == 0 {
		return nil
	}
	gone := map[string]any{}
	for _, enrolment := range old {
		gone[enrolment] = nil
	}
	if err := w.patch(ctx, configMaps, clientcert.RevokedList, map[string]any{"data": gone}, &list); err != nil {
		return fmt.Errorf("ConfigMap %s: %w", clientcert.RevokedList, err)
	}
	return nil
}

// endedBefore are the enrolments that were revoked before a time. What does not say when it was stays.
func endedBefore(list map[string]string, limit time.Time) []string {
	var old []string
	for enrolment, text := range list {
		_, when, _ := strings.Cut(text, " ")
		if at, err := time.Parse(time.RFC3339, when); err == nil && at.Before(limit) {
			old = append(old, enrolment)
		}
	}
	slices.Sort(old)
	return old
}
