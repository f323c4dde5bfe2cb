package agent

import (
	"slices"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/state"
)

// recallUntold takes up the changes that the process before this one could not tell the cluster of.
func (l *loop) recallUntold() {
	list, err := l.memory.Untold()
	if err != nil {
		l.log.Error(err, "Events are lost, the status says everything")
	}
	for _, u := range list {
		l.unannounced = append(l.unannounced, cluster.Change{Kind: cluster.ChangeKind(u.Kind), ID: u.ID, Revision: u.Revision})
	}
	l.keptUntold = slices.Clone(l.unannounced)
}

// keepUntold puts changes that wait for the cluster on the disk, and takes those off that it knows.
func (l *loop) keepUntold() {
	if slices.Equal(l.unannounced, l.keptUntold) {
		return
	}
	list := make([]state.Untold, 0, len(l.unannounced))
	for _, c := range l.unannounced {
		list = append(list, state.Untold{Kind: string(c.Kind), ID: c.ID, Revision: c.Revision})
	}
	err := l.memory.SaveUntold(list)
	l.logOnce(&l.untoldProblem, err, "Events for the cluster cannot be kept", "Events for the cluster are kept again")
	if err == nil {
		l.keptUntold = slices.Clone(l.unannounced)
	}
}
