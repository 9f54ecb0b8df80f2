#include "tests/support/locks.h"

#include <thread>

#include "tests/support/eventually.h"
#include "tests/support/party.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

using party::LockCall;

absl::Status Note(const absl::StatusOr<Grant>& grant, party::LockResult* result) {
  if (!grant.ok()) return grant.status();
  result->set_fence(grant->fence);
  result->set_owner_died(grant->owner_died);
  return absl::OkStatus();
}

OpenOptions OptionsOf(const LockCall& call) {
  return {.create = !call.must_exist(), .transient = call.transient()};
}

}  // namespace

// A thread that does one thing after the other.
class Locks::Actor {
 public:
  Actor() : thread_([this] { Work(); }) {}
  ~Actor() {
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
    }
    thread_.join();
  }

  void Run(std::function<void()> what) {
    absl::MutexLock lock(&mutex_);
    Require(!what_, "one call at a time of a thread");
    what_ = std::move(what);
    mutex_.Await(absl::Condition(
        +[](Actor* self) { return !self->what_; }, this));
  }

 private:
  void Work() {
    absl::MutexLock lock(&mutex_);
    while (true) {
      mutex_.Await(absl::Condition(
          +[](Actor* self) { return self->what_ || self->ended_; }, this));
      if (ended_) return;
      mutex_.Unlock();
      what_();
      mutex_.Lock();
      what_ = nullptr;
    }
  }

  absl::Mutex mutex_;
  std::function<void()> what_;  // not changed while it runs
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Locks::Locks(Process* process) : process_(process) {}
Locks::~Locks() = default;

void Locks::On(uint32_t thread, std::function<void()> what) {
  Actor* actor;
  {
    absl::MutexLock lock(&mutex_);
    std::unique_ptr<Actor>& found = actors_[thread];
    if (found == nullptr) found = std::make_unique<Actor>();
    actor = found.get();
  }
  actor->Run(std::move(what));
}

absl::StatusOr<Locks::Object*> Locks::Find(const LockCall& call) {
  const absl::Time deadline = Patience();
  const std::pair<int, std::string> key = {call.kind(), call.name()};
  {
    absl::MutexLock lock(&mutex_);
    const auto found = objects_.find(key);
    if (found != objects_.end()) return found->second.get();
  }
  absl::Status status;
  auto object = std::make_unique<Object>();
  const auto keep = [&](auto opened) {
    status = opened.status();
    if (opened.ok()) *object = *std::move(opened);
  };
  switch (call.kind()) {
    case LockCall::MUTEX:
      keep(Mutex::Open(*process_, call.name(), OptionsOf(call), deadline));
      break;
    case LockCall::SHARED_MUTEX:
      keep(SharedMutex::Open(*process_, call.name(), OptionsOf(call), deadline));
      break;
    case LockCall::SEMAPHORE:
      keep(Semaphore::Open(
          *process_, call.name(),
          {.units = call.units(), .most_units = call.most(), .open = OptionsOf(call)}, deadline));
      break;
    case LockCall::CONDITION:
      keep(Condition::Open(*process_, call.name(), OptionsOf(call), deadline));
      break;
    case LockCall::BARRIER:
      keep(Barrier::Open(*process_, call.name(), call.most(), OptionsOf(call), deadline));
      break;
    default:
      Require(false, "a kind that is not known");
  }
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  return (objects_[key] = std::move(object)).get();
}

absl::Status Locks::Acquire(const LockCall& call, Semaphore& semaphore, absl::Time deadline,
                            party::LockResult* result) {
  absl::StatusOr<Semaphore::Permit> permit = semaphore.Acquire(deadline);
  if (!permit.ok()) return permit.status();
  result->set_fence(permit->fence());
  absl::MutexLock lock(&mutex_);
  permits_.emplace(call.name(), *std::move(permit));
  return absl::OkStatus();
}

