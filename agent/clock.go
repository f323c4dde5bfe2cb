package agent

import (
	"fmt"

	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/skew"
)

// tellOfClock writes into the event log of the server when its clock turns out to be wrong, and when it is right again.
func (o *Options) tellOfClock(told func() skew.Told) func() skew.Told {
	wrong := false
	return func() skew.Told {
		now := told()
		switch {
		case o.Events == nil || now.Skewed == wrong:
		case now.Skewed:
			o.Events(eventlog.ClockSkewed, fmt.Sprintf("The clock of this server differs from that of the API server by %s. "+
				"Set the one that is wrong: documents, certificates and exceptions end by it.", now.Ahead.Abs()))
		default:
			o.Events(eventlog.ClockInSync, "The clock of this server agrees with that of the API server again.")
		}
		wrong = now.Skewed
		return now
	}
}
