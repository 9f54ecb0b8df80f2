#include "core/shm/handle_lock.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mailrail {
namespace {

bool RegisterForPrivateBarriers() {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

// Whether this process may have all its threads pass a barrier. Asked once; a forked child keeps
// what its parent has registered.
bool HasBarriers() {
  static const bool has = RegisterForPrivateBarriers();
  return has;
}

}  // namespace

void HandleLock::AddHandle() {
  const bool has_barriers = HasBarriers();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (++handles_ == 1) {
    // Nobody uses it now.
    sole_.store(has_barriers, std::memory_order_relaxed);
    return;
  }
  if (!sole_.load(std::memory_order_relaxed)) return;
  sole_.store(false, std::memory_order_relaxed);
  syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  while (busy_.load(std::memory_order_acquire)) sched_yield();
}

void HandleLock::RemoveHandle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--handles_ == 0) sole_.store(false, std::memory_order_relaxed);
}

}  // namespace mailrail
