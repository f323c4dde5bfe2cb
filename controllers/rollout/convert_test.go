package rollout

import (
	"fmt"
	"testing"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

func TestRevocationStaysWithinTheLimitOfThePlan(t *testing.T) {
	var feeds []emsv1.MitigationFeed
	var entries []rollout.Entry
	for i := range maxRevocation + 1 {
		feed := emsv1.MitigationFeed{}
		feed.Name = fmt.Sprintf("feed-%02d", maxRevocation-i)
		feed.Status.Revocation = emsv1.RevocationStatus{BundleName: feed.Name + "-1", Digest: "d"}
		feeds = append(feeds, feed)
		entries = append(entries, rollout.Entry{Mitigation: rollout.Mitigation{FeedName: feed.Name}})
	}
	list := revocation(entries, feeds)
	if len(list) != maxRevocation || list[0].FeedName != "feed-00" || list[maxRevocation-1].FeedName != "feed-63" {
		t.Errorf("%d feeds from %q on, want the first %d by name", len(list), list[0].FeedName, maxRevocation)
	}
	if list := revocation(entries[:1], feeds[1:]); len(list) != 0 {
		t.Errorf("revocation() = %+v for feeds that the plan does not name, want none", list)
	}
}
