// The agent proper of keeper_test: it does what the test tells it over a socket.
#ifndef MAILRAIL_NODE_KEEPER_TEST_AGENT_H_
#define MAILRAIL_NODE_KEEPER_TEST_AGENT_H_

namespace mailrail {

// What it exits with after SIGTERM and SIGINT.
inline constexpr int kTestAgentTerminated = 42;

// The main program, for a process called with argv[1] == "agent"; returns its exit code.
//
//   agent --control-fd=N [--crash] --keeper-fd=M
//
// With --crash it kills itself at once. Else it sends packets to the control socket:
//   "started <pid> <number of records listed>"   at its start
//   "signal <n>"                                 for SIGHUP, SIGTERM, SIGINT; it exits after the
//                                                latter two
//   "adopted"                                    when its keeper was gone and it started another,
//                                                which has all records again
// and carries out these commands, each answered by one packet ("OK", or what went wrong):
//   "put <key> <value>" and descriptors, "put-value <key> <value>", "drop <key>"
//   "list"                      answered by "<key>=<value>[<content of each descriptor's file>] "
//                               or by "nothing"
//   "ask-without-reading"       leaves a reply of the keeper's in the queue
//   "put-many <n> <m>"          stores n records with m descriptors each
//   "check-many <n> <m>"        lists them and compares
//   "bad-packets"               sends nonsense to the keeper
//   "orphan"                    leaves a dead orphan behind; answered when somebody waited for it
// and these, which are not answered:
//   "put-and-die <key> <value>" and descriptors
//   "send-and-die <n>"          sends n records without waiting for the keeper's answers
//   "exit <code>", "leave <code>"
int TestAgentMain(int argc, char** argv);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_TEST_AGENT_H_
