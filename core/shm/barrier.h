#ifndef MAILRAIL_CORE_SHM_BARRIER_H_
#define MAILRAIL_CORE_SHM_BARRIER_H_

namespace mailrail {

// Barriers that one process executes for others (membarrier, global expedited), so that those need
// none of their own. Thread-safe.

// Lets other processes execute barriers for this one; false where the kernel, or a filter of system
// calls, does not have it. After an exec it is to be called anew.
bool RegisterForBarriers();

// Every thread of a registered process that runs now executes a full barrier before this returns;
// one that does not run has executed one, or will before it runs. False where that cannot be had.
bool BarrierForAll();

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_BARRIER_H_
