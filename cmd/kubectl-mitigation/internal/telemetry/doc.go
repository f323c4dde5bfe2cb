// Package telemetry is the commands that show what diagnostic data says, and switch it on and off.
//
// # Usage
//
//	commands := telemetry.Commands()
//
// # Considerations
//
// The preview is made by internal/telemetry of the objects in the cluster, as the manager does it: nothing about it is written twice.
// Before diagnostic data was first switched on there is no organisation id yet, and the preview, which says so, has one of zeros.
//
// What the manager was installed with stands in the arguments of its Deployment. Who may not read that, or the ConfigMap with the
// organisation's id, is told what is not known.
package telemetry
