// Package rolloutcmd has the verbs of the plugin below "rollout": what looks (status, history), and what steers (pause, resume,
// promote, abort, undo, retry).
//
// # Usage
//
//	for _, command := range rolloutcmd.Commands() {
//		run := command.Bind(world, flags)
//	}
//
// # Considerations
//
// Looking is three steps: read (mirror), decide (look and merge, pure functions of what was read and of the clock), and draw
// (render and table, pure functions of the result and of a terminal.Style). State and reason of a rollout are the plan's, which is
// the manager's memory, and the numbers are those of the pool's status, so that nothing here counts servers and nothing has to read
// them: 1,000 pools are three lists. PoolServers are read by name, a few, and only those that the status names as failing.
//
// To watch is to list once and to watch from there, with the reflector of client-go; it takes up a watch that ends where it ended.
// Its own log is switched off, since lines in the picture would tear it; what it would say is shown below the picture.
//
// An order is an entry in a list that Git may hold as well. Package steer writes it as a field manager of its own. Orders are written
// only where they make sense: whoever aborts by mistake what is complete everywhere shall have to say "undo".
package rolloutcmd
