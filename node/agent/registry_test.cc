#include "node/agent/registry.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "node/agent/agent_testing.h"
#include "node/agent/mapped_lanes.h"
#include "proto/state.pb.h"

namespace mailrail {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RegistryTest : public testing::Test {
 protected:
  std::unique_ptr<Registry> NewRegistry() {
    return std::make_unique<Registry>("alpha", 7, keeper_.vault(), [this](absl::string_view line) {
      logged_.push_back(std::string(line));
    });
  }
  // As an agent that is started after another's death has it.
  std::unique_ptr<Registry> Restored() {
    std::unique_ptr<Registry> registry = NewRegistry();
    EXPECT_TRUE(registry->Restore(keeper_.List()).ok());
    return registry;
  }

  TestKeeper keeper_;
  std::vector<std::string> logged_;
};

TEST_F(RegistryTest, EverythingComesBackFromTheKeeper) {
  auto before = NewRegistry();
  before->Begin();
  LocalProcess* process = AddTestProcess(before.get());
  process->dropped = 3;
  process->expired = 4;
  ASSERT_TRUE(before->AddName(process, "billing").ok());
  MailboxOptions options;
  options.capacity_messages = 10;
  options.policy = ReceivePolicy::kExclusive;
  options.owned = true;
  LocalMailbox* mailbox = before->AddMailbox("orders", options, process->number, 5).value();
  ASSERT_TRUE(before->AddReceiver(mailbox, process, /*leases=*/false).ok());
  LocalMailbox* closed = before->AddMailbox("closed", options, 0, 0).value();
  ASSERT_TRUE(before->AddReceiver(closed, process, /*leases=*/false).ok());
  before->CloseReceiver(closed, process->number);
  const ProcessId remote("beta", 4711, 3);
  ASSERT_TRUE(before->AddRemoteReceiver(mailbox, "beta", 9, remote, true).ok());
  const Endpoint self = Endpoint::OfProcess(process->number);
  const uint64_t lane = before->AddLane(mailbox, self, process->id, 1, 0).value()->id;
  const uint64_t origin =
      before->AddLane(mailbox, Endpoint::OfRemoteProcess(remote), remote, 0, 77).value()->id;
  Link* link =
      before->AddLink(self, Endpoint::OfRemoteProcess(remote), {}, LinkDirection::kFromB).value();
  link->inbound_lane = 12;
  before->SaveLink(*link);
  const uint64_t proxy = before->AddProxy(process, "beta", "far", options, true).value()->id;
  before->SavePeer("beta", 42);

  auto after = Restored();
  EXPECT_EQ(logged_, std::vector<std::string>());
  EXPECT_EQ(after->incarnation(), 7u);
  LocalProcess* same = after->FindName("billing");
  ASSERT_NE(same, nullptr);
  EXPECT_EQ(same->id, process->id);
  EXPECT_EQ(same->dropped, 3u);
  EXPECT_EQ(same->expired, 4u);
  EXPECT_TRUE(same->proxies.contains(proxy));
  EXPECT_TRUE(after->FindProxy(proxy)->leases);
  EXPECT_EQ(same->mailboxes.size(), 2u);
  LocalMailbox* restored = after->FindMailbox("orders");
  ASSERT_NE(restored, nullptr);
  EXPECT_EQ(restored->options.capacity_messages, 10u);
  EXPECT_EQ(restored->creator_request, 5u);
  EXPECT_EQ(restored->options.policy, ReceivePolicy::kExclusive);
  EXPECT_TRUE(restored->options.owned);
  EXPECT_THAT(restored->receivers, ElementsAre(process->number));
  EXPECT_EQ(restored->order, mailbox->order);
  EXPECT_EQ(restored->remote_receivers.at({"beta", 9}).process, remote);
  EXPECT_EQ(after->FindMailbox("closed")->receivers.size(), 0u);
  EXPECT_THAT(after->FindMailbox("closed")->former_receivers, ElementsAre(process->number));
  EXPECT_EQ(after->FindLane(restored->id, self, 0)->id, lane);
  EXPECT_EQ(after->FindLane(restored->id, Endpoint::OfRemoteProcess(remote), 77)->id, origin);
  EXPECT_EQ(after->FindLink(Endpoint::OfRemoteProcess(remote), self)->id, link->id);
  EXPECT_EQ(after->FindInbound("beta", 12)->id, link->id);
  EXPECT_EQ(after->FindInbound("beta", 12)->direction, LinkDirection::kFromB);
  EXPECT_EQ(after->FindInbound("gamma", 12), nullptr);
  EXPECT_EQ(after->PeerIncarnation("beta"), 42u);
  EXPECT_GT(after->NewNumber().value(), restored->remote_receivers.at({"beta", 9}).number);
  EXPECT_GT(after->NewId(), proxy);
}

TEST_F(RegistryTest, WhatIsRemovedDoesNotComeBack) {
  auto registry = NewRegistry();
  registry->Begin();
  LocalProcess* process = AddTestProcess(registry.get());
  LocalMailbox* mailbox = registry->AddMailbox("orders", {}, 0, 0).value();
  ASSERT_TRUE(registry->AddReceiver(mailbox, process, /*leases=*/false).ok());
  ASSERT_TRUE(registry->AddRemoteReceiver(mailbox, "beta", 1, ProcessId("beta", 1, 1), false).ok());
  ASSERT_EQ(keeper_.Keys().size(), 5u);
  registry->RemoveMailbox(mailbox->id);
  EXPECT_TRUE(process->mailboxes.empty());
  registry->RemoveProcess(process->number);
  EXPECT_THAT(keeper_.Keys(), ElementsAre("node"));
}

TEST_F(RegistryTest, ARecordThatIsOfNoUseIsDroppedAndTheOthersComeBack) {
  auto before = NewRegistry();
  before->Begin();
  LocalMailbox* good = before->AddMailbox("good", {}, 0, 0).value();
  LocalMailbox* bad = before->AddMailbox("bad", {}, 0, 0).value();
  LocalProcess* process = AddTestProcess(before.get());
  ASSERT_TRUE(before->AddReceiver(bad, process, /*leases=*/false).ok());
  // Memory that cannot be mapped for writing any more, and nonsense.
  const std::string bad_key = absl::StrCat("mailbox/", bad->id);
  const Fd sealed = CreateMemory("sealed", 4096, MoreSeals::kAllowed).value();
  ASSERT_TRUE(SealAgainstWriting(sealed).ok());
  for (KeptRecord& record : keeper_.List()) {
    if (record.key != bad_key) continue;
    ASSERT_TRUE(
        keeper_.vault()
            ->keeper()
            ->Put(bad_key, record.value, {record.fds[0].get(), record.fds[1].get(), sealed.get()})
            .ok());
  }
  ASSERT_TRUE(keeper_.vault()->keeper()->Put("link/9", "\xff nonsense", {}).ok());
  auto after = Restored();
  EXPECT_NE(after->FindMailbox(good->name), nullptr);
  EXPECT_EQ(after->FindMailbox(bad->name), nullptr);
  EXPECT_NE(after->FindProcess(process->number), nullptr);
  EXPECT_THAT(logged_,
              ElementsAre(HasSubstr("link/9"), HasSubstr(bad_key), HasSubstr("receiver/")));
  EXPECT_THAT(keeper_.Keys(), Not(Contains(bad_key)));
  EXPECT_THAT(keeper_.Keys(), Not(Contains("link/9")));
}

TEST_F(RegistryTest, AMailboxMayHaveMoreReceiversThanARecordHasRoomFor) {
  auto before = NewRegistry();
  before->Begin();
  LocalMailbox* mailbox = before->AddMailbox("orders", {}, 0, 0).value();
  for (uint64_t key = 0; key < 1000; ++key) {
    ASSERT_TRUE(before
                    ->AddRemoteReceiver(mailbox, std::string(100, 'b'), key,
                                        ProcessId(std::string(100, 'b'), 1, key + 1), false)
                    .ok());
  }
  EXPECT_EQ(Restored()->FindMailbox("orders")->remote_receivers.size(), 1000u);
}

TEST_F(RegistryTest, TheOrderInWhichReceiversOpenedAMailboxIsKept) {
  auto before = NewRegistry();
  before->Begin();
  LocalProcess* last = AddTestProcess(before.get());
  LocalProcess* first = AddTestProcess(before.get());
  LocalMailbox* mailbox = before->AddMailbox("orders", {}, 0, 0).value();
  ASSERT_TRUE(before->AddReceiver(mailbox, last, false).ok());
  ASSERT_TRUE(before->AddReceiver(mailbox, first, false).ok());
  ASSERT_TRUE(before->AddRemoteReceiver(mailbox, "beta", 1, ProcessId("beta", 1, 1), false).ok());
  ASSERT_TRUE(before->AddRemoteReceiver(mailbox, "beta", 2, ProcessId("beta", 1, 1), false).ok());
  before->CloseReceiver(mailbox, last->number);
  ASSERT_TRUE(before->AddReceiver(mailbox, last, false).ok());
  before->RemoveRemoteReceiver(mailbox, "beta", 1);
  const auto order = [](Registry* registry) {
    std::vector<uint32_t> numbers;
    for (const auto& [place, number] : registry->FindMailbox("orders")->order) {
      numbers.push_back(number);
    }
    return numbers;
  };
  ASSERT_EQ(order(before.get()).size(), 3u);
  EXPECT_EQ(order(before.get()).front(), first->number);
  EXPECT_EQ(order(before.get()).back(), last->number);
  for (int round = 0; round < 2; ++round) {
    auto after = Restored();
    EXPECT_EQ(order(after.get()).front(), first->number);
    EXPECT_EQ(order(after.get())[1],
              after->FindMailbox("orders")->remote_receivers.at({"beta", 2}).number);
    EXPECT_EQ(order(after.get()).back(), last->number);
    after->SaveAll();
  }
}

TEST_F(RegistryTest, AProcessWithMoreNamesThanCanBeKeptIsToldSo) {
  auto registry = NewRegistry();
  LocalProcess* process = AddTestProcess(registry.get());
  absl::Status status;
  int names = 0;
  for (; status.ok() && names < 1000; ++names) {
    status = registry->AddName(process, absl::StrCat(std::string(100, 'n'), names));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << names;
  EXPECT_EQ(process->names.size(), static_cast<size_t>(names) - 1);
  EXPECT_EQ(registry->FindName(absl::StrCat(std::string(100, 'n'), names - 1)), nullptr);
  EXPECT_NE(registry->FindName(absl::StrCat(std::string(100, 'n'), names - 2)), nullptr);
}

TEST_F(RegistryTest, AfterTheLastNumberThoseThatNobodyHasAreUsedAgainAndHoldNothing) {
  state::Node node;
  node.set_node("alpha");
  node.set_numbers_reserved(kMaxNumber - 2);
  ASSERT_TRUE(keeper_.vault()->Put("node", node, {}).ok());
  auto registry = Restored();
  const uint32_t last = registry->NewNumber().value();
  EXPECT_EQ(last, kMaxNumber - 1);
  LocalMailbox* mailbox = registry->AddMailbox("orders", {}, /*creator=*/2, 1).value();
  MailboxLane* lane = registry->AddLane(mailbox, Endpoint::OfProcess(4), {}, 0, 0).value();
  auto sender = MapCellSender("test", mailbox->options, lane->geometry, lane->data, lane->state,
                              mailbox->destination, nullptr)
                    .value();
  ASSERT_TRUE(sender->Send(0, {{}, "x"}, absl::InfinitePast()).ok());
  auto cells = MapCells(*lane).value();
  CellHead head;
  ASSERT_EQ(cells->reader().Peek(0, &head), Look::kReady);
  // By a number that its owner, long gone, has written in spite of that.
  ASSERT_TRUE(cells->reader().Claim(0, head, 1));
  EXPECT_EQ(AddTestProcess(registry.get())->number, kMaxNumber);
  EXPECT_EQ(AddTestProcess(registry.get())->number, 1u);
  EXPECT_EQ(cells->reader().Count().leased, 0u);
  EXPECT_EQ(cells->reader().Count().waiting, 1u);
  // 2 has created a mailbox that lives, 4 is the sender of a lane.
  EXPECT_EQ(registry->NewNumber().value(), 3u);
  EXPECT_EQ(registry->NewNumber().value(), 5u);
  // One that is started again goes on from there, and knows what is taken.
  auto after = Restored();
  const uint32_t next = after->NewNumber().value();
  EXPECT_GT(next, 5u);
  EXPECT_LT(next, 1000u);
}

TEST_F(RegistryTest, WhatSeveralWriteNobodyCanSealAndWhatOneWritesItCan) {
  auto registry = NewRegistry();
  LocalMailbox* mailbox = registry->AddMailbox("orders", {}, 0, 0).value();
  const auto sealable = [](int fd) { return (fcntl(fd, F_GET_SEALS) & F_SEAL_SEAL) == 0; };
  for (const int fd : mailbox->destination.fds()) EXPECT_FALSE(sealable(fd));
  const Endpoint process = Endpoint::OfProcess(1);
  const Endpoint remote = Endpoint::OfRemoteProcess(ProcessId("beta", 1, 1));
  MailboxLane* lane = registry->AddLane(mailbox, process, {}, 0, 0).value();
  EXPECT_TRUE(sealable(lane->data.get()));
  EXPECT_FALSE(sealable(lane->state.get()));
  EXPECT_FALSE(sealable(registry->AddLane(mailbox, remote, {}, 0, 1).value()->data.get()));
  Link* link = registry->AddLink(process, remote, {}).value();
  EXPECT_TRUE(sealable(link->memory_a.get()));
  EXPECT_FALSE(sealable(link->memory_b.get()));
}

}  // namespace
}  // namespace mailrail
