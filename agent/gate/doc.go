// Package gate judges on the server whether a mitigation that was put in place does harm.
//
// # Usage
//
// Begin makes a Record with the results of health.Checker.Baseline, before the mitigation is put in place. From then on Look
// takes what was observed and gives the record that follows; Record.Next says when the next look is due, until the record is
// final. All of it is pure: the caller observes, keeps records on its disk and takes the mitigation back when the verdict is
// Failed.
//
// # Considerations
//
// The server is compared with itself. What was bad before and is bad afterwards is noted and holds nothing up, because a
// server in trouble needs its protection no less; what was not looked at before is not judged.
//
// What is measured can be measured wrongly: a packet is lost, a worker process starts. A check that came out badly counts when
// it does so again, one second later where the bake time is up to 30 seconds, two seconds later otherwise. So a single bad
// answer takes nothing away, and a server that refuses connections or answers with errors has its mitigation taken back
// within five seconds; one that does not answer at all takes two time limits of package health more. Different checks that
// take turns in failing count at the fourth bad look in a row, and those that come and go at the end of the bake time, if
// every fourth look was bad. What is computed, samples and effect, counts at once.
//
// Time is what passed between two looks, and never more than an expected pause with something on top. A clock that is set
// back makes the bake time longer, one that is set forward does not end it, and a stopped agent does not bake. Time in which
// something was bad does not count.
//
// No data is no success: when the bake time is over and checks that came out well before cannot be made, or too few requests
// were logged, the verdict is Inconclusive, and becomes Passed or Failed when there is something to judge by. Where there is no
// log, the number of requests is not asked for.
package gate
