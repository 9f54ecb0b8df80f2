#include "core/sync/mutex_memory.h"

namespace mailrail {

bool MutexMemory::RemoveHolder(uint32_t number) {
  uint64_t state = header().state.load();
  while (IsHeldBy(state, number)) {
    if (header().state.compare_exchange_weak(state, kDied)) {
      WakeAll();
      return true;
    }
  }
  return false;
}

}  // namespace mailrail
