#ifndef MAILRAIL_CORE_PROCESS_WAITABLE_H_
#define MAILRAIL_CORE_PROCESS_WAITABLE_H_

#include "absl/time/time.h"
#include "core/shm/futex.h"

namespace mailrail::internal {

// What can be a member of a wait set: something that is ready or not, and changes a word that can
// be slept on when it becomes so.
//
// Thread-safe from Join to the Leave that undoes it, but for those two: threads of the library look
// at it beside the one that uses it.
class Waitable {
 public:
  virtual ~Waitable() = default;

  // It becomes a member of a set, or is one no more. By the thread that uses it.
  virtual void Join() = 0;
  virtual void Leave() = 0;

  // Whether whoever waits for it is to be told now.
  virtual bool Ready() = 0;

  // Announces a sleep: look at Ready() again before sleeping on the word. `*longest` is lowered to
  // how long that sleep may be at most.
  virtual FutexWord Park(absl::Duration* longest) = 0;

  // Whoever waits was told that it is ready.
  virtual void Told() {}
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_WAITABLE_H_
