// An exclusive mailbox (ReceivePolicy::kExclusive): one process at a time receives, wherever it is,
// and the others take over in the order in which they opened it.
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

const MailboxOptions kExclusive = {.policy = ReceivePolicy::kExclusive};
constexpr absl::StatusCode kNothing = absl::StatusCode::kDeadlineExceeded;

using ExclusiveMailboxTest = ConformanceTest;
using ExclusiveMailboxAfterRestartTest = OwnClusterTest;

MAILRAIL_OVER_TRANSPORTS(ExclusiveMailboxTest);
MAILRAIL_OVER_TRANSPORTS(ExclusiveMailboxAfterRestartTest);
// Who is stopped in the same process is this test.
using StoppedHolderTest = ConformanceTest;
INSTANTIATE_TEST_SUITE_P(, StoppedHolderTest,
                         testing::Values(Transport::kTwoProcesses, Transport::kTwoNodes),
                         TransportName);

// A party that has opened the mailbox.
struct Reader {
  std::unique_ptr<Party> party;
  Handle handle = 0;

  ReceiveResult Try() { return party->Receive(handle, 1, absl::InfinitePast()); }
};

absl::StatusOr<Reader> Open(std::unique_ptr<Party> party, const std::string& name) {
  const absl::StatusOr<Handle> handle = party->OpenMailbox(name);
  if (!handle.ok()) return handle.status();
  return Reader{std::move(party), *handle};
}

// One message of `sender` goes to readers[0], though all of them wait for it.
void ExpectFirstReceives(LocalParty& sender, Handle to, std::vector<Reader>& readers,
                         uint64_t number) {
  std::vector<ReceiveResult> results(readers.size());
  std::vector<std::atomic<bool>> done(readers.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < readers.size(); ++i) {
    threads.emplace_back([&, i] {
      results[i] =
          readers[i].party->Receive(readers[i].handle, 1, absl::Now() + absl::Milliseconds(300));
      done[i] = true;
    });
    EXPECT_TRUE(Eventually([&] { return done[i] || readers[i].party->Asleep() == 1; }));
  }
  EXPECT_THAT(sender.Send(to, {{.number = number}}), IsOk());
  results[0] = readers[0].party->Receive(readers[0].handle, 1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(results[0], IsOk());
  EXPECT_THAT(NumbersOf(results[0].messages), testing::ElementsAre(number));
  for (size_t i = 1; i < results.size(); ++i) EXPECT_THAT(results[i], HasCode(kNothing));
}

TEST_P(ExclusiveMailboxTest, OnlyTheFirstReceivesWhileItLives) {
  // At home on either side.
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kExclusive), IsOk());
    ASSERT_OK_AND_ASSIGN(first, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(second, Open(NewSelf(), name));
    ASSERT_OK_AND_ASSIGN(third, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    const std::vector<Outgoing> messages = Numbered(100);
    ASSERT_THAT(self().Send(sender, messages), IsOk());
    for (Reader* other : {&second, &third}) {
      EXPECT_THAT(other->Try(), HasCode(kNothing));
      EXPECT_THAT(other->party->Receive(other->handle, 1, absl::Now() + absl::Milliseconds(120)),
                  HasCode(kNothing));
    }
    ExpectDelivered(first.party->Receive(first.handle, messages.size()).messages, messages);
    // All its receivers have the right, and it has it until the last of them is closed.
    ASSERT_OK_AND_ASSIGN(again, first.party->OpenMailbox(name));
    ASSERT_THAT(self().Send(sender, {{.number = 101}}), IsOk());
    EXPECT_THAT(first.party->Receive(again, 1), IsOk());
    first.party->Close(first.handle);
    ASSERT_THAT(self().Send(sender, {{.number = 102, .bytes = 5000}}), IsOk());
    EXPECT_THAT(second.Try(), HasCode(kNothing));
    EXPECT_THAT(first.party->Receive(again, 1), IsOk());
  }
}

TEST_P(ExclusiveMailboxTest, TheNextTakesOverWhenTheHolderCloses) {
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kExclusive), IsOk());
    ASSERT_OK_AND_ASSIGN(holder, peer().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(next, self().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ReceiveResult received;
    std::thread waiting([&, from = next] { received = self().Receive(from, 1); });
    EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
    ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
    EXPECT_THAT(NumbersOf(peer().Receive(holder, 1).messages), testing::ElementsAre(1));
    peer().Close(holder);
    waiting.join();
    ASSERT_THAT(received, IsOk());
    EXPECT_EQ(received.messages[0].number, 2u);
    EXPECT_EQ(received.messages[0].attempts, 0);
  }
}

