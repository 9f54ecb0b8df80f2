// A mailbox that hands out nothing of a sender while an earlier message of it is held
// (MailboxOptions::hold_order).
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using HoldOrderTest = ConformanceTest;
MAILRAIL_OVER_TRANSPORTS(HoldOrderTest);

const MailboxOptions kHoldOrder = {.hold_order = true};
constexpr absl::StatusCode kNothing = absl::StatusCode::kDeadlineExceeded;

absl::Time Soon() { return absl::Now() + absl::Milliseconds(150); }

// A party that leases from the mailbox.
struct Worker {
  std::unique_ptr<Party> party;
  Handle handle = 0;

  ReceiveResult Lease(absl::Time deadline = Patience()) {
    return party->Receive(handle, 1, deadline);
  }
};

absl::StatusOr<Worker> Open(std::unique_ptr<Party> party, const std::string& name) {
  const absl::StatusOr<Handle> handle = party->OpenLeasing(name);
  if (!handle.ok()) return handle.status();
  return Worker{std::move(party), *handle};
}

TEST_P(HoldOrderTest, NothingOfASenderIsHandedOutWhileAnEarlierMessageIsLeased) {
  // At home on either side.
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kHoldOrder), IsOk());
    ASSERT_OK_AND_ASSIGN(first, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(second, Open(NewSelf(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
    ASSERT_THAT(NumbersOf(first.Lease().messages), testing::ElementsAre(1));
    EXPECT_THAT(second.Lease(Soon()), HasCode(kNothing));
    EXPECT_THAT(first.Lease(Soon()), HasCode(kNothing));
    // Of another sender it is.
    const std::unique_ptr<LocalParty> other = NewSelf();
    ASSERT_OK_AND_ASSIGN(others, other->ConnectMailbox(name));
    ASSERT_THAT(other->Send(others, {{.number = 11}}), IsOk());
    EXPECT_THAT(NumbersOf(second.Lease().messages), testing::ElementsAre(11));
    EXPECT_THAT(second.party->Acknowledge(11), IsOk());
    // Who waits for it is woken by the acknowledgement.
    ReceiveResult next;
    std::thread waiting([&] { next = second.Lease(); });
    EXPECT_TRUE(Eventually([&] { return second.party->Asleep() == 1; }));
    EXPECT_THAT(first.party->Acknowledge(1), IsOk());
    waiting.join();
    EXPECT_THAT(NumbersOf(next.messages), testing::ElementsAre(2));
  }
}

TEST_P(HoldOrderTest, WhatAKilledReceiverHeldGoesToTheNextBeforeAllThatCameAfterIt) {
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kHoldOrder), IsOk());
    ASSERT_OK_AND_ASSIGN(first, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(second, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(self().Send(sender, Numbered(3)), IsOk());
    ASSERT_THAT(NumbersOf(first.Lease().messages), testing::ElementsAre(1));
    ReceiveResult next;
    std::thread waiting([&] { next = second.Lease(); });
    EXPECT_TRUE(Eventually([&] { return second.party->Asleep() == 1; }));
    first.party->End();
    waiting.join();
    ASSERT_THAT(NumbersOf(next.messages), testing::ElementsAre(1));
    EXPECT_EQ(next.messages[0].attempts, 1);
    for (uint64_t number = 1; number < 3; ++number) {
      EXPECT_THAT(second.party->Acknowledge(number), IsOk());
      next = second.Lease();
      ASSERT_THAT(NumbersOf(next.messages), testing::ElementsAre(number + 1));
      EXPECT_EQ(next.messages[0].attempts, 0);
    }
  }
}

TEST_P(HoldOrderTest, WhatIsGivenBackForLaterHoldsUpTheOthersUntilItIsAcknowledged) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kHoldOrder), IsOk());
  ASSERT_OK_AND_ASSIGN(worker, Open(NewPeer(), name));
  ASSERT_OK_AND_ASSIGN(automatic, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
  ASSERT_THAT(NumbersOf(worker.Lease().messages), testing::ElementsAre(1));
  ASSERT_THAT(worker.party->GiveBack(1, absl::Milliseconds(300)), IsOk());
  const ReceiveResult rest = self().Receive(automatic, 2);
  ASSERT_THAT(rest, IsOk());
  EXPECT_THAT(NumbersOf(rest.messages), testing::ElementsAre(1, 2));
  EXPECT_EQ(rest.messages[0].attempts, 1);
}

TEST_P(HoldOrderTest, ADeadLetterHoldsUpNone) {
  const std::string name = NewName();
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(
      self().CreateMailbox(name, {.max_attempts = 1, .dead_letter = dead, .hold_order = true}),
      IsOk());
  ASSERT_OK_AND_ASSIGN(worker, Open(NewPeer(), name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
  ASSERT_THAT(NumbersOf(worker.Lease().messages), testing::ElementsAre(1));
  ASSERT_THAT(worker.party->GiveBack(1), IsOk());
  EXPECT_THAT(NumbersOf(worker.Lease().messages), testing::ElementsAre(2));
  EXPECT_THAT(NumbersOf(self().Receive(letters, 1).messages), testing::ElementsAre(1));
}

// Each receiver acknowledges before it receives the next.
TEST_P(HoldOrderTest, SeveralReceiversWorkOnASendersMessagesInTheirOrder) {
  constexpr uint64_t kMessages = 300;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kHoldOrder), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  std::vector<Worker> workers;
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(worker, Open(i % 2 == 0 ? NewPeer() : NewSelf(), name));
    workers.push_back(std::move(worker));
  }
  absl::Mutex mutex;
  std::vector<uint64_t> order;
  std::vector<std::thread> threads;
  for (Worker& worker : workers) {
    threads.emplace_back([&] {
      while (true) {
        const ReceiveResult result = worker.Lease();
        if (!result.status.ok() || result.messages[0].number > kMessages) return;
        {
          absl::MutexLock lock(&mutex);
          order.push_back(result.messages[0].number);
        }
        EXPECT_THAT(worker.party->Acknowledge(result.messages[0].number), IsOk());
      }
    });
  }
  EXPECT_THAT(self().Send(sender, Numbered(kMessages)), IsOk());
  EXPECT_TRUE(Eventually([&] {
    absl::MutexLock lock(&mutex);
    return order.size() >= kMessages;
  }));
  // What ends them is of a sender each, and so holds up no other.
  std::vector<std::unique_ptr<LocalParty>> ends;
  for (size_t i = 1; i <= workers.size(); ++i) {
    ends.push_back(NewSelf());
    ASSERT_OK_AND_ASSIGN(end, ends.back()->ConnectMailbox(name));
    EXPECT_THAT(ends.back()->Send(end, {{.number = kMessages + i}}), IsOk());
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, NumbersOf(Numbered(kMessages)));
}

}  // namespace
}  // namespace mailrail
