// Package telemetry says what diagnostic data is: the six fields that the real services document, for each server.
//
// # Usage
//
//	endpoint, on, why := telemetry.Choose(global, installed)
//	records, err := telemetry.Records(telemetry.Fleet{OrganizationID: id, Pools: pools, ...})
//	for _, body := range telemetry.Bodies(records) { ... }
//
// # Considerations
//
// What is sent is decided here alone, by pure functions of the objects, so that the preview of "kubectl mitigation telemetry show" is
// the very bytes that the manager sends. For that reason a body bears no time and no number.
//
// A record holds no name and no address, neither of a server nor of a pool, a namespace or a person. Its ids are random, or derived
// from random ones, and lead nobody outside back to a server. What servers report is not trusted: a product, a build or an id of a
// mitigation is sent only if it is one, and an id only if the plan of the pool knows it, so that a server under foreign control
// cannot send words of its own through the manager.
//
// Fields after https://learn.microsoft.com/en-us/exchange/diagnostic-data-exchange-server: build, state of mitigations, device id,
// organisation id, applied mitigations, blocked mitigations. docs/operations/telemetry.md explains them to operators and
// docs/reference/telemetry-v1.schema.json to receivers.
package telemetry
