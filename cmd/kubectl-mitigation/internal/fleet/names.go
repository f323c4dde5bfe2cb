package fleet

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// maxNames is how many objects are looked at for a shell: nobody reads more, and the answer has to come while a key is pressed.
const maxNames = 500

// Names are those of objects, for shells: of "pools", "servers" and "feeds", and the ids of "mitigations". Pools and servers are those
// of the namespace of the flags; with all, or with a namespace in what is begun, they come as NAMESPACE/NAME.
func (c *Connection) Names(ctx context.Context, kind, begun string, all bool) ([]string, error) {
	config, namespace, err := c.Config()
	if err != nil {
		return nil, err
	}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if other, _, found := strings.Cut(begun, "/"); found {
		namespace, prefix = other, other+"/"
	}
	if all {
		namespace = ""
	}
	if kind == "mitigations" {
		var list emsv1.MitigationList
		err := client.Get().Resource(mitigations).VersionedParams(&metav1.ListOptions{Limit: maxNames}, metav1.ParameterCodec).Do(ctx).Into(&list)
		var ids []string
		for i := range list.Items {
			ids = append(ids, string(list.Items[i].Spec.ID))
		}
		return ids, err
	}
	resource := map[string]string{"pools": pools, "servers": servers, "feeds": feeds}[kind]
	if resource == feeds {
		namespace, prefix = "", ""
	}
	// The objects themselves are large: their metadata is enough.
	answer := client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).
		VersionedParams(&metav1.ListOptions{Limit: maxNames}, metav1.ParameterCodec).
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").Do(ctx)
	var list metav1.PartialObjectMetadataList
	if err := Answer(answer, &list); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		name := prefix + list.Items[i].Name
		if all && list.Items[i].Namespace != "" {
			name = list.Items[i].Namespace + "/" + list.Items[i].Name
		}
		names = append(names, name)
	}
	return names, nil
}
