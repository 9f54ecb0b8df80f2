#ifndef MAILRAIL_CORE_SHM_BUDGET_H_
#define MAILRAIL_CORE_SHM_BUDGET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "core/shm/reserve.h"
#include "core/shm/step.h"

namespace mailrail {

// How much shared memory one process may have reserved for what it writes, and how much it has. Who
// grants it may change that at any time, by a word in shared memory; what is reserved already stays
// so. Thread-safe.
class Budget {
 public:
  // Tells whoever grants how much is reserved, and how much more is wanted. Must neither wait nor
  // call back; called rarely, from any thread that reserves or gives back.
  using Ask = std::function<void(uint64_t used_bytes, uint64_t wanted_bytes)>;

  // `owner` is for error messages. `most_bytes`: beside what is granted, since its cgroup's memory
  // limit allows no more.
  Budget(std::string owner, uint64_t most_bytes);

  // Call before it is used. A word that is 0 grants everything.
  void set_granted(std::shared_ptr<const SharedAtomic<uint64_t>> granted, Ask ask);

  // False when that would exceed it. Asks for more then, and when little is left.
  bool Take(uint64_t bytes);
  void Force(uint64_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void Return(uint64_t bytes);

  // kResourceExhausted, in words, when so many bytes cannot be taken now. Waits a moment for
  // whoever grants more.
  absl::Status CheckRoom(uint64_t bytes, const std::string& what_for);

  uint64_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit_bytes() const;
  // How much of it is used, and how to raise it: a part of a sentence.
  std::string Describe() const;

 private:
  uint64_t granted_bytes() const;
  void AskFor(uint64_t bytes);

  const std::string owner_;
  const uint64_t most_bytes_;
  std::shared_ptr<const SharedAtomic<uint64_t>> granted_;
  Ask ask_;
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> told_{0};     // used_ when it was told last
  std::atomic<int64_t> asked_at_{0};  // by the coarse clock, in nanoseconds
};

// Reserves one memory's pages by a budget, which gets back what was counted when this goes.
// Thread-safe.
class BudgetReserve : public Reserve {
 public:
  explicit BudgetReserve(std::shared_ptr<Budget> budget) : budget_(std::move(budget)) {}
  ~BudgetReserve() override { budget_->Return(counted_.load()); }
  BudgetReserve(const BudgetReserve&) = delete;
  BudgetReserve& operator=(const BudgetReserve&) = delete;

  bool Take(char* at, size_t bytes) override;
  bool Count(size_t bytes) override;
  bool Provide(char* at, size_t bytes) override;
  void Force(char* at, size_t bytes) override;
  std::string Why() const override;

 private:
  const std::shared_ptr<Budget> budget_;
  std::atomic<uint64_t> counted_{0};
  std::atomic<bool> kernel_has_none_{false};
};

// A reserve of this budget; null, for everything, when there is no budget.
std::shared_ptr<Reserve> ReserveOf(const std::shared_ptr<Budget>& budget);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_BUDGET_H_
