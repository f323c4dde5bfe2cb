// Package eventcmd is the command "events": what happened to the objects of EMS, from the Events of the cluster.
//
// # Usage
//
//	for _, c := range eventcmd.Commands() { ... }
//	source, err := eventcmd.Open(config)
//	list, err := eventcmd.Read(ctx, source, namespace)
//	picture := eventcmd.Gather(eventcmd.About(list, eventcmd.Object{Kind: "MitigationFeed", Name: "contoso"}), now)
//
// # Considerations
//
// Events of objects without a namespace are in the namespace "default"; those are shown whatever namespace is looked at. The API server
// selects by apiVersion of the object, so that nothing else travels.
//
// A thousand servers that apply a mitigation make a thousand Events that say the same. From three on they are one row, which names the
// first and counts the others; --each shows all. An Event that the recorder counts itself (a series) has its number.
package eventcmd
