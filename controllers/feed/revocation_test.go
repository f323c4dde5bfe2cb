package feed

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

func TestFetchedListsAreWarnedOf(t *testing.T) {
	list := func(source string, age, left time.Duration) emsv1.RevocationListStatus {
		l := emsv1.RevocationListStatus{Issuer: "CN=" + source, Source: source, ThisUpdateTime: &metav1.Time{Time: now.Add(-age)}}
		if left != 0 {
			l.NextUpdateTime = &metav1.Time{Time: now.Add(left)}
		}
		return l
	}
	for name, tc := range map[string]struct {
		mode   emsv1.RevocationMode
		maxAge time.Duration
		lists  []emsv1.RevocationListStatus
		want   map[string]time.Duration
	}{
		"a list ends at its own end": {
			mode: "Prefer", lists: []emsv1.RevocationListStatus{list("http://a", day, 6*day)}, want: map[string]time.Duration{"http://a": 6 * day},
		},
		"or at its greatest age, if that comes first": {
			mode: "Require", maxAge: 3 * day, lists: []emsv1.RevocationListStatus{list("http://a", day, 6*day), list("http://b", 2*day, day/2)},
			want: map[string]time.Duration{"http://a": 2 * day, "http://b": day / 2},
		},
		"or at that alone": {
			mode: "Require", maxAge: 3 * day, lists: []emsv1.RevocationListStatus{list("http://a", day, 0)}, want: map[string]time.Duration{"http://a": 2 * day},
		},
		"lists of the policy are counted with the policy": {mode: "Prefer", lists: []emsv1.RevocationListStatus{list(lists.ConfiguredSource, day, 6*day)}},
		"lists that nobody looks at do not count":         {mode: "Off", lists: []emsv1.RevocationListStatus{list("http://a", day, 6*day)}},
		"without a policy there is nothing to look at":    {lists: []emsv1.RevocationListStatus{list("http://a", day, 6*day)}},
	} {
		t.Run(name, func(t *testing.T) {
			feed := &emsv1.MitigationFeed{}
			feed.Spec.Trust.Revocation = emsv1.Revocation{Mode: tc.mode, MaxAgeSeconds: int64(tc.maxAge / time.Second)}
			feed.Status.Revocation.Lists = tc.lists
			var got map[string]time.Duration
			for _, a := range fetchedLists(feed) {
				if got == nil {
					got = map[string]time.Duration{}
				}
				got[a.Field] = a.NotAfter.Sub(now)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListsThatWereHandedOutBefore(t *testing.T) {
	keys, err := pki.NewFixed(now)
	if err != nil {
		t.Fatal(err)
	}
	bundle := &emsv1.MitigationBundle{ObjectMeta: metav1.ObjectMeta{Name: "contoso-1"}}
	bundle.Spec.RevocationLists = append(bundle.Spec.RevocationLists, []byte("damaged"))
	for _, authority := range []*pki.Identity{keys.Issuing, keys.Root} {
		made, err := authority.RevocationList(now, now.Add(day))
		if err != nil {
			t.Fatal(err)
		}
		bundle.Spec.RevocationLists = append(bundle.Spec.RevocationLists, made.Raw)
	}
	described := []emsv1.RevocationListStatus{{Issuer: keys.Root.Certificate.Subject.String(), Source: "http://crl.contoso.com/root.crl"}}
	var got []string
	for _, list := range handedOutBefore(bundle, described) {
		got = append(got, list.Source)
	}
	// One that somebody else wrote there has a source too: without one the API would refuse the whole status.
	if diff := cmp.Diff([]string{"MitigationBundle contoso-1", "http://crl.contoso.com/root.crl"}, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestAnEventTellsOfListsThatAreMissing(t *testing.T) {
	condition := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: emsv1.RevocationListsReadCondition, Status: status, Reason: reason}}
	}
	read, unreadable := condition("True", "ListsRead"), condition("False", "ListUnreadable")
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          bool
	}{
		"there are no lists":                    {},
		"all lists are read for the first time": {after: read},
		"one cannot be read from the beginning": {after: unreadable, want: true},
		"one can no longer be read":             {before: read, after: unreadable, want: true},
		"it still cannot":                       {before: unreadable, after: unreadable},
		"it can, and is refused":                {before: unreadable, after: condition("False", "ListRefused"), want: true},
		"it can be read again":                  {before: unreadable, after: read},
		"nobody looks at lists any more":        {before: unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			if got := beganToMissLists(tc.before, tc.after); got != tc.want {
				t.Errorf("beganToMissLists() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestARefusalForWantOfAListSaysWhyThereIsNone(t *testing.T) {
	missing := &xmlsig.Error{Class: xmlsig.ClassRevoked, Subject: "certificate X", Reason: "no current revocation list"}
	troubled := &listState{unread: errors.New("fetching \"http://a\": no connection")}
	for name, tc := range map[string]struct {
		state      *listState
		err        error
		wantReason bool
	}{
		"a list could not be fetched":     {state: troubled, err: missing, wantReason: true},
		"a list was refused":              {state: &listState{refused: []revocation.Refused{{List: &revocation.List{Source: "http://a"}, Message: "no connection to it"}}}, err: missing, wantReason: true},
		"a refusal for another cause":     {state: troubled, err: &xmlsig.Error{Class: xmlsig.ClassDigest}},
		"nothing is wrong with the lists": {state: &listState{}, err: missing},
		"the feed does not look at any":   {err: missing},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.state.explain(tc.err)
			if !errors.Is(got, tc.err) || strings.Contains(got.Error(), "http://a") != tc.wantReason {
				t.Errorf("explain() = %v, want the cause: %t", got, tc.wantReason)
			}
		})
	}
}

func TestAnotherPolicyBeginsWithOtherLists(t *testing.T) {
	feed := &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "contoso", Generation: 1}}
	r := &Reconciler{}
	if r.listsOf(feed) != nil {
		t.Error("a feed without revocation has lists")
	}
	feed.Spec.Trust.Revocation.Mode = "Prefer"
	first := r.listsOf(feed)
	if first == nil || r.listsOf(feed) != first {
		t.Error("what is known of the lists is not kept")
	}
	feed.Generation = 2
	if second := r.listsOf(feed); second == first || second == nil {
		t.Error("what an earlier policy believed is believed on")
	}
	feed.Spec.Trust.Revocation.Mode = "Off"
	if r.listsOf(feed) != nil || len(r.lists) > 0 {
		t.Error("lists are kept although nobody looks at them")
	}
}

func TestFetchedListsMakeARefusedSignerBeJudgedAgain(t *testing.T) {
	keys, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	list, err := keys.Root.RevocationList(now, now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/root.crl" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(list.Raw)
	}))
	defer server.Close()
	for name, tc := range map[string]struct {
		reason, path string
		want         bool
	}{
		"the signer was refused":                             {reason: emsv1.SignerUntrustedReason, path: "/root.crl", want: true},
		"the signer was refused, and there is still no list": {reason: emsv1.SignerUntrustedReason, path: "/gone.crl"},
		"the feed failed for another cause":                  {reason: emsv1.UnreachableReason, path: "/root.crl"},
	} {
		t.Run(name, func(t *testing.T) {
			feed := &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "contoso"}}
			feed.Spec.Trust.Revocation = emsv1.Revocation{Mode: "Require", URLs: []string{server.URL + tc.path}}
			conditions.Set(&feed.Status.Conditions, 0, conditions.Stalled(tc.reason, "why"))
			r := &Reconciler{}
			for range 2 { // the second time they are not due
				if err := r.refreshLists(t.Context(), feed, now); err != nil {
					t.Fatal(err)
				}
				if got := r.takeExpected(feed); got != tc.want {
					t.Errorf("a poll is due: %t, want %t", got, tc.want)
				}
				tc.want = false
			}
			if look := r.nextLook(feed, now); look < 5*time.Minute || look > 6*time.Minute {
				t.Errorf("the next look is in %s, want that for the lists, in about five minutes", look)
			}
		})
	}
}

func TestANewDocumentDoesNotWaitForNewerLists(t *testing.T) {
	keys, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	made, err := keys.Root.RevocationList(now, now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	list, err := revocation.Parse(made.Raw)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write(list.Raw)
	}))
	defer server.Close()
	for name, tc := range map[string]struct {
		known, news bool
		wantAsked   int
	}{
		"lists that are due are fetched":                          {known: true, wantAsked: 1},
		"a new document is judged by the lists that are there":    {known: true, news: true, wantAsked: 0},
		"without any list, a new document waits for them as well": {news: true, wantAsked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			feed := &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "contoso"}}
			feed.Spec.Trust.Revocation = emsv1.Revocation{Mode: "Require", URLs: []string{server.URL}}
			r := &Reconciler{}
			if tc.known {
				r.listsOf(feed).book.Settle([]*revocation.List{list}, []*x509.Certificate{keys.Root.Certificate}, now)
			}
			if tc.news {
				r.expect(client.ObjectKeyFromObject(feed))
			}
			if err := r.refreshLists(t.Context(), feed, now); err != nil {
				t.Fatal(err)
			}
			if asked != tc.wantAsked {
				t.Errorf("the list was asked for %d times, want %d", asked, tc.wantAsked)
			}
		})
	}
}
