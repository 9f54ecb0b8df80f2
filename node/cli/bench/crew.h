#ifndef MAILRAIL_NODE_CLI_BENCH_CREW_H_
#define MAILRAIL_NODE_CLI_BENCH_CREW_H_

#include <stdlib.h>
#include <sys/mman.h>

#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mailrail/process.h"

namespace mailrail::bench {

// Memory that is shared with processes forked later; a T in it is made, never destroyed.
template <typename T>
class SharedWithForks {
 public:
  SharedWithForks() {
    void* const memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();  // as when operator new finds none
    value_ = new (memory) T;
  }
  ~SharedWithForks() { munmap(value_, sizeof(T)); }
  SharedWithForks(const SharedWithForks&) = delete;
  SharedWithForks& operator=(const SharedWithForks&) = delete;

  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

// Where a crew ran.
struct Topology {
  struct Place {
    std::string role;
    int processor = -1;  // -1: the scheduler chose
  };
  std::vector<Place> places;
  int processors = 0;  // how many this program may use
  // "two cores", "one core", "one processor": where the first two are, when all are pinned.
  std::string first_two;
};

// The processes of one measurement: forked, attached, pinned to a processor each (where there are
// enough for all), and started together. The caller takes no part in it. When one of them fails the
// others are killed; so are all when the caller is interrupted or dies.
//
// The first two also measure L, the round trip of a cache line between them, before and after.
class Crew {
 public:
  static constexpr size_t kMaxMembers = 128;

  explicit Crew(AttachOptions options);
  ~Crew();

  // What a member does, in a process of its own. REQUIRES: before Run.
  void Add(const std::string& role, std::function<absl::Status()> work);

  // Where members are left to the scheduler, whatever the number of processors: for measurements
  // in which other programs have a part.
  void DoNotPin() { pin_ = false; }

  // Runs the crew until all members have ended; the first error of a member. kUnavailable when
  // interrupted.
  absl::Status Run();

  Topology topology() const;
  size_t processors() const { return processors_.size(); }

  // In ns, after Run: L at each call of MeasureLine, and the bare futex exchange likewise.
  std::vector<uint32_t> lines_ns() const;
  std::vector<uint32_t> futexes_ns() const;

  // --- For members ---

  // Attaches, pins, and waits until all have. All members call it first.
  absl::StatusOr<Process> Join();

  // Takes part without attaching. A member calls this or Join.
  void JoinWithoutAttaching();

  // The id of the member `index`, after Join.
  ProcessId IdOf(size_t index) const;

  // Waits for all members to call it.
  void Meet();

  // Measures L, and a futex exchange if `futex`. All members call it.
  void MeasureLine(bool futex = false);

 private:
  struct Shared;
  struct Member {
    std::string role;
    std::function<absl::Status()> work;
  };

  absl::Status RunMember(size_t index);
  void Pin(bool whatever);

  const AttachOptions options_;
  const std::vector<int> processors_;
  std::vector<Member> members_;
  bool pin_ = true;
  std::unique_ptr<SharedWithForks<Shared>> shared_;
  // A member's own.
  size_t self_ = 0;
  uint32_t meetings_ = 0;
};

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_CREW_H_
