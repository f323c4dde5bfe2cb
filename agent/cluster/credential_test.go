package cluster

import (
	"testing"
	"time"
)

func TestReportSaysWhenTheCredentialEnds(t *testing.T) {
	a := newAPI(t, poolServer())
	ends := time.Date(2026, 11, 23, 2, 0, 0, 400, time.UTC)
	a.cluster.CredentialExpiry = func() time.Time { return ends }
	a.start()
	send := func(wantApplies int) {
		t.Helper()
		if err := a.cluster.Report(t.Context(), Report{PlanGeneration: 3}); err != nil {
			t.Fatal(err)
		}
		if a.applies != wantApplies {
			t.Fatalf("%d writes so far, want %d", a.applies, wantApplies)
		}
		a.seen()
		if got := a.server().Status.Credential.ExpiryTime; got == nil || !got.Time.Equal(ends.Truncate(time.Second)) {
			t.Errorf("expiryTime = %v, want %v", got, ends)
		}
	}
	send(1)
	// The part of a second that the API does not keep is no difference.
	send(1)
	ends = ends.Add(12 * time.Hour)
	send(2)

	a.cluster.CredentialExpiry = nil
	if err := a.cluster.Report(t.Context(), Report{PlanGeneration: 3}); err != nil {
		t.Fatal(err)
	}
	if got := a.server().Status.Credential.ExpiryTime; got != nil {
		t.Errorf("expiryTime = %v of an agent that does not know it", got)
	}
}
