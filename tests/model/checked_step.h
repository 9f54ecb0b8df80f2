// Takes the place of core/shm/step.h (and core/base/step.h) where the lanes and the bell are
// compiled for Relacy, by -include: the code is the one that is shipped, but every operation on a
// SharedAtomic is one that Relacy sees, in the order of memory that the code asks for.
#ifndef MAILRAIL_CORE_SHM_STEP_H_
#define MAILRAIL_CORE_SHM_STEP_H_
#define MAILRAIL_CORE_BASE_STEP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <type_traits>

namespace mailrail {
namespace model {

using Where = std::source_location;

// The operations; `where` is in the function that executes them. One thread of a scenario at a time
// (checker.h); what was never written is 0.
uint64_t Load(const void* word, std::memory_order order, const Where& where);
void Store(void* word, uint64_t value, std::memory_order order, const Where& where);
uint64_t Exchange(void* word, uint64_t value, std::memory_order order, const Where& where);
uint64_t FetchAdd(void* word, uint64_t value, std::memory_order order, const Where& where);
uint64_t FetchOr(void* word, uint64_t value, std::memory_order order, const Where& where);
uint64_t FetchAnd(void* word, uint64_t value, std::memory_order order, const Where& where);
bool CompareExchange(void* word, uint64_t* expected, uint64_t desired, std::memory_order order,
                     bool may_fail, const Where& where);
void Fence(std::memory_order order, const Where& where);

// Memory that is not atomic: a write and another access that is not ordered with it are an error.
void WritePlain(const void* from, size_t bytes);
void ReadPlain(const void* from, size_t bytes);

}  // namespace model

inline void Step() {}
inline void StepsOfCopy(char* to, const void*, size_t bytes) { model::WritePlain(to, bytes); }

// As std::atomic; its value is Relacy's, and its address names it.
template <typename T>
class SharedAtomic {
  static_assert(std::is_unsigned_v<T>);
  using Where = model::Where;

 public:
  static constexpr bool is_always_lock_free = true;

  T load(std::memory_order order = std::memory_order_seq_cst,
         const Where& where = Where::current()) const {
    return static_cast<T>(model::Load(this, order, where));
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst,
             const Where& where = Where::current()) {
    model::Store(this, value, order, where);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst,
             const Where& where = Where::current()) {
    return static_cast<T>(model::Exchange(this, value, order, where));
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst,
              const Where& where = Where::current()) {
    return static_cast<T>(model::FetchAdd(this, value, order, where));
  }
  T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst,
             const Where& where = Where::current()) {
    return static_cast<T>(model::FetchOr(this, value, order, where));
  }
  T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst,
              const Where& where = Where::current()) {
    return static_cast<T>(model::FetchAnd(this, value, order, where));
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order order = std::memory_order_seq_cst,
                               const Where& where = Where::current()) {
    return CompareExchange(expected, desired, order, /*may_fail=*/false, where);
  }
  bool compare_exchange_weak(T& expected, T desired,
                             std::memory_order order = std::memory_order_seq_cst,
                             const Where& where = Where::current()) {
    return CompareExchange(expected, desired, order, /*may_fail=*/true, where);
  }

 private:
  bool CompareExchange(T& expected, T desired, std::memory_order order, bool may_fail,
                       const Where& where) {
    uint64_t seen = expected;
    const bool done = model::CompareExchange(this, &seen, desired, order, may_fail, where);
    expected = static_cast<T>(seen);
    return done;
  }

  T unused_;
};

}  // namespace mailrail

// The fence itself, and Relacy's.
#define atomic_thread_fence(order) \
  atomic_thread_fence(order), ::mailrail::model::Fence(order, std::source_location::current())

#endif  // MAILRAIL_CORE_SHM_STEP_H_
