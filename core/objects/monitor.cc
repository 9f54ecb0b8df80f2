#include "mailrail/monitor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/objects/sync_object.h"
#include "core/objects/waiting.h"
#include "core/sync/condition_memory.h"

namespace mailrail {

using internal::SyncObject;
using internal::Waiting;

Condition::Condition(std::shared_ptr<SyncObject> object) : object_(std::move(object)) {}
Condition::Condition(Condition&&) noexcept = default;
Condition& Condition::operator=(Condition&&) noexcept = default;
Condition::~Condition() = default;

absl::StatusOr<Condition> Condition::Open(Process& process, absl::string_view name,
                                          const OpenOptions& options, absl::Time deadline) {
  absl::StatusOr<std::shared_ptr<SyncObject>> object =
      SyncObject::Open(process, name, {SyncKind::kCondition}, options, deadline);
  if (!object.ok()) return object.status();
  return Condition(*std::move(object));
}

absl::Status Condition::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return SyncObject::Destroy(process, name, SyncKind::kCondition, deadline);
}

namespace {

// Unlocks the mutex and waits for a notification; `*unlocked` is whether it has unlocked it.
absl::Status AwaitHere(SyncObject* object, Mutex& mutex, absl::Time deadline, bool* unlocked) {
  ConditionMemory memory = object->As<ConditionMemory>();
  const Holder me = object->ThisThread();
  *unlocked = false;
  uint32_t place = 0;
  if (!memory.Enlist(me, &place)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "at the condition '", object->name(), "' wait ", ConditionMemory::kWaiters, " already"));
  }
  if (absl::Status status = mutex.Unlock(); !status.ok()) {
    // Handed on, if it was notified.
    if (memory.Leave(me, place)) memory.NotifyOne();
    return status;
  }
  *unlocked = true;
  bool notified = false;
  Waiting waiting(object, Waiting::Told::kNothing, /*shared=*/false, deadline);
  absl::Status status = internal::Await(
      &waiting, [&](bool) { return memory.closed() || (notified = memory.Notified(me, place)); },
      [&] { return memory.Park(place); }, [] {});
  if (!notified && memory.Leave(me, place)) notified = true;
  if (notified) status = absl::OkStatus();
  return status.ok() && !notified ? object->Destroyed() : status;
}

// The same of a condition of another node.
absl::Status AwaitFar(SyncObject* object, Mutex& mutex, absl::Time deadline, bool* unlocked) {
  *unlocked = false;
  absl::Status why;
  const absl::StatusOr<bool> notified = object->far()->AwaitNotify(
      [&] {
        absl::Status status = mutex.Unlock();
        *unlocked = status.ok();
        return status;
      },
      deadline, &why);
  if (!notified.ok()) return notified.status();
  return *notified ? absl::OkStatus() : why;
}

}  // namespace

absl::Status Condition::Wait(Mutex& mutex, absl::Time deadline, Grant* grant) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (!mutex.HeldByThisThread()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this thread does not have the mutex '", mutex.object_->name(), "'"));
  }
  bool unlocked = true;
  const absl::Status status = object_->far() != nullptr
                                  ? AwaitFar(object_.get(), mutex, deadline, &unlocked)
                                  : AwaitHere(object_.get(), mutex, deadline, &unlocked);
  if (!unlocked) return status;
  const absl::StatusOr<Grant> again = mutex.LockAgain();
  // Not the status of a wait that has ended and has the mutex.
  if (absl::IsDeadlineExceeded(again.status())) {
    return absl::UnavailableError(again.status().message());
  }
  if (!again.ok()) return again.status();
  if (grant != nullptr) *grant = {again->fence, again->owner_died || grant->owner_died};
  return status;
}

absl::Status Condition::WaitUntil(Mutex& mutex, absl::FunctionRef<bool()> until,
                                  absl::Time deadline, Grant* grant) {
  while (!until()) {
    const absl::Status status = Wait(mutex, deadline, grant);
    if (status.ok()) continue;
    // It may have become true without a notification; who does not have the mutex may not ask.
    if (absl::IsDeadlineExceeded(status) && until()) return absl::OkStatus();
    return status;
  }
  return absl::OkStatus();
}

absl::Status Condition::NotifyOne() {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Notify(SyncOp::kNotifyOne);
  object_->As<ConditionMemory>().NotifyOne();
  return absl::OkStatus();
}

absl::Status Condition::NotifyAll() {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Notify(SyncOp::kNotifyAll);
  object_->As<ConditionMemory>().NotifyAll();
  return absl::OkStatus();
}

absl::StatusOr<Monitor> Monitor::Open(Process& process, absl::string_view name,
                                      const std::vector<std::string>& conditions,
                                      const OpenOptions& options, absl::Time deadline) {
  absl::StatusOr<Mutex> mutex = Mutex::Open(process, name, options, deadline);
  if (!mutex.ok()) return mutex.status();
  // `name@node`: the condition's part goes before the node's.
  const size_t at = std::min(name.find('@'), name.size());
  std::vector<Condition> opened;
  for (const std::string& condition : conditions) {
    absl::StatusOr<Condition> open =
        Condition::Open(process, absl::StrCat(name.substr(0, at), ".", condition, name.substr(at)),
                        options, deadline);
    if (!open.ok()) return open.status();
    opened.push_back(*std::move(open));
  }
  return Monitor(std::make_unique<Mutex>(*std::move(mutex)), std::move(opened));
}

absl::StatusOr<Monitor::Entry> Monitor::Enter(absl::Time deadline) {
  absl::StatusOr<MutexLock> lock = MutexLock::Acquire(*mutex_, deadline);
  if (!lock.ok()) return lock.status();
  return Entry(this, *std::move(lock));
}

absl::StatusOr<Condition*> Monitor::Entry::Find(size_t condition) {
  if (condition < monitor_->conditions_.size()) return &monitor_->conditions_[condition];
  return absl::InvalidArgumentError(absl::StrCat("this monitor has ", monitor_->conditions_.size(),
                                                 " conditions: there is no ", condition));
}

absl::Status Monitor::Entry::Wait(size_t condition, absl::Time deadline) {
  const absl::StatusOr<Condition*> found = Find(condition);
  if (!found.ok()) return found.status();
  return (*found)->Wait(*monitor_->mutex_, deadline, &grant_);
}

absl::Status Monitor::Entry::WaitUntil(size_t condition, absl::FunctionRef<bool()> until,
                                       absl::Time deadline) {
  const absl::StatusOr<Condition*> found = Find(condition);
  if (!found.ok()) return found.status();
  return (*found)->WaitUntil(*monitor_->mutex_, until, deadline, &grant_);
}

absl::Status Monitor::Entry::NotifyOne(size_t condition) {
  const absl::StatusOr<Condition*> found = Find(condition);
  return found.ok() ? (*found)->NotifyOne() : found.status();
}

absl::Status Monitor::Entry::NotifyAll(size_t condition) {
  const absl::StatusOr<Condition*> found = Find(condition);
  return found.ok() ? (*found)->NotifyAll() : found.status();
}

}  // namespace mailrail
