package skew

import (
	"errors"
	"net/http"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// api answers with the header that an API server with the right time sends.
type api struct {
	clock *clocktesting.FakePassiveClock
	ahead time.Duration
	takes time.Duration
	date  string
	err   error
}

func (a *api) RoundTrip(*http.Request) (*http.Response, error) {
	date := a.date
	if date == "" {
		date = a.clock.Now().Add(-a.ahead).UTC().Format(http.TimeFormat)
	}
	a.clock.SetTime(a.clock.Now().Add(a.takes))
	return &http.Response{Header: http.Header{"Date": {date}}}, a.err
}

func TestAnswersTellTheSkew(t *testing.T) {
	for name, tc := range map[string]struct {
		ahead, takes time.Duration
		date         string
		err          error
		want         Told
	}{
		"the clocks agree":                     {want: Told{Known: true}},
		"they nearly agree":                    {ahead: 3 * time.Second, want: Told{Known: true}},
		"ahead":                                {ahead: 90 * time.Second, want: Told{Known: true, Skewed: true, Ahead: 90 * time.Second}},
		"behind":                               {ahead: -time.Hour, want: Told{Known: true, Skewed: true, Ahead: -time.Hour}},
		"what an answer may have taken counts": {ahead: 6 * time.Second, takes: 1900 * time.Millisecond, want: Told{Known: true, Skewed: true, Ahead: 7 * time.Second}},
		"a slow answer says nothing":           {ahead: time.Hour, takes: 3 * time.Second},
		"no answer says nothing":               {ahead: time.Hour, err: errors.New("away")},
		"a header that is none says nothing":   {ahead: time.Hour, date: "yesterday"},
		"a clock that was set back meanwhile":  {ahead: time.Hour, takes: -time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{clock: clocktesting.NewFakePassiveClock(noon.Add(500 * time.Millisecond)), ahead: tc.ahead, takes: tc.takes, date: tc.date, err: tc.err}
			m := New(a.clock)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.contoso.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Wrap(a).RoundTrip(request); !errors.Is(err, tc.err) { //nolint:bodyclose // there is none
				t.Fatal(err)
			}
			got := m.Told()
			if (got.Ahead - tc.want.Ahead).Abs() > time.Second {
				t.Errorf("ahead by %v, want %v", got.Ahead, tc.want.Ahead)
			}
			if got.Ahead = tc.want.Ahead; got != tc.want {
				t.Errorf("told %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestWhatIsToldIsSteady(t *testing.T) {
	told, changes := Told{}, 0
	see := func(ahead time.Duration) {
		t.Helper()
		before := told
		if told = next(told, ahead-500*time.Millisecond, ahead+500*time.Millisecond); told != before {
			changes++
		}
	}
	for i := range 100 { // at the border, with what the resolution of the header adds
		see(5*time.Second + time.Duration(i%13-6)*100*time.Millisecond)
	}
	if changes > 2 {
		t.Errorf("%d changes at the border, want two at most: the first answer and one skew", changes)
	}
	see(2 * time.Second)
	if told.Skewed || told.Ahead != 0 {
		t.Errorf("told %+v after the clock was set", told)
	}
	changes = 0
	for i := range 100 {
		see(time.Minute + time.Duration(i)*10*time.Millisecond)
	}
	if changes != 1 || !told.Skewed {
		t.Errorf("%d changes while a clock drifts by a second, want 1", changes)
	}
	see(2 * time.Minute)
	if told.Ahead != 2*time.Minute {
		t.Errorf("told %v, want two minutes", told.Ahead)
	}
}
