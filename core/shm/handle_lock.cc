#include "core/shm/handle_lock.h"

#include <sched.h>

#include "core/shm/barrier.h"

namespace mailrail {

void HandleLock::AddHandle() {
  const bool has_barriers = RegisterForBarriersOfThreads();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (++handles_ == 1) {
    // Nobody uses it now.
    sole_.store(has_barriers, std::memory_order_relaxed);
    return;
  }
  if (!sole_.load(std::memory_order_relaxed)) return;
  sole_.store(false, std::memory_order_relaxed);
  BarrierForThreads();
  while (busy_.load(std::memory_order_acquire)) sched_yield();
}

void HandleLock::RemoveHandle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--handles_ == 0) sole_.store(false, std::memory_order_relaxed);
}

}  // namespace mailrail
