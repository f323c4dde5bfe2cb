// Package inventory tells which mitigations stand on which pools and servers, as Get-Mitigations.ps1 and Get-CsMitigation do for the
// real services: the commands "get" and "export".
//
// # Usage
//
//	kubectl mitigation get                        # a row for each mitigation of each pool
//	kubectl mitigation get --per-server -A -o csv # a row for each mitigation of each server of the fleet
//	kubectl mitigation export -o xml --file mitigations.xml
//
// # Considerations
//
// Everything is taken from the objects as they stand: the plan of a pool says what is wished, the status of the pool counts servers, the
// status of a server says what is there. Nothing is decided here. Descriptions come from the Mitigation objects, so they are those of the
// signed document, and no network but the way to the cluster is needed; Get-Mitigations.ps1 fetches them and fails without the Internet.
//
// The words of the real service are Applied, Blocked and Failed. Where they would say too little, there are others; the page
// docs/guides/inventory.md has the table, and a test keeps it.
package inventory