// It has received some; what it may have claimed besides comes to the next in its place, marked.
TEST_P(ExclusiveMailboxTest, TheNextTakesOverWhenTheHolderIsKilledWithWhatThatHadClaimed) {
  constexpr size_t kMessages = 6000;
  constexpr size_t kBeforeDeath = 100;
  constexpr uint32_t kPage = 1;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kExclusive), IsOk());
  ASSERT_OK_AND_ASSIGN(holder, Open(NewPeer(), name));
  ASSERT_OK_AND_ASSIGN(next, Open(NewPeer(), name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(kMessages)), IsOk());
  std::thread receiving([&] {
    const size_t count = peer_has_own_process() ? kMessages : kBeforeDeath;
    holder.party->Receive(holder.handle, count, Patience(), {.ledger = kPage});
  });
  EXPECT_TRUE(Eventually([&] { return ledger().Count(kPage) >= kBeforeDeath; }));
  if (!peer_has_own_process()) receiving.join();
  holder.party->End();
  if (peer_has_own_process()) receiving.join();
  const std::vector<uint64_t> before = ledger().List(kPage);
  ASSERT_LT(before.size(), kMessages) << "it was not killed while it received";
  // It may have received one more and not have noted it.
  ReceiveResult rest = next.party->Receive(next.handle, kMessages - before.size() - 1);
  ASSERT_THAT(rest, IsOk());
  const ReceiveResult last =
      next.party->Receive(next.handle, 1, absl::Now() + absl::Milliseconds(200));
  std::vector<uint64_t> numbers = NumbersOf(rest.messages);
  for (const Received& message : last.messages) numbers.push_back(message.number);
  // None twice, and in order, but for one that had been overtaken while it was away.
  std::vector<uint64_t> sorted = numbers;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
  EXPECT_GT(sorted.front(), before.back());
  EXPECT_EQ(sorted.back(), kMessages);
  EXPECT_GE(sorted.size() + before.size() + 1, kMessages);
  EXPECT_EQ(numbers, sorted);
}

// A message is on its way to it, or waits for it, when it dies; it was stopped in its sleep.
TEST_P(StoppedHolderTest, AHolderThatIsStoppedKeepsTheRightUntilItIsKilled) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kExclusive), IsOk());
  const std::unique_ptr<Party> holder = NewPeer();
  ASSERT_OK_AND_ASSIGN(holders, holder->OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(next, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  std::thread receiving([&, from = holders] { holder->Receive(from, 1); });
  EXPECT_TRUE(Eventually([&] { return holder->Asleep() == 1; }));
  Child& child = static_cast<WorkerParty&>(*holder).child();
  child.Signal(SIGSTOP);
  // Not before all its threads stand still: the one that receives might go on for a moment.
  siginfo_t info;
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_THAT(self().Send(sender, Numbered(3)), IsOk());
  EXPECT_THAT(self().Receive(next, 1, absl::Now() + absl::Milliseconds(150)), HasCode(kNothing));
  holder->End();
  receiving.join();
  EXPECT_THAT(NumbersOf(self().Receive(next, 3).messages), testing::ElementsAre(1, 2, 3));
}

TEST_P(ExclusiveMailboxTest, TheOthersTakeOverInTheOrderInWhichTheyOpenedIt) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kExclusive), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  std::vector<std::unique_ptr<Party>> parties;
  for (int i = 0; i < 2; ++i) {
    parties.push_back(NewSelf());
    parties.push_back(NewPeer());
  }
  // Not the order in which they attached.
  std::shuffle(parties.begin(), parties.end(), generator());
  std::vector<Reader> readers;
  for (std::unique_ptr<Party>& party : parties) {
    ASSERT_OK_AND_ASSIGN(reader, Open(std::move(party), name));
    readers.push_back(std::move(reader));
  }
  // One opens it anew, and so is the last.
  ASSERT_OK_AND_ASSIGN(probe, readers[1].party->OpenMailbox(name));
  readers[1].party->Close(readers[1].handle);
  readers[1].party->Close(probe);
  ASSERT_OK_AND_ASSIGN(anew, readers[1].party->OpenMailbox(name));
  readers[1].handle = anew;
  std::rotate(readers.begin() + 1, readers.begin() + 2, readers.end());
  for (uint64_t number = 1; !readers.empty(); ++number) {
    ExpectFirstReceives(self(), sender, readers, number);
    // It closes its receiver, or it dies; and one that is not the holder, too.
    number % 2 == 0 ? readers[0].party->Close(readers[0].handle) : readers[0].party->End();
    readers.erase(readers.begin());
    if (number == 2 && readers.size() > 1) {
      readers[0].party->Close(readers[0].handle);
      readers.erase(readers.begin());
    }
  }
}

