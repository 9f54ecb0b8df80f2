// Tells ThreadSanitizer about the locks of Abseil.
//
// Debian's libabsl_*.so are compiled without it, so it would see no lock at all and report a race
// on everything that an absl::Mutex guards. The functions here take the place of the library's
// (the dynamic linker prefers the program's), call them, and say what they did. They are linked
// into every binary and test of --config=tsan, and into nothing else.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/base/options.h"
#include "absl/status/status.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/internal/kernel_timeout.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);

// gRPC and Protobuf hand memory between threads by atomics of their own, which are not seen.
const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\n"
         "race:libgrpc++.so\n"
         "race:libgpr.so\n"
         "race:libprotobuf.so\n"
         "mutex:libgrpc.so\n"
         "deadlock:libgrpc.so\n";
}
}

namespace absl {
ABSL_NAMESPACE_BEGIN
namespace {

using synchronization_internal::KernelTimeout;

#define TSAN_ABSL_STRING_(x) #x
#define TSAN_ABSL_STRING(x) TSAN_ABSL_STRING_(x)

// The library's own function of a mangled name, given without its start ("_ZN4absl7debian3"). A
// member function is called as a function whose first argument is the object. `qualifier` is "K"
// for a const member function.
template <typename Function>
Function* Library(const std::string& name, const char* qualifier = "") {
  const std::string space = TSAN_ABSL_STRING(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  const std::string symbol =
      std::string("_ZN") + qualifier + "4absl" + std::to_string(space.size()) + space + name;
  void* function = dlsym(RTLD_NEXT, symbol.c_str());
  if (function == nullptr) {
    std::fprintf(stderr, "tsan_absl: this Abseil has no %s\n", symbol.c_str());
    std::abort();
  }
  return reinterpret_cast<Function*>(function);
}

constexpr unsigned kExclusive = 0;
constexpr unsigned kShared = __tsan_mutex_read_lock;

void Acquired(Mutex* mu, unsigned flags) {
  __tsan_mutex_pre_lock(mu, flags);
  __tsan_mutex_post_lock(mu, flags, 0);
}

void Releasing(Mutex* mu, unsigned flags) {
  __tsan_mutex_pre_unlock(mu, flags);
  __tsan_mutex_post_unlock(mu, flags);
}

// ThreadSanitizer looks for lock cycles itself, and would mistake the library's search for a race.
const bool deadlock_detection_off = [] {
  SetMutexDeadlockDetectionMode(OnDeadlockCycle::kIgnore);
  return true;
}();

unsigned HowHeld(intptr_t mutex_word) {
  constexpr intptr_t kMuWriter = 8;
  return (mutex_word & kMuWriter) != 0 ? kExclusive : kShared;
}

}  // namespace

Mutex::~Mutex() {
  static const auto library = Library<void(Mutex*)>("5MutexD1Ev");
  __tsan_mutex_destroy(this, __tsan_mutex_not_static);
  library(this);
}

void Mutex::Lock() {
  static const auto library = Library<void(Mutex*)>("5Mutex4LockEv");
  library(this);
  Acquired(this, kExclusive);
}

void Mutex::Unlock() {
  static const auto library = Library<void(Mutex*)>("5Mutex6UnlockEv");
  Releasing(this, kExclusive);
  library(this);
}

bool Mutex::TryLock() {
  static const auto library = Library<bool(Mutex*)>("5Mutex7TryLockEv");
  const bool locked = library(this);
  if (locked) Acquired(this, kExclusive | __tsan_mutex_try_lock);
  return locked;
}

void Mutex::ReaderLock() {
  static const auto library = Library<void(Mutex*)>("5Mutex10ReaderLockEv");
  library(this);
  Acquired(this, kShared);
}

void Mutex::ReaderUnlock() {
  static const auto library = Library<void(Mutex*)>("5Mutex12ReaderUnlockEv");
  Releasing(this, kShared);
  library(this);
}

bool Mutex::ReaderTryLock() {
  static const auto library = Library<bool(Mutex*)>("5Mutex13ReaderTryLockEv");
  const bool locked = library(this);
  if (locked) Acquired(this, kShared | __tsan_mutex_try_lock);
  return locked;
}

void Mutex::LockWhen(const Condition& cond) {
  static const auto library =
      Library<void(Mutex*, const Condition&)>("5Mutex8LockWhenERKNS0_9ConditionE");
  library(this, cond);
  Acquired(this, kExclusive);
}

bool Mutex::LockWhenWithDeadline(const Condition& cond, Time deadline) {
  static const auto library = Library<bool(Mutex*, const Condition&, Time)>(
      "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const bool result = library(this, cond, deadline);
  Acquired(this, kExclusive);
  return result;
}

bool Mutex::LockWhenWithTimeout(const Condition& cond, Duration timeout) {
  return LockWhenWithDeadline(cond, Now() + timeout);
}

void Mutex::ReaderLockWhen(const Condition& cond) {
  static const auto library =
      Library<void(Mutex*, const Condition&)>("5Mutex14ReaderLockWhenERKNS0_9ConditionE");
  library(this, cond);
  Acquired(this, kShared);
}

bool Mutex::ReaderLockWhenWithDeadline(const Condition& cond, Time deadline) {
  static const auto library = Library<bool(Mutex*, const Condition&, Time)>(
      "5Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const bool result = library(this, cond, deadline);
  Acquired(this, kShared);
  return result;
}

bool Mutex::ReaderLockWhenWithTimeout(const Condition& cond, Duration timeout) {
  return ReaderLockWhenWithDeadline(cond, Now() + timeout);
}

// What Await(), AwaitWithTimeout() and AwaitWithDeadline() call to wait.
bool Mutex::AwaitCommon(const Condition& cond, KernelTimeout timeout) {
  static const auto library = Library<bool(Mutex*, const Condition&, KernelTimeout)>(
      "5Mutex11AwaitCommonERKNS0_9ConditionENS0_24synchronization_internal13KernelTimeoutE");
  const unsigned how = HowHeld(mu_.load(std::memory_order_relaxed));
  Releasing(this, how);
  const bool result = library(this, cond, timeout);
  Acquired(this, how);
  return result;
}

// Any thread that unlocks the mutex may evaluate what others wait for. It holds the mutex as it
// does, but the waiting thread's own variables were not handed over to it: look away.
bool Condition::Eval() const {
  static const auto library = Library<bool(const Condition*)>("9Condition4EvalEv", "K");
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  const bool result = library(this);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  return result;
}

// What Wait(), WaitWithTimeout() and WaitWithDeadline() call.
bool CondVar::WaitCommon(Mutex* mu, KernelTimeout timeout) {
  static const auto library = Library<bool(CondVar*, Mutex*, KernelTimeout)>(
      "7CondVar10WaitCommonEPNS0_5MutexENS0_24synchronization_internal13KernelTimeoutE");
  const unsigned how = HowHeld(mu->mu_.load(std::memory_order_relaxed));
  Releasing(mu, how);
  const bool result = library(this, mu, timeout);
  Acquired(mu, how);
  return result;
}

// A Notification and a BlockingCounter have a fast path without a lock.

void Notification::Notify() {
  static const auto library = Library<void(Notification*)>("12Notification6NotifyEv");
  __tsan_release(&notified_yet_);
  library(this);
}

void Notification::WaitForNotification() const {
  static const auto library =
      Library<void(const Notification*)>("12Notification19WaitForNotificationEv", "K");
  library(this);
  (void)HasBeenNotified();  // An acquire that is seen, as below.
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  return WaitForNotificationWithDeadline(Now() + timeout);
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  static const auto library = Library<bool(const Notification*, Time)>(
      "12Notification31WaitForNotificationWithDeadlineENS0_4TimeE", "K");
  const bool notified = library(this, deadline);
  (void)HasBeenNotified();
  return notified;
}

bool BlockingCounter::DecrementCount() {
  static const auto library =
      Library<bool(BlockingCounter*)>("15BlockingCounter14DecrementCountEv");
  __tsan_release(&count_);
  const bool last = library(this);
  if (last) __tsan_acquire(&count_);
  return last;
}

void BlockingCounter::Wait() {
  static const auto library = Library<void(BlockingCounter*)>("15BlockingCounter4WaitEv");
  library(this);
  __tsan_acquire(&count_);
}

// The last user of a Status deletes what all its copies share.
void Status::UnrefNonInlined(uintptr_t rep) {
  static const auto library = Library<void(uintptr_t)>("6Status15UnrefNonInlinedEm");
  __tsan_release(reinterpret_cast<void*>(rep));
  __tsan_acquire(reinterpret_cast<void*>(rep));
  library(rep);
}

ABSL_NAMESPACE_END
}  // namespace absl
