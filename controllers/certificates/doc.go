// Package certificates approves the client certificates of servers, strictly, and refuses what else servers ask for. It runs only where
// the manager is started with --client-certificates.
//
// # Usage
//
//	r := &certificates.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}
//	err := r.SetupWithManager(ctx, mgr)
//
// # Considerations
//
// Judge is a pure function of a request and of what enrolment says about who asks. A certificate never says more than its requester is
// already: same user name, same groups, and the enrolment that the ServiceAccount names at this moment. So a bootstrap token gets
// what it is enrolled for, and an agent gets what it has, for another week.
//
// Requests of others for the same signer are none of our business: people are given certificates by it, too. They are neither
// approved nor denied. Whoever bears the name of a ServiceAccount that is enrolled as a server is ours, and is denied with a reason
// if anything is not as it has to be.
//
// Requests are watched for one signer and read from the cache; the API server deletes them an hour after they were decided. The
// ServiceAccount is read past the cache: what was revoked a moment ago is not approved. The right to do so is not in the generated
// role, which every manager has, but in config/certificates.
package certificates
