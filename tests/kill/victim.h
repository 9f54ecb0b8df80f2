#ifndef MAILRAIL_TESTS_KILL_VICTIM_H_
#define MAILRAIL_TESTS_KILL_VICTIM_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace mailrail {

// What happens to a victim at its step.
enum class Strike { kNone, kKill, kStop };

// What a victim and the driver tell each other: memory of their own, which both have since the
// fork, and which outlives the victim.
struct Page {
  enum Phase : uint32_t { kStarting, kReady, kActed, kFinished, kFailed };
  static constexpr uint64_t kMaxReceived = 64;

  std::atomic<uint32_t> phase;
  std::atomic<bool> may_act;
  std::atomic<bool> may_finish;
  std::atomic<uint64_t> steps;
  std::atomic<int64_t> struck_at_ns;  // CLOCK_MONOTONIC
  std::atomic<const void*> where;     // the step stands there
  std::atomic<uint64_t> attempted;    // messages that the victim has begun to send
  std::atomic<uint64_t> told;         // those that it was told OK for
  std::atomic<uint64_t> received;     // how many are in `numbers`
  uint64_t numbers[kMaxReceived];
  std::atomic<uint64_t> expected;  // how many messages it shall have received in the end
  // Of what is held: the victim has it, and has not begun to let it go; it may have it.
  std::atomic<bool> holds;
  std::atomic<bool> may_hold;
  std::atomic<uint64_t> fence;           // the last token that anybody was given
  std::atomic<uint64_t> descriptors[2];  // the victim's
  char id[128];                          // ProcessId of the victim, once it is ready; or empty
  char complaint[512];
};

// A child process that runs a scenario. One thread at a time.
class Victim {
 public:
  // Forks. `body` runs in the child, which ends after it; what it needs of the parent it has
  // copied, but no descriptor above standard error.
  explicit Victim(absl::FunctionRef<void()> body);
  // Kills it, if it lives.
  ~Victim();

  pid_t pid() const { return pid_; }

  enum class State { kRuns, kStopped, kDead };
  State Look();
  void Continue();
  // Waits for its end; the wait status.
  int Wait();

  // The page of the victim that lives, for both sides.
  static Page& page();
  // In the victim: its window is open from Begin to the End.
  static void BeginSteps(uint64_t at, Strike strike);
  static void EndSteps();
  // In the victim: says what is wrong, and ends.
  [[noreturn]] static void Fail(absl::string_view complaint);

 private:
  pid_t pid_ = -1;
  bool dead_ = false;
};

// CLOCK_MONOTONIC in nanoseconds.
int64_t MonotonicNs();

// Waits until this program's thread `tid`, which is not 0, sleeps.
void WaitUntilAsleep(const std::atomic<pid_t>& tid);

// Looks every now and then until `condition` holds; false after ten seconds, which is "at once" for
// this test: nothing here is expected to wait for a victim, and no victim waits for less.
bool Soon(absl::FunctionRef<bool()> condition);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_VICTIM_H_
