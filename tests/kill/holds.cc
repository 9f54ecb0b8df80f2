#include "tests/kill/holds.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

constexpr OpenOptions kTransient = {.create = true, .transient = true};

// Waits for `mutex` as a member of a set.
absl::StatusOr<Grant> LockInSet(Process& process, Mutex& mutex, absl::Time deadline) {
  WaitSet set(process);
  if (absl::Status status = set.Add(1, mutex); !status.ok()) return status;
  while (true) {
    if (absl::Status status = set.Wait(deadline).status(); !status.ok()) return status;
    absl::StatusOr<Grant> grant = mutex.TryLock();
    if (!absl::IsDeadlineExceeded(grant.status())) return grant;
  }
}

absl::StatusOr<Way> MutexWay(Process& process, bool in_set) {
  absl::StatusOr<Mutex> opened = Mutex::Open(process, "kill.mutex", kTransient);
  if (!opened.ok()) return opened.status();
  const auto mutex = std::make_shared<Mutex>(*std::move(opened));
  const auto get = [mutex, in_set, &process](absl::Time deadline) {
    return in_set ? LockInSet(process, *mutex, deadline) : mutex->Lock(deadline);
  };
  return Way{get, [mutex] { return mutex->Unlock(); }};
}

absl::StatusOr<Way> SharedWay(Process& process, bool write) {
  absl::StatusOr<SharedMutex> opened = SharedMutex::Open(process, "kill.shared", kTransient);
  if (!opened.ok()) return opened.status();
  const auto mutex = std::make_shared<SharedMutex>(*std::move(opened));
  const auto get = [mutex, write](absl::Time deadline) {
    return write ? mutex->Lock(deadline) : mutex->LockShared(deadline);
  };
  return Way{get, [mutex, write] { return write ? mutex->Unlock() : mutex->UnlockShared(); }};
}

absl::StatusOr<Way> UnitWay(Process& process) {
  absl::StatusOr<Semaphore> opened =
      Semaphore::Open(process, "kill.unit", {.units = 1, .most_units = 1, .open = kTransient});
  if (!opened.ok()) return opened.status();
  const auto semaphore = std::make_shared<Semaphore>(*std::move(opened));
  const auto held = std::make_shared<std::optional<Semaphore::Permit>>();
  const auto get = [semaphore, held](absl::Time deadline) -> absl::StatusOr<Grant> {
    absl::StatusOr<Semaphore::Permit> permit = semaphore->Acquire(deadline);
    if (!permit.ok()) return permit.status();
    held->emplace(*std::move(permit));
    return Grant{(*held)->fence(), false};
  };
  return Way{get, [held] { return (*held)->Release(); }};
}

}  // namespace

absl::StatusOr<Way> OpenWay(Process& process, Hold hold) {
  switch (hold) {
    case Hold::kMutex:
      return MutexWay(process, /*in_set=*/false);
    case Hold::kMutexInSet:
      return MutexWay(process, /*in_set=*/true);
    case Hold::kWrite:
      return SharedWay(process, /*write=*/true);
    case Hold::kRead:
      return SharedWay(process, /*write=*/false);
    case Hold::kUnit:
      break;
  }
  return UnitWay(process);
}

void SleepAtOnce(Process& process) {
  absl::StatusOr<Semaphore> never =
      Semaphore::Open(process, "kill.never", {.units = 0, .most_units = 1, .open = kTransient});
  if (!never.ok()) Victim::Fail(never.status().ToString());
  // As often as looking must have been in vain (core/shm/adaptive_spin.h).
  for (int i = 0; i < 4; ++i) {
    if (never->Wait(absl::Now() + absl::Milliseconds(1)).ok()) Victim::Fail("a unit of none");
  }
}

Beside::Beside(std::function<void()> body)
    : thread_([this, body = std::move(body)] {
        tid_ = gettid();
        body();
        done_ = true;
      }) {}

void Beside::WaitUntilAsleep() const {
  Soon([this] {
    return done_ || (tid_ != 0 && IsStill(absl::StrCat("/proc/self/task/", tid_.load(), "/stat")));
  });
}

bool IsStill(const std::string& stat_file) {
  std::ifstream file(stat_file);
  std::string pid, name, state;
  if (!(file >> pid >> name >> state)) return true;
  return state == "S" || state == "T" || state == "t" || state == "Z" || state == "X";
}

}  // namespace mailrail
