// Command ems-sim measures EMS with many servers on one machine: the agents are real agent loops (package agent) in one process, and
// the API server, etcd, the manager and the server of documents are the real programs, each a process of its own.
//
// # Usage
//
//	make scale N=1000
//	go run ./test/scale -n 1000 -scenarios seen,publish,kill -out bin/scale
//	go run ./test/scale -paper bin/scale/scale-1000.json
//	make compare N=200
//
// It prints a table, and writes the same as JSON and as a chart. The exit code is 1 if a server ended in a wrong state, an update was
// lost, or a scenario did not come to its end; missed goals and watches that the API server closed are printed and fail nothing, because
// they happen on a loaded machine.
//
// # Considerations
//
// Nothing of the agent is replaced. Each one has the folders of a server of its own, in memory where the system has such a folder
// (/dev/shm), a stand-in for application pools and services in them, a site that a stand-in for IIS answers for, a ServiceAccount with
// a token that is bound to a Secret, and its own connection to the API server. Tokens are signed here with the key of the API server: enrolment is not what is measured.
//
// Times are taken where things happen, from the log of each agent; asking the API server would load what is measured. The
// simulator does the work of all servers on the processors that it shares with the API server and the manager. Its part of the
// processor time is printed, and in a real pool it is spread over the servers.
//
// "make compare" runs the scenario ansible alone: the rule of M1 by Ansible on copies of the files, before any agent starts, and then by
// EMS. The playbooks are in the folder ansible; EMS_ANSIBLE_PLAYBOOK names the program where it is not on the PATH.
//
// After each scenario the files of every server are compared with what the plan says, by another way than the agent's: a request is sent
// through the rules that stand in them, or every byte has to be as it was before.
package main
