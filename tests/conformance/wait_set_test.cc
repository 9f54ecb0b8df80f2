// Waiting for many things at once, as mailrail/wait_set.h promises.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/fd.h"
#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

constexpr uint64_t kTimerKey = 1000000;

// A receiver that is a member, under its place in `members`, and who sends to it.
struct Source {
  Receiver* receiver = nullptr;
  Handle sender = 0;
  Handle handle = 0;
};

class WaitSetTest : public ConformanceTest {
 protected:
  // The inbox of self(), and `mailboxes`, every other of which lives on the side of peer().
  void AddSources(WaitSet* set, size_t mailboxes) {
    ASSERT_OK_AND_ASSIGN(to_inbox, peer().Connect(self().id()));
    sources_.push_back({&self().process().inbox(), to_inbox, Party::kInbox});
    for (size_t i = 0; i < mailboxes; ++i) {
      const std::string name = NewName();
      Party& owner = i % 2 == 0 ? static_cast<Party&>(self()) : peer();
      ASSERT_THAT(owner.CreateMailbox(name, {.max_message_bytes = 64, .capacity_messages = 64}),
                  IsOk());
      ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
      ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
      sources_.push_back({&self().receiver(receiver), sender, receiver});
      names_.push_back(name);
    }
    for (size_t i = 0; i < sources_.size(); ++i) {
      ASSERT_THAT(set->Add(i, *sources_[i].receiver), IsOk());
    }
    EXPECT_EQ(set->size(), sources_.size());
  }

  void SendTo(size_t source, uint64_t number = 1) {
    ASSERT_THAT(peer().Send(sources_[source].sender, {{.number = number}}), IsOk());
  }

  // What comes of one who waits until a message is there, and from whom.
  absl::StatusOr<std::pair<uint64_t, uint64_t>> ReceiveAny(WaitSet* set) {
    for (;;) {
      const absl::StatusOr<uint64_t> key = set->Wait(Patience());
      if (!key.ok()) return key.status();
      const absl::StatusOr<Message> message = sources_.at(*key).receiver->TryReceive();
      if (message.ok()) return std::make_pair(*key, NumberOf(message->body()));
      if (message.status().code() != absl::StatusCode::kDeadlineExceeded) return message.status();
    }
  }

  std::vector<Source> sources_;
  std::vector<std::string> names_;
};

MAILRAIL_OVER_TRANSPORTS(WaitSetTest);

bool Polls(int descriptor, int timeout_ms) {
  pollfd entry = {.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, timeout_ms) == 1 && (entry.revents & POLLIN) != 0;
}

