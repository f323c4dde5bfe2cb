package credential

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/agent/identity"
)

// Request asks for a token of the server's own ServiceAccount that is bound to its agent's Secret. Where more than identity.MaxToken is
// asked for and not allowed any more, that much is taken.
func Request(ctx context.Context, config *rest.Config, who Identity, asked time.Duration) (Grant, error) {
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return Grant{}, fmt.Errorf("token of %s: %w", who, err)
	}
	if asked == 0 {
		asked = identity.MaxToken
	}
	grant, err := request(ctx, client, who, asked)
	if err != nil && asked > identity.MaxToken && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) {
		grant, err = request(ctx, client, who, identity.MaxToken)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("token of %s: %w", who, err)
	}
	return grant, nil
}

func request(ctx context.Context, client corev1client.ServiceAccountsGetter, who Identity, asked time.Duration) (Grant, error) {
	seconds := int64(asked / time.Second)
	wanted := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: identity.AgentSecret(who.Server)},
	}}
	if asked > identity.MaxToken {
		wanted.Labels = map[string]string{identity.LongLivedLabel: "true"}
	}
	answer, err := client.ServiceAccounts(who.Namespace).CreateToken(ctx, who.Server, wanted, metav1.CreateOptions{})
	if err != nil {
		return Grant{}, err
	}
	// The API server may grant less than was asked for, and says so here; its clock is not ours.
	if answer.Spec.ExpirationSeconds != nil && *answer.Spec.ExpirationSeconds < seconds {
		seconds = *answer.Spec.ExpirationSeconds
	}
	return Grant{Token: answer.Status.Token, Expires: answer.Status.ExpirationTimestamp.Time, Life: time.Duration(seconds) * time.Second}, nil
}
