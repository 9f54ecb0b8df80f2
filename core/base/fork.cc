#include "core/base/fork.h"

#include <pthread.h>

namespace mailrail::internal {

std::atomic<uint32_t> fork_generation{0};

namespace {
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1); });
}  // namespace

}  // namespace mailrail::internal
