#include "core/shm/barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mailrail {
namespace {

bool Command(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool RegisterForBarriers() {
  static const bool registered = Command(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
  return registered;
}

bool RegisterForBarriersOfThreads() {
  static const bool registered = Command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  return registered;
}

bool BarrierForAll() { return Command(MEMBARRIER_CMD_GLOBAL_EXPEDITED); }

void BarrierForThreads() { Command(MEMBARRIER_CMD_PRIVATE_EXPEDITED); }

}  // namespace mailrail
