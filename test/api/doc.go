// Package api tests the custom resource definitions against a real API server: what it accepts, what it refuses and
// what it tells the person whose object was refused.
package api
