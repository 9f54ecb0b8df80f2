// What wait_set.h promises of locks, semaphores, barriers and shared values.
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mailrail/shared_value.h"
#include "tests/conformance/lock_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

template <typename T>
std::unique_ptr<T> Opened(absl::StatusOr<T> opened) {
  EXPECT_THAT(opened, IsOk());
  return opened.ok() ? std::make_unique<T>(*std::move(opened)) : nullptr;
}

// A kind of member, and how a party keeps it from being had and lets it go again.
struct Kind {
  const char* name;
  party::LockCall::Kind kind;
  party::LockCall::What take, give;
  // Opens it in a process as a member of a set, and returns how to try to have it; when that is OK
  // it has given it back.
  std::function<std::function<absl::Status()>(Process&, const std::string&, WaitSet*, uint64_t key)>
      add;
};

absl::Status Returned(const absl::StatusOr<Grant>& grant,
                      const std::function<absl::Status()>& back) {
  return grant.ok() ? back() : grant.status();
}

std::function<absl::Status()> AddMutex(Process& process, const std::string& name, WaitSet* set,
                                       uint64_t key) {
  const std::shared_ptr<Mutex> mutex = Opened(Mutex::Open(process, name));
  EXPECT_THAT(set->Add(key, *mutex), IsOk());
  return [mutex] { return Returned(mutex->TryLock(), [&] { return mutex->Unlock(); }); };
}

std::function<absl::Status()> AddToWrite(Process& process, const std::string& name, WaitSet* set,
                                         uint64_t key) {
  const std::shared_ptr<SharedMutex> mutex = Opened(SharedMutex::Open(process, name));
  EXPECT_THAT(set->Add(key, *mutex), IsOk());
  return [mutex] { return Returned(mutex->TryLock(), [&] { return mutex->Unlock(); }); };
}

std::function<absl::Status()> AddToRead(Process& process, const std::string& name, WaitSet* set,
                                        uint64_t key) {
  const std::shared_ptr<SharedMutex> mutex = Opened(SharedMutex::Open(process, name));
  EXPECT_THAT(set->AddShared(key, *mutex), IsOk());
  return
      [mutex] { return Returned(mutex->TryLockShared(), [&] { return mutex->UnlockShared(); }); };
}

std::function<absl::Status()> AddSemaphore(Process& process, const std::string& name, WaitSet* set,
                                           uint64_t key) {
  const std::shared_ptr<Semaphore> semaphore =
      Opened(Semaphore::Open(process, name, {.units = 1, .most_units = 1}));
  EXPECT_THAT(set->Add(key, *semaphore), IsOk());
  return [semaphore] {
    absl::StatusOr<Semaphore::Permit> permit = semaphore->TryAcquire();
    return permit.ok() ? permit->Release() : permit.status();
  };
}

std::function<absl::Status()> AddToUseUp(Process& process, const std::string& name, WaitSet* set,
                                         uint64_t key) {
  const std::shared_ptr<Semaphore> semaphore =
      Opened(Semaphore::Open(process, name, {.units = 1, .most_units = 1}));
  EXPECT_THAT(set->Add(key, *semaphore), IsOk());
  return [semaphore] {
    const absl::Status taken = semaphore->TryWait();
    return taken.ok() ? semaphore->Post() : taken;
  };
}

const Kind kKinds[] = {
    {"Mutex", party::LockCall::MUTEX, party::LockCall::LOCK, party::LockCall::UNLOCK, AddMutex},
    {"SharedMutexToWriteBesideAWriter", party::LockCall::SHARED_MUTEX, party::LockCall::LOCK,
     party::LockCall::UNLOCK, AddToWrite},
    {"SharedMutexToWriteBesideAReader", party::LockCall::SHARED_MUTEX, party::LockCall::LOCK_SHARED,
     party::LockCall::UNLOCK_SHARED, AddToWrite},
    {"SharedMutexToRead", party::LockCall::SHARED_MUTEX, party::LockCall::LOCK,
     party::LockCall::UNLOCK, AddToRead},
    {"SemaphoreToAcquire", party::LockCall::SEMAPHORE, party::LockCall::ACQUIRE,
     party::LockCall::RELEASE, AddSemaphore},
    {"SemaphoreToUseUp", party::LockCall::SEMAPHORE, party::LockCall::WAIT, party::LockCall::POST,
     AddToUseUp},
};

