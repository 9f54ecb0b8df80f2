#include "core/sync/mutex_memory.h"

namespace mailrail {

bool MutexMemory::RemoveHolders(Gone gone) {
  uint64_t state = header().state.load();
  while (IsHeldByGone(state, gone)) {
    if (header().state.compare_exchange_weak(state, kDied)) {
      WakeAll();
      return true;
    }
  }
  return false;
}

}  // namespace mailrail