TEST_P(ExclusiveMailboxTest, WhoIsNotTheHolderIsNotToldOfMessagesBeforeItIs) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kExclusive), IsOk());
  ASSERT_OK_AND_ASSIGN(holder, peer().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(for_wait, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(for_poll, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  Receiver& waits = self().receiver(for_wait);
  Receiver& polls = self().receiver(for_poll);
  ASSERT_OK_AND_ASSIGN(descriptor, polls.Descriptor());
  ASSERT_THAT(self().Send(sender, Numbered(3)), IsOk());
  pollfd readable = {.fd = descriptor, .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&readable, 1, 200), 0);
  EXPECT_THAT(WaitAny({&self().process().inbox(), &waits}, absl::Now() + absl::Milliseconds(200)),
              HasCode(kNothing));
  EXPECT_THAT(waits.TryReceive(), HasCode(kNothing));
  absl::StatusOr<size_t> ready = absl::UnknownError("");
  std::thread waiting([&] { ready = WaitAny({&self().process().inbox(), &waits}, Patience()); });
  peer().Close(holder);
  EXPECT_EQ(poll(&readable, 1, 60000), 1);
  waiting.join();
  ASSERT_THAT(ready, IsOk());
  EXPECT_EQ(*ready, 1u);
  for (uint64_t number = 1; number <= 3; ++number) {
    const absl::StatusOr<Message> message = waits.Receive(Patience());
    ASSERT_THAT(message, IsOk());
    EXPECT_EQ(NumberOf(message->body()), number);
  }
}

TEST_P(ExclusiveMailboxTest, MessagesDoNotWakeWhoIsNotTheHolder) {
  constexpr uint64_t kMessages = 300;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kExclusive), IsOk());
  ASSERT_OK_AND_ASSIGN(holder, peer().OpenMailbox(name));
  const std::unique_ptr<LocalParty> other = NewSelf();
  ASSERT_OK_AND_ASSIGN(others, other->OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  rusage usage{};
  absl::Duration slept;
  ReceiveResult told;
  std::thread waiting([&, from = others] {
    const absl::Time begin = absl::Now();
    told = other->Receive(from, 1);
    slept = absl::Now() - begin;
    getrusage(RUSAGE_THREAD, &usage);
  });
  EXPECT_TRUE(Eventually([&] { return other->Asleep() == 1; }));
  for (uint64_t number = 1; number <= kMessages; ++number) {
    // So that each has to be rung for.
    std::thread receiving([&, from = holder] { EXPECT_THAT(peer().Receive(from, 1), IsOk()); });
    EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
    EXPECT_THAT(self().Send(sender, {{.number = number}}), IsOk());
    receiving.join();
  }
  peer().Close(holder);
  EXPECT_THAT(self().Send(sender, {{.number = kMessages + 1}}), IsOk());
  waiting.join();
  EXPECT_THAT(told, IsOk());
  // It wakes up by itself each 50 ms.
  const int64_t by_itself = slept / absl::Milliseconds(50);
  EXPECT_LT(usage.ru_nvcsw, by_itself + static_cast<int64_t>(kMessages / 3));
}

TEST_P(ExclusiveMailboxTest, WhoWaitsForTheRightIsToldThatTheMailboxIsDestroyed) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name, kExclusive), IsOk());
  ASSERT_THAT(peer().OpenMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(other, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(1)), IsOk());
  ReceiveResult told;
  std::thread waiting([&, from = other] { told = self().Receive(from, 1); });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  ASSERT_THAT(peer().DestroyMailbox(name), IsOk());
  waiting.join();
  EXPECT_THAT(told, HasCode(absl::StatusCode::kUnavailable));
}

TEST_P(ExclusiveMailboxAfterRestartTest, HolderAndOrderAreThoseOfBefore) {
  ASSERT_THAT(self().CreateMailbox("turns", kExclusive), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("turns"));
  std::vector<std::unique_ptr<Party>> parties;
  for (int i = 0; i < 2; ++i) {
    parties.push_back(NewPeer());
    parties.push_back(NewSelf());
  }
  std::swap(parties[0], parties[2]);
  std::vector<Reader> readers;
  for (std::unique_ptr<Party>& party : parties) {
    ASSERT_OK_AND_ASSIGN(reader, Open(std::move(party), "turns"));
    readers.push_back(std::move(reader));
  }
  cluster().KillProper("alpha");
  ExpectFirstReceives(self(), sender, readers, 1);
  // The holder dies while no agent runs, and the next one closes after that.
  EndWithoutAgent(readers[0].party.get());
  readers.erase(readers.begin());
  ExpectFirstReceives(self(), sender, readers, 2);
  cluster().KillProper("alpha");
  readers[0].party->Close(readers[0].handle);
  readers.erase(readers.begin());
  ExpectFirstReceives(self(), sender, readers, 3);
}

}  // namespace
}  // namespace mailrail
