package certificates

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"mitigation.dev/ems/internal/clientcert"
)

const (
	// MaxPerHour is how many certificates a server gets in an hour. One of the shortest life is renewed nine times, one of the usual
	// life once in five days; more than that is a loop or somebody who plays.
	MaxPerHour = 12
	hour       = time.Hour
	// usernamePrefix begins the names of ServiceAccounts.
	usernamePrefix = "system:serviceaccount:"
	everyone       = "system:authenticated"
)

// Reasons of the condition Approved or Denied.
const (
	ReasonAgent           = "AgentOfPool"
	ReasonNotEnrolled     = "NotEnrolledForCertificates"
	ReasonOtherIdentity   = "RequesterIsSomebodyElse"
	ReasonRevoked         = "EnrolmentRevoked"
	ReasonMalformed       = "RequestMalformed"
	ReasonSubject         = "SubjectNotAllowed"
	ReasonUsages          = "UsagesNotAllowed"
	ReasonLife            = "LifeNotAllowed"
	ReasonSuperseded      = "Superseded"
	ReasonTooManyInAnHour = "TooManyInAnHour"
)

// Decision is what to do about a request.
type Decision string

// The decisions. Ignore leaves a request to others.
const (
	Ignore  Decision = "Ignore"
	Approve Decision = "Approve"
	Deny    Decision = "Deny"
)

// Verdict is a decision with its reason.
type Verdict struct {
	Decision        Decision
	Reason, Message string
}

// Enrolled is what the cluster knows of the requester.
type Enrolled struct {
	// Server is whether there is a PoolServer of the name.
	Server bool
	// UID is that of the ServiceAccount of the name, Label what its label ems.mitigation.dev/server says, and Enrolment its annotation; all
	// are empty if there is none.
	UID, Label, Enrolment string
}

// Case is a request with everything that matters for its judgement.
type Case struct {
	Request *certificatesv1.CertificateSigningRequest
	// Others are the requests of the same requester, the request itself among them or not.
	Others   []certificatesv1.CertificateSigningRequest
	Enrolled Enrolled
	Now      time.Time
}

// Requester says which server a request may be of; ok is false if its requester cannot be one.
func Requester(request *certificatesv1.CertificateSigningRequest) (namespace, server string, ok bool) {
	rest, ok := strings.CutPrefix(request.Spec.Username, usernamePrefix)
	if !ok || request.Spec.SignerName != clientcert.Signer {
		return "", "", false
	}
	namespace, server, ok = strings.Cut(rest, ":")
	return namespace, server, ok && namespace != "" && server != "" && !strings.Contains(server, ":")
}

// Decided reports whether somebody has decided about a request already.
func Decided(request *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
	})
}

// Judge decides about a request.
func Judge(c Case) Verdict {
	namespace, server, ok := Requester(c.Request)
	if !ok || Decided(c.Request) || !c.Enrolled.Server || c.Enrolled.Label != server {
		return Verdict{Decision: Ignore}
	}
	subject := clientcert.Subject{Namespace: namespace, Server: server, Enrolment: c.Enrolled.Enrolment}
	for _, check := range []func(Case, clientcert.Subject) *Verdict{checkRequester, checkContent, checkSpec, checkOthers} {
		if refused := check(c, subject); refused != nil {
			return *refused
		}
	}
	return Verdict{Approve, ReasonAgent, fmt.Sprintf("the agent of PoolServer %s/%s, enrolment %s", namespace, server, subject.Enrolment)}
}

func deny(reason, format string, values ...any) *Verdict {
	return &Verdict{Deny, reason, fmt.Sprintf(format, values...)}
}

// checkRequester holds who asks against the enrolment. The API server has written who that is.
func checkRequester(c Case, subject clientcert.Subject) *Verdict {
	spec := c.Request.Spec
	if clientcert.CheckEnrolment(subject.Enrolment) != nil {
		return deny(ReasonNotEnrolled, "the server is not enrolled for client certificates; an operator does that by kubectl mitigation enroll --credential=certificate")
	}
	if spec.UID != "" && spec.UID != c.Enrolled.UID {
		return deny(ReasonOtherIdentity, "the requester is an earlier ServiceAccount of the name, uid %q", spec.UID)
	}
	want := subject.Groups()
	for _, group := range spec.Groups {
		switch enrolment, is := strings.CutPrefix(group, clientcert.EnrolmentGroup); {
		case is && enrolment != subject.Enrolment:
			return deny(ReasonRevoked, "the requester is of an enrolment that was revoked or followed by another; an operator enrols the server again")
		case !is && group != everyone && !slices.Contains(want, group):
			return deny(ReasonOtherIdentity, "the requester has the group %q, which no agent has", group)
		}
	}
	if !slices.Contains(spec.Groups, "system:serviceaccounts:"+subject.Namespace) {
		return deny(ReasonOtherIdentity, "the requester has not the groups of a ServiceAccount")
	}
	return nil
}

func checkContent(c Case, subject clientcert.Subject) *Verdict {
	parsed, err := clientcert.Parse(c.Request.Spec.Request)
	if err != nil {
		return deny(ReasonMalformed, "%v", err)
	}
	if err := clientcert.Check(parsed, subject); err != nil {
		return deny(ReasonSubject, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func checkSpec(c Case, _ clientcert.Subject) *Verdict {
	usages := map[string]bool{}
	for _, usage := range c.Request.Spec.Usages {
		usages[string(usage)] = true
	}
	want := map[string]bool{}
	for _, usage := range clientcert.Usages() {
		want[usage] = true
	}
	if !maps.Equal(usages, want) {
		return deny(ReasonUsages, "usages: %q: want %q", slices.Sorted(maps.Keys(usages)), clientcert.Usages())
	}
	least, most := int32(clientcert.MinLife/time.Second), int32(clientcert.MaxLife/time.Second)
	switch seconds := c.Request.Spec.ExpirationSeconds; {
	case seconds == nil:
		return deny(ReasonLife, "expirationSeconds: missing: want %d to %d", least, most)
	case *seconds < least || *seconds > most:
		return deny(ReasonLife, "expirationSeconds: %d: want %d to %d", *seconds, least, most)
	}
	return nil
}

// checkOthers approves the last request of a server and none before it: an agent that started again has lost the key of the one before.
// Within a second nobody knows which was first; one that was approved already is no reason to deny the other.
func checkOthers(c Case, _ clientcert.Subject) *Verdict {
	approved := 0
	for i := range c.Others {
		other := &c.Others[i]
		switch {
		case other.Name == c.Request.Name || other.Spec.Username != c.Request.Spec.Username || other.Spec.SignerName != c.Request.Spec.SignerName:
		case !Decided(other) && later(other, c.Request), isApproved(other) && c.Request.CreationTimestamp.Before(&other.CreationTimestamp):
			return deny(ReasonSuperseded, "the server has asked again since, by request %s", other.Name)
		case isApproved(other) && c.Now.Sub(other.CreationTimestamp.Time) < hour:
			approved++
		}
	}
	if approved >= MaxPerHour {
		return deny(ReasonTooManyInAnHour, "%d certificates were approved for the server within an hour: want at most %d", approved, MaxPerHour)
	}
	return nil
}

// later orders requests by time and, within the second that times are exact to, by name.
func later(a, b *certificatesv1.CertificateSigningRequest) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return b.CreationTimestamp.Before(&a.CreationTimestamp)
	}
	return a.Name > b.Name
}

func isApproved(request *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved && c.Status == corev1.ConditionTrue
	})
}