absl::Status Locks::Release(const LockCall& call) {
  absl::MutexLock lock(&mutex_);
  const auto permit = permits_.find(call.name());
  Require(permit != permits_.end(), "no unit is held");
  return permits_.extract(permit).mapped().Release();
}

absl::Status Locks::Carry(const LockCall& call, Object& object, absl::Time deadline,
                          party::LockResult* result) {
  switch (call.what()) {
    case LockCall::OPEN:
      return absl::OkStatus();
    case LockCall::LOCK:
      return call.kind() == LockCall::MUTEX
                 ? Note(std::get<Mutex>(object).Lock(deadline), result)
                 : Note(std::get<SharedMutex>(object).Lock(deadline), result);
    case LockCall::UNLOCK:
      return call.kind() == LockCall::MUTEX ? std::get<Mutex>(object).Unlock()
                                            : std::get<SharedMutex>(object).Unlock();
    case LockCall::LOCK_SHARED:
      return Note(std::get<SharedMutex>(object).LockShared(deadline), result);
    case LockCall::UNLOCK_SHARED:
      return std::get<SharedMutex>(object).UnlockShared();
    case LockCall::ACQUIRE:
      return Acquire(call, std::get<Semaphore>(object), deadline, result);
    case LockCall::RELEASE:
      return Release(call);
    case LockCall::POST:
      return std::get<Semaphore>(object).Post();
    case LockCall::VALUE:
      if (call.kind() == LockCall::MUTEX) {
        result->set_value(std::get<Mutex>(object).HeldByThisThread());
        return absl::OkStatus();
      }
      result->set_value(call.kind() == LockCall::BARRIER ? std::get<Barrier>(object).waiting()
                                                         : std::get<Semaphore>(object).value());
      return absl::OkStatus();
    case LockCall::WAIT: {
      if (call.kind() == LockCall::SEMAPHORE) return std::get<Semaphore>(object).Wait(deadline);
      if (call.kind() == LockCall::BARRIER) {
        const absl::StatusOr<uint32_t> round = std::get<Barrier>(object).Wait(deadline);
        if (round.ok()) result->set_value(*round);
        return round.status();
      }
      LockCall mutex;
      mutex.set_kind(LockCall::MUTEX);
      mutex.set_name(call.mutex());
      const absl::StatusOr<Object*> found = Find(mutex);
      if (!found.ok()) return found.status();
      Grant grant;
      const absl::Status status =
          std::get<Condition>(object).Wait(std::get<Mutex>(**found), deadline, &grant);
      result->set_fence(grant.fence);
      result->set_owner_died(grant.owner_died);
      return status;
    }
    case LockCall::NOTIFY_ONE:
      return std::get<Condition>(object).NotifyOne();
    case LockCall::NOTIFY_ALL:
      return std::get<Condition>(object).NotifyAll();
    default:
      Require(false, "a call that is not known");
  }
  return absl::OkStatus();
}

party::LockResult Locks::Do(const LockCall& call, absl::Time deadline) {
  party::LockResult result;
  absl::Status status;
  if (call.what() == LockCall::CLOSE) {
    absl::MutexLock lock(&mutex_);
    objects_.erase({call.kind(), call.name()});
  } else if (call.what() == LockCall::DESTROY) {
    switch (call.kind()) {
      case LockCall::SHARED_MUTEX:
        status = SharedMutex::Destroy(*process_, call.name(), deadline);
        break;
      case LockCall::SEMAPHORE:
        status = Semaphore::Destroy(*process_, call.name(), deadline);
        break;
      case LockCall::CONDITION:
        status = Condition::Destroy(*process_, call.name(), deadline);
        break;
      case LockCall::BARRIER:
        status = Barrier::Destroy(*process_, call.name(), deadline);
        break;
      default:
        status = Mutex::Destroy(*process_, call.name(), deadline);
    }
  } else {
    const absl::StatusOr<Object*> object = Find(call);
    status = object.ok() ? Carry(call, **object, deadline, &result) : object.status();
  }
  *result.mutable_status() = ToProto(status);
  return result;
}

}  // namespace mailrail