TEST_P(WaitSetTest, TheKeyOfTheMemberThatHasAMessageIsReturned) {
  WaitSet set(self().process());
  AddSources(&set, 4);
  for (uint64_t round = 1; round <= 100; ++round) {
    const size_t which = Random(sources_.size());
    SendTo(which, round);
    const auto received = ReceiveAny(&set);
    ASSERT_THAT(received, IsOk());
    ASSERT_EQ(received->first, which);
    ASSERT_EQ(received->second, round);
  }
  EXPECT_THAT(set.Wait(absl::InfinitePast()), HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(set.Wait(absl::Now() + absl::Milliseconds(20)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(WaitSetTest, OneThatSleepsIsWokenByEachMember) {
  WaitSet set(self().process());
  AddSources(&set, 2);
  for (uint64_t round = 1; round <= 60; ++round) {
    const size_t which = round % sources_.size();
    auto waiting = std::async(std::launch::async, [&] { return ReceiveAny(&set); });
    absl::SleepFor(absl::Microseconds(Random(500)));
    SendTo(which, round);
    const auto received = waiting.get();
    ASSERT_THAT(received, IsOk());
    ASSERT_EQ(received->first, which);
  }
}

TEST_P(WaitSetTest, OneThatIsAlwaysReadyHidesNoOther) {
  WaitSet set(self().process());
  AddSources(&set, 4);
  ASSERT_THAT(set.AddTimer(kTimerKey, absl::InfinitePast(), absl::Nanoseconds(1)), IsOk());
  // Nobody receives from any: each stays ready, and so does the timer.
  for (size_t i = 0; i < sources_.size(); ++i) SendTo(i);
  std::map<uint64_t, size_t> times;
  EXPECT_TRUE(Eventually([&] {
    const absl::StatusOr<uint64_t> key = set.Wait(Patience());
    if (key.ok()) ++times[*key];
    return times.size() == set.size();
  }));
  // From now on they take turns.
  std::vector<uint64_t> first, second;
  for (size_t i = 0; i < set.size(); ++i) first.push_back(set.Wait(Patience()).value());
  for (size_t i = 0; i < set.size(); ++i) second.push_back(set.Wait(Patience()).value());
  EXPECT_EQ(first, second);
  EXPECT_EQ(std::set<uint64_t>(first.begin(), first.end()).size(), set.size());
}

TEST_P(WaitSetTest, SeveralThatAreReadyAreReturnedByOneCall) {
  WaitSet set(self().process());
  AddSources(&set, 4);
  ASSERT_THAT(set.AddTimer(kTimerKey, absl::InfinitePast()), IsOk());
  for (const size_t source : {0, 1, 2}) SendTo(source);
  std::vector<uint64_t> keys;
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    absl::SleepFor(travel);
    const absl::StatusOr<std::vector<uint64_t>> ready = set.WaitBatch(100, Patience());
    if (ready.ok()) keys = *ready;
    // The timer's is returned once.
    if (ready.ok() && std::find(keys.begin(), keys.end(), kTimerKey) == keys.end()) {
      keys.push_back(kTimerKey);
    }
    std::sort(keys.begin(), keys.end());
    return keys == std::vector<uint64_t>{0, 1, 2, kTimerKey};
  }));
  EXPECT_THAT(set.WaitBatch(2, Patience()).value(), testing::SizeIs(2));
  EXPECT_THAT(set.WaitBatch(0), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_P(WaitSetTest, ATimerIsReadyWhenItsTimeHasCome) {
  WaitSet set(self().process());
  AddSources(&set, 1);
  const absl::Time time = absl::Now() + absl::Milliseconds(30);
  ASSERT_THAT(set.AddTimer(kTimerKey, time), IsOk());
  const absl::StatusOr<uint64_t> key = set.Wait(Patience());
  EXPECT_GE(absl::Now(), time);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(*key, kTimerKey);
  // It has left.
  EXPECT_EQ(set.size(), sources_.size());
  EXPECT_THAT(set.Remove(kTimerKey), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(set.Wait(absl::Now() + absl::Milliseconds(50)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(WaitSetTest, APeriodicTimerComesAgainAndCountsWhatPassedAsOne) {
  WaitSet set(self().process());
  const absl::Time first = absl::Now() - absl::Hours(1);
  ASSERT_THAT(set.AddTimer(kTimerKey, first, absl::Milliseconds(40)), IsOk());
  EXPECT_EQ(set.Wait(Patience()).value(), kTimerKey);
  // Of the hour that has passed nothing is left; the next comes in its time.
  for (int round = 0; round < 4; ++round) {
    ASSERT_EQ(set.Wait(Patience()).value(), kTimerKey);
    const absl::Duration late = (absl::Now() - first) % absl::Milliseconds(40);
    EXPECT_GE(late, absl::ZeroDuration());
  }
  EXPECT_EQ(set.size(), 1u);
  ASSERT_THAT(set.Remove(kTimerKey), IsOk());
  EXPECT_THAT(set.Wait(absl::Now() + absl::Milliseconds(100)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(WaitSetTest, WakeEndsTheWaitThatIsUnderWayOrTheNext) {
  WaitSet set(self().process());
  AddSources(&set, 1);
  auto waiting = std::async(std::launch::async, [&] { return set.Wait(Patience()); });
  absl::SleepFor(absl::Microseconds(Random(2000)));
  set.Wake();
  EXPECT_THAT(waiting.get(), HasCode(absl::StatusCode::kCancelled));
  set.Wake();
  set.Wake();
  EXPECT_THAT(set.Wait(Patience()), HasCode(absl::StatusCode::kCancelled));
  SendTo(0);
  EXPECT_THAT(ReceiveAny(&set), IsOk());
}

TEST_P(WaitSetTest, OneThreadAtATimeWaits) {
  WaitSet set(self().process());
  AddSources(&set, 1);
  std::vector<std::future<absl::StatusOr<uint64_t>>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] { return set.Wait(Patience()); }));
  }
  // One is refused; the other goes on.
  EXPECT_TRUE(Eventually([&] {
    return std::any_of(waiting.begin(), waiting.end(), [](auto& each) {
      return each.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
  }));
  SendTo(0);
  std::vector<absl::StatusCode> codes;
  for (auto& each : waiting) codes.push_back(each.get().status().code());
  EXPECT_THAT(codes, testing::UnorderedElementsAre(absl::StatusCode::kOk,
                                                   absl::StatusCode::kFailedPrecondition));
}

TEST_P(WaitSetTest, MembersComeAndGoWhileAThreadWaits) {
  WaitSet set(self().process());
  AddSources(&set, 2);
  for (uint64_t key = 0; key < 3; ++key) ASSERT_THAT(set.Remove(key), IsOk());
  auto waiting = std::async(std::launch::async, [&] { return set.Wait(Patience()); });
  for (int round = 0; round < 50; ++round) {
    ASSERT_THAT(set.Add(1, *sources_[1].receiver), IsOk());
    ASSERT_THAT(set.Add(2, *sources_[2].receiver), IsOk());
    ASSERT_THAT(set.AddTimer(3, absl::Now() + absl::Hours(1)), IsOk());
    for (const uint64_t key : {1, 2, 3}) ASSERT_THAT(set.Remove(key), IsOk());
  }
  // One that was removed may go at once, and the wait goes on without it.
  self().Close(sources_[2].handle);
  ASSERT_THAT(set.Add(7, *sources_[1].receiver), IsOk());
  SendTo(1);
  ASSERT_THAT(waiting.get(), IsOk());
  EXPECT_EQ(set.Wait(Patience()).value(), 7u);
}

TEST_P(WaitSetTest, AMailboxThatIsDestroyedIsReady) {
  WaitSet set(self().process());
  AddSources(&set, 2);
  for (const size_t which : {1, 2}) {
    auto waiting = std::async(std::launch::async, [&] { return set.Wait(Patience()); });
    ASSERT_THAT(peer().DestroyMailbox(names_[which - 1]), IsOk());
    const absl::StatusOr<uint64_t> key = waiting.get();
    ASSERT_THAT(key, IsOk());
    ASSERT_EQ(*key, which);
    EXPECT_TRUE(Eventually([&] {
      return sources_[which].receiver->TryReceive().status().code() ==
             absl::StatusCode::kUnavailable;
    }));
    ASSERT_THAT(set.Remove(which), IsOk());
  }
}

TEST_P(WaitSetTest, ANoticeOfAnEndMakesTheInboxReady) {
  WaitSet set(self().process());
  AddSources(&set, 1);
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  auto waiting = std::async(std::launch::async, [&] { return set.Wait(Patience()); });
  other->End();
  const absl::StatusOr<uint64_t> key = waiting.get();
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(*key, 0u);
  const ReceiveResult told = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(told, IsOk());
  EXPECT_NE(told.messages[0].end, EndReason::kNone);
}

TEST_P(WaitSetTest, ThreeHundredMembersAreAsGoodAsOne) {
  WaitSet set(self().process());
  AddSources(&set, 299);
  ASSERT_EQ(set.size(), 300u);
  for (uint64_t round = 1; round <= 150; ++round) {
    // Also those behind the number of words that the kernel waits for at once.
    const size_t which = round % 3 == 0 ? Random(300) : 299 - Random(40);
    auto waiting = std::async(std::launch::async, [&] { return ReceiveAny(&set); });
    if (round % 2 == 0) absl::SleepFor(absl::Microseconds(Random(500)));
    SendTo(which, round);
    const auto received = waiting.get();
    ASSERT_THAT(received, IsOk());
    ASSERT_EQ(received->first, which);
    ASSERT_EQ(received->second, round);
  }
  auto waiting = std::async(std::launch::async, [&] { return set.Wait(Patience()); });
  set.Wake();
  EXPECT_THAT(waiting.get(), HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(set.AddTimer(kTimerKey, absl::Now() + absl::Milliseconds(5)), IsOk());
  EXPECT_EQ(set.Wait(Patience()).value(), kTimerKey);
  for (uint64_t key = 0; key < 300; ++key) ASSERT_THAT(set.Remove(key), IsOk());
}

// An event loop that looks at nothing but the one descriptor.
TEST_P(WaitSetTest, ADescriptorTellsAnEventLoopOfMembersAndTimers) {
  constexpr uint64_t kMessages = 400;
  WaitSet set(self().process());
  AddSources(&set, 3);
  ASSERT_OK_AND_ASSIGN(descriptor, set.Descriptor());
  EXPECT_EQ(set.Descriptor().value(), descriptor);
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {}};
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor, &event), 0);
  ASSERT_THAT(set.AddTimer(kTimerKey, absl::Now(), absl::Milliseconds(3)), IsOk());
  auto sent = std::async(std::launch::async, [&] {
    for (uint64_t number = 1; number <= kMessages; ++number) {
      SendTo(number % sources_.size(), number);
    }
  });
  uint64_t received = 0;
  uint64_t ticks = 0;
  while (received < kMessages || ticks < 20) {
    ASSERT_EQ(epoll_wait(epoll.get(), &event, 1, 60000), 1) << "it polls as empty, and is not";
    for (;;) {
      const absl::StatusOr<uint64_t> key = set.Wait(absl::InfinitePast());
      if (!key.ok()) {
        ASSERT_THAT(key, HasCode(absl::StatusCode::kDeadlineExceeded));
        break;
      }
      if (*key == kTimerKey) {
        ++ticks;
      } else if (sources_[*key].receiver->TryReceive().ok()) {
        ++received;
      }
    }
  }
  sent.get();
  // It is quiet when there is nothing, for ever so many looks.
  ASSERT_THAT(set.Remove(kTimerKey), IsOk());
  EXPECT_TRUE(
      Eventually([&] { return !set.Wait(absl::InfinitePast()).ok() && !Polls(descriptor, 0); }));
  // And tells of Wake, of a new member and of a new timer.
  set.Wake();
  EXPECT_TRUE(Polls(descriptor, 60000));
  EXPECT_THAT(set.Wait(absl::InfinitePast()), HasCode(absl::StatusCode::kCancelled));
  ASSERT_THAT(set.AddTimer(kTimerKey, absl::Now() + absl::Milliseconds(5)), IsOk());
  EXPECT_TRUE(Polls(descriptor, 60000));
  ASSERT_THAT(set.Remove(1), IsOk());
  SendTo(1);
  ASSERT_THAT(set.Add(9, *sources_[1].receiver), IsOk());
  EXPECT_TRUE(Eventually(
      [&] { return Polls(descriptor, 1000) && set.Wait(absl::InfinitePast()).value_or(0) == 9; }));
}

TEST_P(WaitSetTest, WhatWasFetchedForAMemberGoesBackWhenItIsRemoved) {
  WaitSet set(self().process());
  AddSources(&set, 2);
  ASSERT_OK_AND_ASSIGN(other, peer().OpenMailbox(names_[1]));
  SendTo(2);
  EXPECT_EQ(set.Wait(Patience()).value(), 2u);
  ASSERT_THAT(set.Remove(2), IsOk());
  const ReceiveResult received = peer().Receive(other, 1);
  ASSERT_THAT(received, IsOk());
  EXPECT_EQ(received.messages[0].number, 1u);
}

TEST_P(WaitSetTest, WhoeverWaitsForNothingSleeps) {
  WaitSet set(self().process());
  AddSources(&set, 4);
  for (const bool by_descriptor : {false, true}) {
    if (by_descriptor) {
      ASSERT_THAT(set.Descriptor(), IsOk());
    }
    auto waiting = std::async(std::launch::async, [&]() -> int64_t {
      rusage before{}, after{};
      getrusage(RUSAGE_THREAD, &before);
      EXPECT_THAT(set.Wait(absl::Now() + absl::Seconds(1)),
                  HasCode(absl::StatusCode::kDeadlineExceeded));
      getrusage(RUSAGE_THREAD, &after);
      return after.ru_nvcsw - before.ru_nvcsw;
    });
    // It looks again by itself each 50 ms; between nodes it may have been rung a few times.
    EXPECT_LT(waiting.get(), 100);
  }
}

TEST_P(WaitSetTest, KeysAndMembersAreChecked) {
  WaitSet set(self().process());
  const std::unique_ptr<LocalParty> other = NewSelf();
  EXPECT_THAT(set.Add(1, other->process().inbox()), HasCode(absl::StatusCode::kInvalidArgument));
  ASSERT_THAT(set.Add(1, self().process().inbox()), IsOk());
  EXPECT_THAT(set.Add(1, self().process().inbox()), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(set.AddTimer(1, absl::Now()), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(set.AddTimer(2, absl::Now(), absl::ZeroDuration()),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(set.Remove(2), HasCode(absl::StatusCode::kNotFound));
  EXPECT_EQ(set.size(), 1u);
  // The same receiver under two keys, and in two sets.
  ASSERT_THAT(set.Add(2, self().process().inbox()), IsOk());
  WaitSet second(self().process());
  ASSERT_THAT(second.Add(1, self().process().inbox()), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, peer().Connect(self().id()));
  ASSERT_THAT(peer().Send(sender, {{}}), IsOk());
  EXPECT_EQ(second.Wait(Patience()).value(), 1u);
  EXPECT_EQ(set.WaitBatch(5, Patience()).value(), (std::vector<uint64_t>{1, 2}));
}

}  // namespace
}  // namespace mailrail
