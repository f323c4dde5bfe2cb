// Package tokens tells whose a token of the cluster is, and whether its user may read a URL of the manager.
//
// # Usage
//
//	judge, err := tokens.New(config)
//	answer, err := judge.Ask(ctx, token, "/metrics")
//	if answer.Code == http.StatusOK { … }
//
// # Considerations
//
// The API server is asked with a TokenReview and a SubjectAccessReview; the manager needs the role ems-metrics-auth for it. A token
// that the API server does not know: 401. No right: 403. An API server that cannot be asked: 503, never a yes. What it says of a token
// counts for at most [RememberFor]; tokens themselves are not kept, only their digests.
//
// Package filters of controller-runtime does the same by means of k8s.io/apiserver, which would bring CEL, gRPC and
// OpenTelemetry into the manager for two requests that client-go can make.
package tokens
