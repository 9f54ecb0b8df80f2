#ifndef MAILRAIL_CORE_OBJECTS_WAITING_H_
#define MAILRAIL_CORE_OBJECTS_WAITING_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/objects/sync_object.h"
#include "core/shm/futex.h"

namespace mailrail::internal {

// One wait of the calling thread for an object. From the first moment on it looks again and again
// for a while, if that has paid lately; then it sleeps, each time for kLookAgain at most. After 10
// ms, and then every second, it tells the agent, which keeps the graph of who waits for whom, and
// frees what is held by who has gone.
class Waiting {
 public:
  // What the agent is told of it: nothing; all; or that this thread waits whatever the agent says,
  // which then refuses others.
  enum class Told { kNothing, kAll, kMust };

  // `shared`: it waits to read.
  Waiting(SyncObject* object, Told told, bool shared, absl::Time deadline)
      : object_(object), told_(told), shared_(shared), deadline_(deadline) {}
  ~Waiting();

  // Whether it has slept: others may sleep still.
  bool has_slept() const { return has_slept_; }

  // Whether to look again at once, after a pause.
  bool Spin();

  // Sleeps on `word`, if that is as it was, and until then tells the agent if it is time to. OK:
  // look again. kDeadlineExceeded at once when `deadline` has passed; else as in mailrail/sync.h.
  absl::Status Sleep(FutexWord word);

 private:
  absl::Status TellAgent(absl::Time now);

  SyncObject* const object_;
  const Told told_;
  const bool shared_;
  const absl::Time deadline_;
  int looks_ = 0;
  bool has_slept_ = false;
  bool registered_ = false;  // the agent may know of it
  bool answers_ = true;      // it has answered last
  absl::Time checked_;       // that this process is attached
  absl::Time tell_at_;
};

// Attempts until one succeeds: `attempt(has_slept)` says whether it did; `park()` announces that
// somebody will sleep, and is the word to sleep on; `give_up()` is called when somebody has slept
// who has not got it, and might have been woken in another's place.
template <typename Attempt, typename Park, typename GiveUp>
absl::Status Await(Waiting* waiting, Attempt attempt, Park park, GiveUp give_up) {
  while (waiting->Spin()) {
    if (attempt(false)) return absl::OkStatus();
  }
  while (true) {
    const FutexWord word = park();
    if (attempt(waiting->has_slept())) return absl::OkStatus();
    if (absl::Status status = waiting->Sleep(word); !status.ok()) {
      if (waiting->has_slept()) give_up();
      return status;
    }
  }
}

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_OBJECTS_WAITING_H_