class WaitObjectsTest : public LockTest {
 protected:
  static constexpr uint64_t kKey = 7;

  static Call Do(const Kind& kind, const std::string& name, Call::What what, uint32_t thread = 0) {
    Call call = Of(kind.kind, name, what, thread);
    call.set_units(1);
    call.set_most(1);
    return call;
  }
  static Result Take(Party& party, const Kind& kind, const std::string& name) {
    return party.CallLock(Do(kind, name, kind.take), Patience());
  }
  static Result Give(Party& party, const Kind& kind, const std::string& name) {
    return party.CallLock(Do(kind, name, kind.give));
  }
  static absl::StatusOr<uint64_t> Look(WaitSet& set) { return set.Wait(absl::InfinitePast()); }
  // One that waits for `set`, which begins somewhen.
  std::future<absl::StatusOr<uint64_t>> Wait(WaitSet& set) {
    auto waits = std::async(std::launch::async, [&set] { return set.Wait(Patience()); });
    absl::SleepFor(absl::Microseconds(Random(1000)));
    return waits;
  }
};

MAILRAIL_ON_ONE_NODE(WaitObjectsTest);

TEST_P(WaitObjectsTest, WhatMayBeHadIsReady) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const std::string name = NewName();
    WaitSet set(self().process());
    ASSERT_THAT(Take(peer(), kind, name), IsOk());
    const auto try_it = kind.add(self().process(), name, &set, kKey);
    EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
    EXPECT_THAT(try_it(), HasCode(StatusCode::kDeadlineExceeded));
    for (int round = 0; round < 30; ++round) {
      auto waits = Wait(set);
      ASSERT_THAT(Give(peer(), kind, name), IsOk());
      const absl::StatusOr<uint64_t> key = waits.get();
      ASSERT_THAT(key, IsOk());
      EXPECT_EQ(*key, kKey);
      // Nobody else wants it; it stays ready until it is taken.
      EXPECT_EQ(Look(set).value_or(0), kKey);
      EXPECT_THAT(try_it(), IsOk());
      ASSERT_THAT(Take(peer(), kind, name), IsOk());
      EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
    }
    ASSERT_THAT(set.Remove(kKey), IsOk());
    EXPECT_THAT(Give(peer(), kind, name), IsOk());
    EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  }
}

TEST_P(WaitObjectsTest, WhatTheDeadHeldIsReady) {
  for (const Kind& kind : kKinds) {
    // What is used up no death gives back.
    if (kind.take == Call::WAIT) continue;
    SCOPED_TRACE(kind.name);
    const std::string name = NewName();
    WaitSet set(self().process());
    const std::unique_ptr<Party> other = NewPeer();
    ASSERT_THAT(Take(*other, kind, name), IsOk());
    const auto try_it = kind.add(self().process(), name, &set, kKey);
    auto waits = Wait(set);
    other->End();
    EXPECT_EQ(waits.get().value_or(0), kKey);
    EXPECT_THAT(try_it(), IsOk());
  }
}

TEST_P(WaitObjectsTest, WhoHasTheMutexAfterADeathIsTold) {
  const std::string name = NewName();
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(Lock(*other, name), IsOk());
  ASSERT_OK_AND_ASSIGN(mutex, Mutex::Open(self().process(), name));
  WaitSet set(self().process());
  ASSERT_THAT(set.Add(kKey, mutex), IsOk());
  auto waits = Wait(set);
  other->End();
  ASSERT_EQ(waits.get().value_or(0), kKey);
  const absl::StatusOr<Grant> grant = mutex.TryLock();
  ASSERT_THAT(grant, IsOk());
  EXPECT_TRUE(grant->owner_died);
}

TEST_P(WaitObjectsTest, WhatWasDestroyedStaysReady) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const std::string name = NewName();
    WaitSet set(self().process());
    ASSERT_THAT(Take(peer(), kind, name), IsOk());
    const auto try_it = kind.add(self().process(), name, &set, kKey);
    auto waits = Wait(set);
    ASSERT_THAT(peer().CallLock(Do(kind, name, Call::DESTROY)), IsOk());
    EXPECT_EQ(waits.get().value_or(0), kKey);
    EXPECT_THAT(try_it(), HasCode(StatusCode::kUnavailable));
    EXPECT_EQ(Look(set).value_or(0), kKey);
    ASSERT_THAT(set.Remove(kKey), IsOk());
  }
}

