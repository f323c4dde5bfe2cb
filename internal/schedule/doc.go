// Package schedule says whether maintenance windows allow a change at a given time.
//
// # Usage
//
//	verdict := schedule.Open(now, poolWindows, globalWindows)
//	if !verdict.Open { wait(verdict.Why, verdict.Next) }
//
// # Considerations
//
// A window opens at every minute that its cron line names in its time zone, and stays open for its duration, which is
// real time: a window of four hours has four hours on the night of a change to summer time too. Windows may overlap, and
// may outlast midnight and the week's end.
//
// Changes of the clock are where cron implementations differ, so this is what happens here. A time that is skipped in
// spring opens its window at the moment of the change; robfig/cron leaves it out, which for a Deny window would allow what
// somebody denied. A time that comes twice in autumn opens its window twice; a line names wall clock times, and both are.
//
// Each level (the organisation, the pool) has its own set of windows. Deny wins over everything, of whatever level. A
// level that has Allow windows allows changes only inside of one. A window that cannot be read closes the schedule: who
// wrote windows wanted fewer changes than any time.
//
// Package robfig/cron/v3 reads the cron lines. Its @descriptors and TZ= prefixes are refused: the API has a field for the
// zone, and @every names no wall clock time. Times are looked for here, because of the clock changes, and because the
// search for the end of windows that overlap takes hundreds of steps.
package schedule
