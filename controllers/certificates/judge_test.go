package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/internal/clientcert"
)

var (
	now     = time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	subject = clientcert.Subject{Namespace: "pool-a", Server: "web01", Enrolment: strings.Repeat("0a", 16)}
)

const uid = "11111111-2222-3333-4444-555555555555"

func content(t testing.TB, s clientcert.Subject) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := clientcert.NewRequest(s, key)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// goodCase is a request of an agent that has a token.
func goodCase(t testing.TB) Case {
	request := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "ems-1", CreationTimestamp: metav1.NewTime(now)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: content(t, subject), SignerName: clientcert.Signer, ExpirationSeconds: new(int32(604800)),
			Usages:   []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
			Username: subject.User(), UID: uid,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:pool-a", "system:authenticated"},
		},
	}
	return Case{Request: request, Enrolled: Enrolled{Server: true, UID: uid, Label: "web01", Enrolment: subject.Enrolment}, Now: now}
}

// decided is another request of the same server, some time ago, with a condition if there is a type.
func decided(c Case, name string, ago time.Duration, kind certificatesv1.RequestConditionType) certificatesv1.CertificateSigningRequest {
	other := *c.Request.DeepCopy()
	other.Name, other.CreationTimestamp = name, metav1.NewTime(now.Add(-ago))
	if kind != "" {
		other.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind, Status: corev1.ConditionTrue}}
	}
	return other
}

