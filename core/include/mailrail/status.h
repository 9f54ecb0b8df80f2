// The one table of codes. The library, the calls between agents and the exit codes of the command
// line use it alike; an exit code is the number of the code.
//
//   code                 exit  means, and what to do
//   kOk                     0  done
//   kInvalidArgument        3  the call itself is wrong (name, priority, size): mend the call
//   kDeadlineExceeded       4  the deadline passed first; nothing was sent or received
//   kNotFound               5  no such process, mailbox, name or node
//   kAlreadyExists          6  the name is taken
//   kPermissionDenied       7  the caller was not granted this
//   kResourceExhausted      8  a limit is reached: full mailbox that rejects, too many processes
//   kFailedPrecondition     9  not in this state: a fork's child, a second agent on one socket
//   kAborted               10  this process is detached from its agent: attach again
//   kUnimplemented         12  the other side speaks another version
//   kInternal              13  a defect of Mailrail's own: report it
//   kUnavailable           14  peer, mailbox, node or agent is gone or not reached: try later
//   kDataLoss              15  a peer's shared memory is not well-formed; its lane is closed
#ifndef MAILRAIL_STATUS_H_
#define MAILRAIL_STATUS_H_

#include "absl/status/status.h"

namespace mailrail {

// The exit code for `status`: 0 for OK, else the number of its code.
inline int ExitCode(const absl::Status& status) { return static_cast<int>(status.code()); }

}  // namespace mailrail

#endif  // MAILRAIL_STATUS_H_
