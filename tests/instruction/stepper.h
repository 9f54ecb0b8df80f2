#ifndef MAILRAIL_TESTS_INSTRUCTION_STEPPER_H_
#define MAILRAIL_TESTS_INSTRUCTION_STEPPER_H_

#include <sys/types.h>

#include <memory>

#include "absl/functional/function_ref.h"

namespace mailrail {

// Makes a copy of this process, which has one thread. Unlike a fork's child it does not know that
// it is one: it may go on with everything, as if the first one had never been. Returns 0 in the
// copy, which dies with this process, and its pid here.
pid_t CopyProcess();

// A copy of this process that calls a function, one instruction at a time. One thread at a time.
class SteppedProcess {
 public:
  enum class State {
    kInFunction,
    kBeforeSleep,  // the next instruction would wait for a futex
    kReturned,     // from the function
    kFailed,       // killed by a signal, or refused
  };

  // Stands before the function. `after`: what it does then, at full speed, before it ends.
  SteppedProcess(absl::FunctionRef<void()> function, absl::FunctionRef<void()> after);
  ~SteppedProcess() { Kill(); }
  SteppedProcess(const SteppedProcess&) = delete;
  SteppedProcess& operator=(const SteppedProcess&) = delete;

  // Whether processes may step others here.
  static bool Allowed();

  State state() const { return state_; }
  // Executes one instruction. REQUIRES: kInFunction.
  void Step();
  // Goes on at full speed until the function has returned at whose first instruction it stands, or
  // until it would sleep there. REQUIRES: kInFunction; not in a function of this program.
  void StepOut();
  // A copy of it as it stands, with the same shared memory. REQUIRES: kInFunction.
  std::unique_ptr<SteppedProcess> Copy();
  // Lets it go on at full speed until it has ended (kReturned), or would sleep at a word that has
  // not changed (kBeforeSleep).
  void Finish();
  // Dead when this returns.
  void Kill();

  // The next instruction. REQUIRES: kInFunction or kBeforeSleep.
  const void* at() const;

 private:
  SteppedProcess() = default;

  // Whether the next instruction is a system call that waits for a futex.
  bool BeforeWait() const;
  // Goes on until a signal or the end, whose wait status it returns; or until it would sleep, at a
  // word that has not changed: then state_ is kBeforeSleep.
  int GoOn();
  // Waits for a change; its wait status.
  int Wait();

  pid_t pid_ = -1;
  State state_ = State::kFailed;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_INSTRUCTION_STEPPER_H_