// Those who wait by a call are woken, whatever a set does with what it is told.
TEST_P(WaitObjectsTest, ASetThatTakesNothingKeepsNobodyWaiting) {
  for (const Kind& kind : kKinds) {
    // Readers do not wait for each other.
    if (kind.take == Call::LOCK_SHARED) continue;
    SCOPED_TRACE(kind.name);
    const std::string name = NewName();
    WaitSet set(self().process());
    ASSERT_THAT(Take(peer(), kind, name), IsOk());
    kind.add(self().process(), name, &set, kKey);
    std::vector<uint32_t> threads = {1, 2};
    std::vector<std::future<Result>> calls;
    for (const uint32_t thread : threads) {
      calls.push_back(Begin(peer(), Do(kind, name, kind.take, thread), Patience(), thread - 1));
    }
    auto told = Wait(set);
    ASSERT_THAT(Give(peer(), kind, name), IsOk());
    for (int i = 0; i < 2; ++i) {
      const uint32_t first = FirstToEnd(calls);
      EXPECT_THAT(calls[first].get(), IsOk());
      ASSERT_THAT(peer().CallLock(Do(kind, name, kind.give, threads[first])), IsOk());
      calls.erase(calls.begin() + first);
      threads.erase(threads.begin() + first);
    }
    EXPECT_EQ(told.get().value_or(0), kKey);
  }
}

TEST_P(WaitObjectsTest, TheHandleOfALockMayGoFirst) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const std::string name = NewName();
    WaitSet set(self().process());
    ASSERT_THAT(Take(peer(), kind, name), IsOk());
    kind.add(self().process(), name, &set, kKey);
    auto waits = Wait(set);
    ASSERT_THAT(Give(peer(), kind, name), IsOk());
    EXPECT_EQ(waits.get().value_or(0), kKey);
  }
}

