#include "core/shm/budget.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/coarse_clock.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace mailrail {
namespace {

constexpr uint64_t kPage = 4096;
constexpr int64_t kBetweenAsks = 1000000;  // nanoseconds
constexpr absl::Duration kPatience = absl::Milliseconds(50);

// The whole pages that these bytes are in.
struct Pages {
  Pages(const char* at, size_t size)
      : begin(reinterpret_cast<uintptr_t>(at) / kPage * kPage),
        bytes((reinterpret_cast<uintptr_t>(at) + size + kPage - 1) / kPage * kPage - begin) {}
  const uintptr_t begin;
  const uint64_t bytes;
};

std::string InWords(uint64_t bytes) {
  if (bytes < uint64_t{1} << 20)
    return absl::StrFormat("%.1f KiB", static_cast<double>(bytes) / 1024);
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

Budget::Budget(std::string owner, uint64_t most_bytes)
    : owner_(std::move(owner)), most_bytes_(most_bytes) {}

void Budget::set_granted(std::shared_ptr<const SharedAtomic<uint64_t>> granted, Ask ask) {
  granted_ = std::move(granted);
  ask_ = std::move(ask);
}

uint64_t Budget::granted_bytes() const {
  const uint64_t granted = granted_ == nullptr ? 0 : granted_->load(std::memory_order_relaxed);
  return granted == 0 ? std::numeric_limits<uint64_t>::max() : granted;
}

uint64_t Budget::limit_bytes() const { return std::min(granted_bytes(), most_bytes_); }

void Budget::AskFor(uint64_t bytes) {
  if (ask_ == nullptr) return;
  const int64_t now = CoarseTime();
  int64_t before = asked_at_.load(std::memory_order_relaxed);
  if (before != 0 && now - before < kBetweenAsks) return;
  if (!asked_at_.compare_exchange_strong(before, now)) return;
  const uint64_t used = used_bytes();
  told_.store(used, std::memory_order_relaxed);
  ask_(used, bytes);
}

bool Budget::Take(uint64_t bytes) {
  const uint64_t limit = limit_bytes();
  uint64_t used = used_bytes();
  do {
    if (used > limit || bytes > limit - used) {
      AskFor(bytes);
      return false;
    }
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  const uint64_t left = limit - used - bytes;
  if (left < bytes || left < used / 8) AskFor(bytes);
  return true;
}

void Budget::Return(uint64_t bytes) {
  const uint64_t used = used_.fetch_sub(bytes, std::memory_order_relaxed) - bytes;
  // So that others may have it.
  if (used < told_.load(std::memory_order_relaxed) / 2) AskFor(0);
}

absl::Status Budget::CheckRoom(uint64_t bytes, const std::string& what_for) {
  // Whoever was asked for more may give it in a moment.
  const absl::Time until = absl::Now() + kPatience;
  do {
    if (Take(bytes)) {
      Return(bytes);
      return absl::OkStatus();
    }
    if (ask_ == nullptr) break;
    absl::SleepFor(absl::Milliseconds(1));
  } while (absl::Now() < until);
  return absl::ResourceExhaustedError(
      absl::StrCat("no shared memory for ", what_for, ": ", Describe()));
}

std::string Budget::Describe() const {
  const uint64_t limit = limit_bytes();
  const std::string use =
      absl::StrCat(owner_, " has reserved ", InWords(used_bytes()), " of its ", InWords(limit),
                   "; receive what waits, close what is not "
                   "needed, or raise ");
  if (limit == most_bytes_) {
    return absl::StrCat(use, "the memory limit of its cgroup, of which that is half");
  }
  return absl::StrCat(use, "the agent's --memory-bytes or --process-memory-bytes");
}

bool BudgetReserve::Count(size_t bytes) {
  kernel_has_none_.store(false, std::memory_order_relaxed);
  if (!budget_->Take(bytes)) return false;
  counted_.fetch_add(bytes, std::memory_order_relaxed);
  return true;
}

bool BudgetReserve::Provide(char* at, size_t bytes) {
  const Pages pages(at, bytes);
  Step();
  // As fallocate, which needs a descriptor, and these are closed once the memory is mapped; and
  // nothing is left to fault in. EINVAL: a kernel that does not know it.
  const bool done =
      madvise(reinterpret_cast<void*>(pages.begin), pages.bytes, MADV_POPULATE_WRITE) == 0 ||
      errno == EINVAL;
  kernel_has_none_.store(!done, std::memory_order_relaxed);
  return done;
}

bool BudgetReserve::Take(char* at, size_t bytes) {
  const Pages pages(at, bytes);
  if (!Count(pages.bytes)) return false;
  if (Provide(at, bytes)) return true;
  counted_.fetch_sub(pages.bytes, std::memory_order_relaxed);
  budget_->Return(pages.bytes);
  return false;
}

void BudgetReserve::Force(char* at, size_t bytes) {
  const Pages pages(at, bytes);
  budget_->Force(pages.bytes);
  counted_.fetch_add(pages.bytes, std::memory_order_relaxed);
  Provide(at, bytes);
}

std::string BudgetReserve::Why() const {
  if (!kernel_has_none_.load(std::memory_order_relaxed)) return budget_->Describe();
  return "the kernel has none; end other programs, or allow more overcommitted memory";
}

std::shared_ptr<Reserve> ReserveOf(const std::shared_ptr<Budget>& budget) {
  return budget == nullptr ? nullptr : std::make_shared<BudgetReserve>(budget);
}

}  // namespace mailrail
