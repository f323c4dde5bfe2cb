package heartbeat

import "time"

const (
	// DefaultPeriod is how often a server renews its Lease if its plan does not say.
	DefaultPeriod = time.Minute

	// chances is how many renewals there have to be time for, slack for what they take: a renewal comes up to a tenth of its period late,
	// and may take ten seconds. Periods of ten seconds make forty of that, as for the nodes of Kubernetes. Four periods, however long they
	// are, were rejected: with those of a large fleet a dead server would be a secret for a quarter of an hour.
	chances = 2
	slack   = 20 * time.Second
)

// Silence is after how long without a renewal a server counts as silent.
func Silence(period time.Duration) time.Duration { return chances*period + slack }
