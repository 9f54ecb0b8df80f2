// Several receivers of one mailbox compete: each message goes to exactly one of them, wherever they
// are, whoever of them dies or stands still; and what one receives of a sender is in order.
#include <signal.h>

#include <algorithm>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "tests/conformance/conformance.h"
#include "tests/support/worker_party.h"

namespace mailrail {
namespace {

using ReceiversTest = ConformanceTest;
using StoppedReceiverTest = ConformanceTest;

MAILRAIL_OVER_TRANSPORTS(ReceiversTest);
// Who stands still in the same process is this test.
INSTANTIATE_TEST_SUITE_P(, StoppedReceiverTest,
                         testing::Values(Transport::kTwoProcesses, Transport::kTwoNodes),
                         TransportName);

// A party that receives from a mailbox.
struct Reader {
  std::unique_ptr<Party> party;
  Handle handle = 0;
  std::vector<Received> messages;
};

// Receives with all readers at once, until they have `count` messages together.
void ReceiveWithAll(std::vector<Reader>& readers, size_t count) {
  absl::Mutex mutex;
  size_t received = 0;
  const absl::Time end = Patience();
  std::vector<std::thread> threads;
  for (Reader& reader : readers) {
    threads.emplace_back([&] {
      for (;;) {
        const ReceiveResult result =
            reader.party->Receive(reader.handle, 50, absl::Now() + absl::Milliseconds(20));
        reader.messages.insert(reader.messages.end(), result.messages.begin(),
                               result.messages.end());
        absl::MutexLock lock(&mutex);
        received += result.messages.size();
        if (received >= count || absl::Now() > end) return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(received, count);
}

// Expects that nobody has received two messages of a sender and priority in another order than
// they were sent in.
void ExpectOrderKept(const std::vector<Received>& messages) {
  std::map<std::pair<std::string, int>, uint64_t> last;
  for (const Received& message : messages) {
    ASSERT_TRUE(message.intact);
    uint64_t& before = last[{message.sender.ToString(), message.priority}];
    ASSERT_GT(message.number, before);
    before = message.number;
  }
}

std::vector<uint64_t> AllNumbers(const std::vector<Reader>& readers) {
  std::vector<uint64_t> numbers;
  for (const Reader& reader : readers) {
    const std::vector<uint64_t> more = NumbersOf(reader.messages);
    numbers.insert(numbers.end(), more.begin(), more.end());
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

TEST_P(ReceiversTest, EachMessageGoesToExactlyOneReceiver) {
  constexpr size_t kEach = 1500;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  std::vector<Reader> readers(4);
  for (size_t i = 0; i < readers.size(); ++i) {
    readers[i].party = i % 2 == 0 ? NewPeer() : NewSelf();
    ASSERT_OK_AND_ASSIGN(handle, readers[i].party->OpenMailbox(name));
    readers[i].handle = handle;
  }
  std::vector<uint64_t> expected;
  std::vector<std::thread> senders;
  for (uint64_t i = 0; i < 4; ++i) {
    Party& party = i % 2 == 0 ? peer() : self();
    ASSERT_OK_AND_ASSIGN(handle, party.ConnectMailbox(name));
    // Two handles of each process, so priorities must differ for numbers to rise.
    const std::vector<Outgoing> messages =
        Numbered(kEach, {.bytes = 40, .priority = static_cast<int>(i)}, i * kEach + 1);
    for (const Outgoing& message : messages) expected.push_back(message.number);
    senders.emplace_back(
        [&party, to = handle, messages] { EXPECT_THAT(party.Send(to, messages), IsOk()); });
  }
  ReceiveWithAll(readers, expected.size());
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(AllNumbers(readers), expected);
  for (const Reader& reader : readers) ExpectOrderKept(reader.messages);
}

TEST_P(ReceiversTest, ReceiversOfOneProcessCompeteToo) {
  constexpr size_t kMessages = 2000;
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  std::vector<Handle> handles;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(handle, self().OpenMailbox(name));
    handles.push_back(handle);
  }
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(kMessages);
  ASSERT_THAT(peer().Send(sender, messages), IsOk());
  std::vector<uint64_t> numbers;
  while (numbers.size() < kMessages) {
    for (const Handle handle : handles) {
      const ReceiveResult result = self().Receive(handle, 10, absl::Now());
      const std::vector<uint64_t> more = NumbersOf(result.messages);
      numbers.insert(numbers.end(), more.begin(), more.end());
    }
  }
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(numbers, NumbersOf(messages));
}

TEST_P(ReceiversTest, AReceiverThatIsKilledTakesOnlyWhatItReceived) {
  constexpr size_t kMessages = 6000;
  constexpr uint32_t kPage = 1;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  Reader victim;
  victim.party = NewPeer();
  ASSERT_OK_AND_ASSIGN(victims, victim.party->OpenMailbox(name));
  std::vector<Reader> readers(2);
  readers[0].party = NewPeer();
  readers[1].party = NewSelf();
  for (Reader& reader : readers) {
    ASSERT_OK_AND_ASSIGN(handle, reader.party->OpenMailbox(name));
    reader.handle = handle;
  }
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(kMessages);
  ASSERT_THAT(self().Send(sender, messages), IsOk());

  // Killed while it receives; in this process only after it did.
  constexpr size_t kBeforeDeath = 100;
  std::thread receiving([&, from = victims] {
    const size_t count = peer_has_own_process() ? kMessages : kBeforeDeath;
    victim.party->Receive(from, count, Patience(), {.ledger = kPage});
  });
  EXPECT_TRUE(Eventually([&] { return ledger().Count(kPage) >= kBeforeDeath; }));
  if (!peer_has_own_process()) receiving.join();
  victim.party->End();
  if (peer_has_own_process()) receiving.join();

  std::vector<uint64_t> numbers = ledger().List(kPage);
  // It may have received one more and not have noted it.
  ReceiveWithAll(readers, kMessages - std::min(numbers.size() + 1, kMessages));
  for (Reader& reader : readers) {
    const ReceiveResult rest =
        reader.party->Receive(reader.handle, 1, absl::Now() + absl::Milliseconds(200));
    reader.messages.insert(reader.messages.end(), rest.messages.begin(), rest.messages.end());
  }
  const std::vector<uint64_t> others = AllNumbers(readers);
  numbers.insert(numbers.end(), others.begin(), others.end());
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end()) << "one came twice";
  EXPECT_GE(numbers.size(), kMessages - 1);
  EXPECT_LE(numbers.size(), kMessages);
}

TEST_P(ReceiversTest, AReceiverThatIsKilledWhileItWaitsHarmsNoOther) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  for (uint64_t round = 1; round <= 10; ++round) {
    const std::unique_ptr<Party> victim = NewPeer();
    ASSERT_OK_AND_ASSIGN(victims, victim->OpenMailbox(name));
    std::thread waiting([&, from = victims] {
      const absl::Time deadline =
          peer_has_own_process() ? Patience() : absl::Now() + absl::Milliseconds(5);
      victim->Receive(from, 1, deadline);
    });
    if (peer_has_own_process()) {
      EXPECT_TRUE(Eventually([&] { return victim->Asleep() == 1; }));
    } else {
      waiting.join();
    }
    victim->End();
    if (peer_has_own_process()) waiting.join();
    ASSERT_THAT(self().Send(sender, {{.number = round}}), IsOk());
    const ReceiveResult result = self().Receive(receiver, 1);
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result.messages[0].number, round);
  }
}

// A receiver is stopped in its sleep. What waits goes to the others; between nodes, one message may
// have been on its way to it.
TEST_P(StoppedReceiverTest, AReceiverThatIsStoppedHoldsUpNoOther) {
  constexpr size_t kMessages = 500;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(stopped, peer().OpenMailbox(name));
  ReceiveResult late;
  std::thread waiting([&, from = stopped] { late = peer().Receive(from, 1); });
  EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
  Child& child = static_cast<WorkerParty&>(peer()).child();
  child.Signal(SIGSTOP);
  const std::vector<Outgoing> messages = Numbered(kMessages);
  EXPECT_THAT(self().Send(sender, messages), IsOk());
  const ReceiveResult first = self().Receive(receiver, kMessages - 1);
  EXPECT_THAT(first, IsOk());
  child.Signal(SIGCONT);
  // The last one is still there, or is the stopped one's.
  EXPECT_THAT(self().Send(sender, {{.number = kMessages + 1}}), IsOk());
  waiting.join();
  const ReceiveResult last = self().Receive(receiver, 1);
  EXPECT_THAT(late, IsOk());
  EXPECT_THAT(last, IsOk());
  std::vector<uint64_t> numbers = NumbersOf(first.messages);
  for (const ReceiveResult& result : {late, last}) {
    for (const Received& message : result.messages) numbers.push_back(message.number);
  }
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(numbers, NumbersOf(Numbered(kMessages + 1)));
}

// Receivers come and go the whole time.
TEST_P(ReceiversTest, ReceiversMayComeAndGo) {
  constexpr size_t kMessages = 600;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(kMessages);
  std::thread sending([&, to = sender] { EXPECT_THAT(self().Send(to, messages), IsOk()); });
  std::vector<uint64_t> numbers;
  for (int turn = 0; numbers.size() < kMessages; ++turn) {
    Party& party = turn % 2 == 0 ? peer() : self();
    const absl::StatusOr<Handle> receiver = party.OpenMailbox(name);
    EXPECT_THAT(receiver, IsOk());
    if (!receiver.ok()) break;
    const size_t count = std::min(Random(40) + 1, kMessages - numbers.size());
    const ReceiveResult result = party.Receive(*receiver, count);
    EXPECT_THAT(result, IsOk());
    if (!result.status.ok()) break;
    const std::vector<uint64_t> more = NumbersOf(result.messages);
    numbers.insert(numbers.end(), more.begin(), more.end());
    party.Close(*receiver);
  }
  sending.join();
  EXPECT_EQ(numbers, NumbersOf(messages));
}

// Three nodes, senders and receivers on all of them, and a mailbox on one.
TEST(ThreeNodesTest, EachMessageGoesToExactlyOneReceiver) {
  constexpr size_t kEach = 600;
  const std::vector<std::string> nodes = {"alpha", "beta", "gamma"};
  const auto cluster = Cluster::Start(nodes);
  ASSERT_THAT(cluster, IsOk());
  std::vector<Reader> readers(nodes.size());
  std::vector<std::unique_ptr<Party>> parties;
  std::vector<std::thread> senders;
  std::vector<uint64_t> expected;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (std::unique_ptr<Party>* party : {&readers[i].party, &parties.emplace_back()}) {
      auto worker = WorkerParty::Start((*cluster)->Socket(nodes[i]), nullptr);
      ASSERT_THAT(worker, IsOk());
      *party = *std::move(worker);
    }
    if (i == 0) {
      ASSERT_THAT(parties[0]->CreateMailbox("orders"), IsOk());
    }
    ASSERT_OK_AND_ASSIGN(handle, readers[i].party->OpenMailbox("orders"));
    readers[i].handle = handle;
  }
  for (uint64_t i = 0; i < nodes.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(handle, parties[i]->ConnectMailbox("orders@alpha"));
    const std::vector<Outgoing> messages = Numbered(kEach, {.bytes = 100}, i * kEach + 1);
    for (const Outgoing& message : messages) expected.push_back(message.number);
    senders.emplace_back([&party = *parties[i], to = handle, messages] {
      EXPECT_THAT(party.Send(to, messages), IsOk());
    });
  }
  ReceiveWithAll(readers, expected.size());
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(AllNumbers(readers), expected);
  for (const Reader& reader : readers) ExpectOrderKept(reader.messages);
}

TEST_P(ReceiversTest, OneThatIsOpenedWhileTheLastIsClosedReceives) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(to, peer().ConnectMailbox(name));
  absl::StatusOr<Receiver> receiver = self().process().OpenMailbox(name);
  ASSERT_THAT(receiver, IsOk());
  for (uint64_t i = 1; i <= 50; ++i) {
    absl::StatusOr<Receiver> next = absl::UnknownError("");
    std::thread opener([&] { next = self().process().OpenMailbox(name); });
    receiver = absl::UnknownError("");
    opener.join();
    receiver = std::move(next);
    ASSERT_THAT(receiver, IsOk());
    ASSERT_THAT(peer().Send(to, {{.number = i}}), IsOk());
    ASSERT_THAT(receiver->Receive(Patience()), IsOk());
  }
}

}  // namespace
}  // namespace mailrail
