#ifndef MAILRAIL_CORE_SHM_BARRIER_H_
#define MAILRAIL_CORE_SHM_BARRIER_H_

namespace mailrail {

// Barriers that one thread executes for others (membarrier, expedited), so that those need none of
// their own. Thread-safe.

// Lets other processes execute barriers for this one, and its threads for each other; false where
// the kernel, or a filter of system calls, does not have it. After an exec it is to be called anew;
// a forked child keeps what its parent has registered. The first call takes some 15 ms in a process
// that has several threads already, so it belongs where that is no matter: in Attach, or at the
// start of a program.
bool RegisterForBarriers();
bool RegisterForBarriersOfThreads();

// Every thread of a registered process that runs now executes a full barrier before this returns;
// one that does not run has executed one, or will before it runs. False where that cannot be had.
bool BarrierForAll();
// The same for the threads of this process.
void BarrierForThreads();

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_BARRIER_H_
