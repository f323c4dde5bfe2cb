package telemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mitigation.dev/ems/internal/telemetry"
)

// errNoID says that the ConfigMap of the organisation's id has none.
var errNoID = errors.New("no organisation id")

// organization returns the organisation's id, and makes one if there is none yet. The ConfigMap is read past the caches: the manager may
// not list ConfigMaps.
func (r *Reconciler) organization(ctx context.Context) (uuid.UUID, error) {
	key := types.NamespacedName{Namespace: r.Namespace, Name: telemetry.OrganizationName}
	kept := &corev1.ConfigMap{}
	err := r.Reader.Get(ctx, key, kept)
	if apierrors.IsNotFound(err) {
		kept = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Data:       map[string]string{telemetry.OrganizationKey: uuid.NewString()},
			Immutable:  new(true),
		}
		// Where somebody else was faster, the next attempt reads that one's.
		err = r.Client.Create(ctx, kept)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("organisation id: ConfigMap %q: %w", key, err)
	}
	id, err := telemetry.ParseOrganization(kept.Data[telemetry.OrganizationKey])
	if err != nil {
		return uuid.Nil, fmt.Errorf("%w: ConfigMap %q: key %q: %w; delete it, and another one is made", errNoID, key, telemetry.OrganizationKey, err)
	}
	return id, nil
}
