// Something that is held, or waited at, by the victim and by those who live on.
#ifndef MAILRAIL_TESTS_KILL_HOLDS_H_
#define MAILRAIL_TESTS_KILL_HOLDS_H_

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <thread>

#include "mailrail/mailrail.h"
#include "tests/kill/scenario.h"

namespace mailrail {

// What is held, and how. All open the same object of each kind, which goes when nobody has it open.
enum class Hold { kMutex, kMutexInSet, kWrite, kRead, kUnit };

// The next who has what was held so is told when its holder has died.
inline bool TellsOfDeath(Hold hold) { return hold != Hold::kRead && hold != Hold::kUnit; }

// How one process gets it, and lets it go again. A unit has no owner to be told of.
struct Way {
  std::function<absl::StatusOr<Grant>(absl::Time deadline)> get;
  std::function<absl::Status()> put;
};
absl::StatusOr<Way> OpenWay(Process& process, Hold hold);

// In the victim: from now on waits of this thread sleep at once, rather than look again and again,
// each of which would be a step.
void SleepAtOnce(Process& process);

// A thread of the driver, which does what may wait. The driver's own thread never waits for an
// object: whether that has found it of use to look before it sleeps, victims would inherit.
class Beside {
 public:
  explicit Beside(std::function<void()> body);
  ~Beside() { thread_.join(); }

  bool done() const { return done_; }
  // Until it sleeps, or is done.
  void WaitUntilAsleep() const;

 private:
  std::atomic<pid_t> tid_ = 0;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// Whether a thread sleeps, is stopped or has ended, by its file `stat` below /proc.
bool IsStill(const std::string& stat_file);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_HOLDS_H_
