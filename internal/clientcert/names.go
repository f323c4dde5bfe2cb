package clientcert

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
)

const (
	// Signer is the one of Kubernetes whose certificates the API server takes from clients.
	Signer = "kubernetes.io/kube-apiserver-client"
	// MinLife is the shortest life that the API takes.
	MinLife = 10 * time.Minute
	// MaxLife is the longest that is approved: for so long a certificate that was stolen can read.
	MaxLife = 7 * 24 * time.Hour
	// EnrolmentAnnotation on the ServiceAccount of a server says that it gets certificates, and for which enrolment.
	EnrolmentAnnotation = "ems.mitigation.dev/certificate-enrolment"
	// EnrolmentGroup begins the group that names the enrolment.
	EnrolmentGroup = "ems:enrolment:"
	// RevokedList is the ConfigMap in the namespace of a pool whose keys are the enrolments that were revoked.
	RevokedList = "ems-revoked-certificates"
	// KeepRevoked is how long an enrolment stays in that list: a day more than any certificate of it lasts.
	KeepRevoked = MaxLife + 24*time.Hour
)

// Usages are what a certificate is for: exactly these, in the words of the API.
func Usages() []string { return []string{"client auth", "digital signature"} }

// Subject is who a certificate is for.
type Subject struct {
	Namespace, Server string
	// Enrolment is what EnrolmentAnnotation says.
	Enrolment string
}

// User is the user name of the server.
func (s Subject) User() string { return "system:serviceaccount:" + s.Namespace + ":" + s.Server }

// Groups are those that the API server gives to the tokens of the server, and that of the enrolment.
func (s Subject) Groups() []string {
	return []string{EnrolmentGroup + s.Enrolment, "system:serviceaccounts", "system:serviceaccounts:" + s.Namespace}
}

// NewEnrolment makes a name for an enrolment that no other has.
func NewEnrolment() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

var enrolmentForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// CheckEnrolment reports whether a text is no name of an enrolment.
func CheckEnrolment(text string) error {
	if !enrolmentForm.MatchString(text) {
		return fmt.Errorf("enrolment: %.40q: want 32 hexadecimal digits", text)
	}
	return nil
}