TEST_P(WaitObjectsTest, WhatAnotherProcessHasOpenedIsRefused) {
  const std::unique_ptr<LocalParty> other = NewSelf();
  ASSERT_OK_AND_ASSIGN(mutex, Mutex::Open(other->process(), NewName()));
  ASSERT_OK_AND_ASSIGN(barrier, Barrier::Open(other->process(), NewName(), 2));
  WaitSet set(self().process());
  EXPECT_THAT(set.Add(1, mutex), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(set.Add(1, barrier), HasCode(StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(own, Mutex::Open(self().process(), NewName()));
  ASSERT_THAT(set.Add(1, own), IsOk());
  EXPECT_THAT(set.Add(1, own), HasCode(StatusCode::kAlreadyExists));
  EXPECT_EQ(set.size(), 1u);
}

TEST_P(WaitObjectsTest, ABarrierIsReadyOnceForARoundThatHasEnded) {
  const std::string name = NewName();
  Call arrive = Of(Call::BARRIER, name, Call::WAIT);
  arrive.set_most(2);
  Call second = arrive;
  second.set_thread(1);
  // One round that had ended before.
  const auto round = [&] {
    std::future<Result> first =
        std::async(std::launch::async, [&] { return peer().CallLock(arrive, Patience()); });
    ASSERT_THAT(peer().CallLock(second, Patience()), IsOk());
    ASSERT_THAT(first.get(), IsOk());
  };
  round();
  ASSERT_OK_AND_ASSIGN(barrier, Barrier::Open(self().process(), name, 2));
  WaitSet set(self().process());
  ASSERT_THAT(set.Add(kKey, barrier), IsOk());
  EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  for (int i = 0; i < 20; ++i) {
    auto waits = Wait(set);
    round();
    EXPECT_EQ(waits.get().value_or(0), kKey);
    EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  }
  // Several count as one.
  round();
  round();
  EXPECT_EQ(Look(set).value_or(0), kKey);
  EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
}

TEST_P(WaitObjectsTest, AValueIsReadyOnceForANewerVersion) {
  auto value = Opened(SharedValue<uint64_t>::CreateAnonymous());
  ASSERT_OK_AND_ASSIGN(descriptors, value->Share());
  auto reader = Opened(SharedValue<uint64_t>::FromDescriptors(descriptors));
  close(descriptors.value);
  close(descriptors.bell);
  WaitSet set(self().process());
  ASSERT_THAT(set.Add(kKey, *reader), IsOk());
  EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  for (uint64_t number = 1; number <= 200; ++number) {
    auto waits = Wait(set);
    ASSERT_THAT(value->Publish(number), IsOk());
    ASSERT_EQ(waits.get().value_or(0), kKey);
    EXPECT_EQ(reader->Read()->value, number);
    EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  }
  // Those that were seen before are none, and its end is told after its last version.
  ASSERT_THAT(set.Add(8, *reader, /*seen=*/200), IsOk());
  ASSERT_THAT(set.Add(9, *reader, /*seen=*/199), IsOk());
  EXPECT_EQ(Look(set).value_or(0), 9u);
  EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(set.Remove(8), IsOk());
  ASSERT_THAT(set.Remove(9), IsOk());
  auto waits = Wait(set);
  value.reset();
  EXPECT_EQ(waits.get().value_or(0), kKey);
  EXPECT_THAT(reader->WaitNewer(200, absl::InfinitePast()), HasCode(StatusCode::kUnavailable));
  EXPECT_EQ(Look(set).value_or(0), kKey);
  ASSERT_THAT(set.Remove(kKey), IsOk());
}

// A writer that does not wait, and publishes as fast as it can: the last version is always told.
TEST_P(WaitObjectsTest, NoVersionIsTheLastThatIsNotTold) {
  constexpr uint64_t kVersions = 100000;
  auto value = Opened(SharedValue<uint64_t>::CreateAnonymous());
  WaitSet set(self().process());
  ASSERT_THAT(set.Add(kKey, *value), IsOk());
  std::thread writer([&] {
    for (uint64_t number = 1; number <= kVersions; ++number) value->Publish(number).IgnoreError();
  });
  uint64_t last = 0;
  while (last < kVersions) {
    const absl::StatusOr<uint64_t> key = set.Wait(Patience());
    if (!key.ok()) {
      ADD_FAILURE() << key.status() << " after version " << last;
      break;
    }
    const auto read = value->Read();
    if (!read.ok()) continue;
    EXPECT_GE(read->value, last);
    last = read->value;
  }
  writer.join();
  ASSERT_THAT(set.Remove(kKey), IsOk());
}

// All at once, with messages and timers, in the thread that waits and by the descriptor, and among
// more than one thread can sleep on.
TEST_P(WaitObjectsTest, MembersOfAllKindsBesideEachOther) {
  constexpr uint64_t kTimer = 1000, kMany = 140;
  for (const bool by_descriptor : {false, true}) {
    WaitSet set(self().process());
    std::vector<std::function<absl::Status()>> tries;
    std::vector<std::string> names;
    for (uint64_t i = 0; i < kMany; ++i) {
      const Kind& kind = kKinds[i % std::size(kKinds)];
      names.push_back(NewName());
      ASSERT_THAT(Take(peer(), kind, names[i]), IsOk());
      tries.push_back(kind.add(self().process(), names[i], &set, i));
      if (by_descriptor && i == 20) break;
    }
    ASSERT_THAT(set.Add(500, self().process().inbox()), IsOk());
    ASSERT_OK_AND_ASSIGN(sender, peer().Connect(self().id()));
    int descriptor = -1;
    if (by_descriptor) descriptor = set.Descriptor().value_or(-1);
    const auto next = [&]() -> uint64_t {
      while (true) {
        pollfd entry = {.fd = descriptor, .events = POLLIN, .revents = 0};
        if (by_descriptor) {
          EXPECT_EQ(poll(&entry, 1, 60000), 1) << "a wake-up is lost";
        }
        const absl::StatusOr<uint64_t> key =
            set.Wait(by_descriptor ? absl::InfinitePast() : Patience());
        if (key.ok()) return *key;
        if (!by_descriptor) {
          EXPECT_THAT(key, IsOk());
        }
      }
    };
    for (int round = 0; round < 60; ++round) {
      const size_t which = Random(tries.size());
      const Kind& kind = kKinds[which % std::size(kKinds)];
      auto gives = std::async(std::launch::async, [&] { return Give(peer(), kind, names[which]); });
      ASSERT_EQ(next(), which);
      ASSERT_THAT(gives.get(), IsOk());
      EXPECT_THAT(tries[which](), IsOk());
      ASSERT_THAT(Take(peer(), kind, names[which]), IsOk());
      EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
      if (round % 20 != 0) continue;
      ASSERT_THAT(peer().Send(sender, {{}}), IsOk());
      ASSERT_EQ(next(), 500u);
      ASSERT_THAT(self().process().inbox().TryReceive(), IsOk());
      ASSERT_THAT(set.AddTimer(kTimer, absl::Now() + absl::Milliseconds(2)), IsOk());
      ASSERT_EQ(next(), kTimer);
      EXPECT_THAT(Look(set), HasCode(StatusCode::kDeadlineExceeded));
    }
  }
}

TEST_P(WaitObjectsTest, WhoeverWaitsForNothingSleeps) {
  WaitSet set(self().process());
  for (const Kind& kind : kKinds) {
    const std::string name = NewName();
    ASSERT_THAT(Take(peer(), kind, name), IsOk());
    kind.add(self().process(), name, &set, set.size());
  }
  auto value = Opened(SharedValue<uint64_t>::CreateAnonymous());
  ASSERT_THAT(set.Add(100, *value), IsOk());
  auto waiting = std::async(std::launch::async, [&]() -> int64_t {
    rusage before{}, after{};
    getrusage(RUSAGE_THREAD, &before);
    EXPECT_THAT(set.Wait(absl::Now() + absl::Seconds(1)), HasCode(StatusCode::kDeadlineExceeded));
    getrusage(RUSAGE_THREAD, &after);
    return after.ru_nvcsw - before.ru_nvcsw;
  });
  // It looks again by itself each 50 ms.
  EXPECT_LT(waiting.get(), 100);
  ASSERT_THAT(set.Remove(100), IsOk());
}

// Many that wait in sets, and some that wait by calls, for the same two locks and three units.
TEST_P(WaitObjectsTest, ThoseWhoWaitInSetsAndThoseWhoDoNotGoOn) {
  constexpr int kRounds = 2000;
  const std::string names[] = {NewName(), NewName(), NewName()};
  uint64_t plain = 0, written = 0;
  std::atomic<int> units = 0;
  const auto in_set = [&](bool by_descriptor) {
    auto mutex = Opened(Mutex::Open(self().process(), names[0]));
    auto shared = Opened(SharedMutex::Open(self().process(), names[1]));
    auto semaphore = Opened(Semaphore::Open(self().process(), names[2], {.units = 3}));
    WaitSet set(self().process());
    if (by_descriptor) {
      EXPECT_THAT(set.Descriptor(), IsOk());
    }
    EXPECT_THAT(set.Add(0, *mutex), IsOk());
    EXPECT_THAT(set.Add(1, *shared), IsOk());
    EXPECT_THAT(set.Add(2, *semaphore), IsOk());
    int had[3] = {}, told = 0;
    while (had[0] < kRounds || had[1] < kRounds || had[2] < kRounds) {
      const absl::StatusOr<uint64_t> key = set.Wait(Patience());
      EXPECT_THAT(key, IsOk());
      if (!key.ok()) return;
      // Now and then one that is told takes nothing.
      if (++told % 5 == 0) continue;
      if (*key == 0 && mutex->TryLock().ok()) {
        ++plain;
        EXPECT_THAT(mutex->Unlock(), IsOk());
      } else if (*key == 1 && shared->TryLock().ok()) {
        ++written;
        EXPECT_THAT(shared->Unlock(), IsOk());
      } else if (*key == 2) {
        absl::StatusOr<Semaphore::Permit> permit = semaphore->TryAcquire();
        if (!permit.ok()) continue;
        EXPECT_LE(++units, 3);
        --units;
      } else {
        continue;
      }
      if (++had[*key] == kRounds) {
        EXPECT_THAT(set.Remove(*key), IsOk());
      }
    }
  };
  const auto by_calls = [&] {
    auto mutex = Opened(Mutex::Open(self().process(), names[0]));
    auto shared = Opened(SharedMutex::Open(self().process(), names[1]));
    for (int round = 0; round < kRounds; ++round) {
      EXPECT_THAT(mutex->Lock(Patience()), IsOk());
      ++plain;
      EXPECT_THAT(mutex->Unlock(), IsOk());
      EXPECT_THAT(shared->Lock(Patience()), IsOk());
      ++written;
      EXPECT_THAT(shared->Unlock(), IsOk());
    }
  };
  std::vector<std::thread> threads;
  for (const bool by_descriptor : {false, false, true}) {
    threads.emplace_back([&, by_descriptor] { in_set(by_descriptor); });
  }
  for (int i = 0; i < 2; ++i) threads.emplace_back(by_calls);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(plain, 5u * kRounds);
  EXPECT_EQ(written, 5u * kRounds);
}

}  // namespace
}  // namespace mailrail
