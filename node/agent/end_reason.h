#ifndef MAILRAIL_NODE_AGENT_END_REASON_H_
#define MAILRAIL_NODE_AGENT_END_REASON_H_

#include <sys/types.h>

#include "mailrail/message.h"

namespace mailrail {

// How the process of `pidfd` ended, whose pid here is `pid`. kDetached while it runs, kEnded when
// the kernel does not say how: before 6.15 it does only until the process is waited for. Never
// blocks.
EndReason HowItEnded(int pidfd, pid_t pid);

// Whether this process, which has not ended yet, runs none of its own code any more: each of its
// threads is on its way out. Of one that is not there false.
bool IsDying(pid_t pid);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_END_REASON_H_