func many(c Case, n int, ago time.Duration, kind certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequest {
	var list []certificatesv1.CertificateSigningRequest
	for i := range n {
		list = append(list, decided(c, fmt.Sprintf("ems-0-%d", i), ago, kind))
	}
	return list
}

func TestJudge(t *testing.T) {
	earlier := clientcert.EnrolmentGroup + strings.Repeat("ff", 16)
	for name, tc := range map[string]struct {
		change       func(*Case)
		wantDecision Decision
		wantReason   string
	}{
		"an agent with a token":       {func(*Case) {}, Approve, ReasonAgent},
		"an agent with a certificate": {func(c *Case) { c.Request.Spec.UID, c.Request.Spec.Groups = "", append(subject.Groups(), everyone) }, Approve, ReasonAgent},
		"the shortest life":           {func(c *Case) { c.Request.Spec.ExpirationSeconds = new(int32(600)) }, Approve, ReasonAgent},
		"while others were decided":   {func(c *Case) { c.Others = many(*c, 30, time.Minute, certificatesv1.CertificateDenied) }, Approve, ReasonAgent},
		"while an older one waits":    {func(c *Case) { c.Others = many(*c, 1, time.Minute, "") }, Approve, ReasonAgent},
		"many more than an hour ago":  {func(c *Case) { c.Others = many(*c, 30, time.Hour, certificatesv1.CertificateApproved) }, Approve, ReasonAgent},
		"many of another server": {func(c *Case) {
			c.Others = many(*c, 30, time.Minute, certificatesv1.CertificateApproved)
			for i := range c.Others {
				c.Others[i].Spec.Username = "system:serviceaccount:pool-a:web02"
			}
		}, Approve, ReasonAgent},

		"a person":                           {func(c *Case) { c.Request.Spec.Username = "erin" }, Ignore, ""},
		"a person with a clever name":        {func(c *Case) { c.Request.Spec.Username = "system:serviceaccount:pool-a:web01:x" }, Ignore, ""},
		"a name without a server":            {func(c *Case) { c.Request.Spec.Username = "system:serviceaccount:pool-a:" }, Ignore, ""},
		"another signer":                     {func(c *Case) { c.Request.Spec.SignerName = "kubernetes.io/kube-apiserver-client-kubelet" }, Ignore, ""},
		"a ServiceAccount that is no server": {func(c *Case) { c.Enrolled = Enrolled{} }, Ignore, ""},
		"a ServiceAccount without the label": {func(c *Case) { c.Enrolled.Label = "" }, Ignore, ""},
		"one that is decided":                {func(c *Case) { *c.Request = decided(*c, "ems-1", 0, certificatesv1.CertificateDenied) }, Ignore, ""},
		"one that has failed":                {func(c *Case) { *c.Request = decided(*c, "ems-1", 0, certificatesv1.CertificateFailed) }, Ignore, ""},

		"a server with tokens only":      {func(c *Case) { c.Enrolled.Enrolment = "" }, Deny, ReasonNotEnrolled},
		"an enrolment that is none":      {func(c *Case) { c.Enrolled.Enrolment = "yes" }, Deny, ReasonNotEnrolled},
		"an earlier ServiceAccount":      {func(c *Case) { c.Enrolled.UID = "another" }, Deny, ReasonOtherIdentity},
		"a certificate that was revoked": {func(c *Case) { c.Request.Spec.Groups = append(c.Request.Spec.Groups, earlier) }, Deny, ReasonRevoked},
		"somebody with more groups":      {func(c *Case) { c.Request.Spec.Groups = append(c.Request.Spec.Groups, "system:masters") }, Deny, ReasonOtherIdentity},
		"somebody with fewer groups":     {func(c *Case) { c.Request.Spec.Groups = []string{everyone} }, Deny, ReasonOtherIdentity},
		"the group of another pool":      {func(c *Case) { c.Request.Spec.Groups[1] = "system:serviceaccounts:pool-b" }, Deny, ReasonOtherIdentity},
		"no request at all":              {func(c *Case) { c.Request.Spec.Request = []byte("hello") }, Deny, ReasonMalformed},
		"another server's name": {func(c *Case) {
			c.Request.Spec.Request = content(t, clientcert.Subject{Namespace: "pool-a", Server: "web02", Enrolment: subject.Enrolment})
		}, Deny, ReasonSubject},
		"another pool's server": {func(c *Case) {
			c.Request.Spec.Request = content(t, clientcert.Subject{Namespace: "pool-b", Server: "web01", Enrolment: subject.Enrolment})
		}, Deny, ReasonSubject},
		"another enrolment": {func(c *Case) {
			c.Request.Spec.Request = content(t, clientcert.Subject{Namespace: "pool-a", Server: "web01", Enrolment: strings.Repeat("ff", 16)})
		}, Deny, ReasonSubject},
		"usages of a server": {func(c *Case) { c.Request.Spec.Usages[0] = certificatesv1.UsageServerAuth }, Deny, ReasonUsages},
		"one usage more": {func(c *Case) {
			c.Request.Spec.Usages = append(c.Request.Spec.Usages, certificatesv1.UsageKeyEncipherment)
		}, Deny, ReasonUsages},
		"one usage less":                                {func(c *Case) { c.Request.Spec.Usages = c.Request.Spec.Usages[:1] }, Deny, ReasonUsages},
		"a usage twice in place of two":                 {func(c *Case) { c.Request.Spec.Usages[0] = c.Request.Spec.Usages[1] }, Deny, ReasonUsages},
		"no life":                                       {func(c *Case) { c.Request.Spec.ExpirationSeconds = nil }, Deny, ReasonLife},
		"a second more than a week":                     {func(c *Case) { c.Request.Spec.ExpirationSeconds = new(int32(604801)) }, Deny, ReasonLife},
		"a second less than ten minutes":                {func(c *Case) { c.Request.Spec.ExpirationSeconds = new(int32(599)) }, Deny, ReasonLife},
		"while a later one waits":                       {func(c *Case) { c.Others = many(*c, 1, -time.Second, "") }, Deny, ReasonSuperseded},
		"while one of the same second has a later name": {func(c *Case) { c.Others = []certificatesv1.CertificateSigningRequest{decided(*c, "ems-2", 0, "")} }, Deny, ReasonSuperseded},
		"after one of the same second was approved": {func(c *Case) {
			c.Others = []certificatesv1.CertificateSigningRequest{decided(*c, "ems-2", 0, certificatesv1.CertificateApproved)}
		}, Approve, ReasonAgent},
		"after a later one was approved": {func(c *Case) { c.Others = many(*c, 1, -time.Second, certificatesv1.CertificateApproved) }, Deny, ReasonSuperseded},
		"after a later one was denied":   {func(c *Case) { c.Others = many(*c, 1, -time.Second, certificatesv1.CertificateDenied) }, Approve, ReasonAgent},
		"too many": {func(c *Case) {
			c.Others = many(*c, MaxPerHour, time.Hour-time.Second, certificatesv1.CertificateApproved)
		}, Deny, ReasonTooManyInAnHour},
	} {
		t.Run(name, func(t *testing.T) {
			c := goodCase(t)
			tc.change(&c)
			got := Judge(c)
			if got.Decision != tc.wantDecision || got.Reason != tc.wantReason {
				t.Errorf("Judge() = %s %s (%s), want %s %s", got.Decision, got.Reason, got.Message, tc.wantDecision, tc.wantReason)
			}
			if (got.Message == "") != (got.Decision == Ignore) || strings.Contains(got.Message, "\n") {
				t.Errorf("the message is %q", got.Message)
			}
		})
	}
}

// Of several requests that wait one is approved, in whatever order they are looked at, each decided before the next.
func TestOneOfSeveralIsApproved(t *testing.T) {
	for _, backwards := range []bool{false, true} {
		c := goodCase(t)
		list := many(c, 8, 0, "")
		for i := range list {
			list[i].Name, list[i].CreationTimestamp = fmt.Sprintf("ems-%d", i), metav1.NewTime(now.Add(time.Duration(i)*time.Second))
		}
		if backwards {
			slices.Reverse(list)
		}
		var approved []string
		for i := range list {
			c.Request, c.Others = &list[i], list
			v := Judge(c)
			kind := certificatesv1.CertificateDenied
			if v.Decision == Approve {
				approved, kind = append(approved, list[i].Name), certificatesv1.CertificateApproved
			} else if v.Reason != ReasonSuperseded {
				t.Errorf("%s: %+v", list[i].Name, v)
			}
			list[i].Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind, Status: corev1.ConditionTrue}}
		}
		if fmt.Sprint(approved) != "[ems-7]" {
			t.Errorf("approved %v", approved)
		}
	}
}
