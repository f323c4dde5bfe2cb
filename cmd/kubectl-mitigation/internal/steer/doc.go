// Package steer changes policy in a cluster as a person at a terminal does, beside what a Git repository says: it blocks, approves,
// suspends, switches on and off. It holds the verbs, and the way of writing that every verb of the plugin uses.
//
// # Usage
//
//	client, err := steer.NewClient(config)
//	outcome, err := client.Change(ctx, steer.Target{Namespace: "frontends", Name: "mail"}, func(d *steer.Document) error {
//		return d.Put(emsv1.Exception{ID: "M1", Reason: "breaks printing"}, "blocked")
//	}, steer.Options{})
//
// # Considerations
//
// Everything is written by server-side apply with the field manager [Manager]: the API server knows for each entry of a list, and for
// each switch, who wants it, and refuses to let one manager overwrite what another one says. A GitOps repository that is applied in the
// same way keeps its entries, and does not remove those of the plugin. docs/decisions/0008 has the reasons.
//
// An apply replaces all that its manager wants of an object. So a change reads the object, takes out of it what the plugin's manager
// owns already, changes that and sends it with the object's resource version; whoever was faster makes it begin anew. What the
// plugin owns is read from metadata.managedFields without knowing the type, so that a newer plugin's fields survive an older one.
package steer
