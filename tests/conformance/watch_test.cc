// Promise 7, of mailboxes, nodes and names: an end is told once, in the inbox, with the reason. The
// ends of processes are in death_test.cc, deaths of agents and nodes in tests/fault.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

class WatchTest : public ConformanceTest {
 protected:
  Process& process() { return self().process(); }
  Receiver& inbox() { return process().inbox(); }

  // A mailbox on the side of self() or of peer(); its name in full.
  std::string NewMailbox(Party& owner) {
    const std::string name = NewName();
    EXPECT_THAT(owner.CreateMailbox(name), IsOk());
    return name + "@" + owner.id().node();
  }
  // One on each side.
  std::vector<std::string> NewMailboxes() { return {NewMailbox(self()), NewMailbox(peer())}; }

  void ExpectTold(Ended::Kind kind, const std::string& name, EndReason reason) {
    const absl::StatusOr<Message> told = inbox().Receive(Patience());
    ASSERT_THAT(told, IsOk());
    EXPECT_EQ(told->end(), reason);
    EXPECT_EQ(told->ended().kind, kind);
    EXPECT_EQ(told->ended().name, name);
    EXPECT_EQ(told->body(), "");
  }
  void ExpectNothingIsTold() {
    EXPECT_THAT(inbox().Receive(absl::Now() + absl::Milliseconds(100)),
                HasCode(absl::StatusCode::kDeadlineExceeded));
  }
};

MAILRAIL_OVER_TRANSPORTS(WatchTest);

TEST_P(WatchTest, TheEndOfAMailboxIsToldOnce) {
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(peer().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
    ExpectNothingIsTold();
    EXPECT_THAT(process().WatchMailbox(mailbox), HasCode(absl::StatusCode::kNotFound));
  }
}

TEST_P(WatchTest, AMailboxIsWatchedByItsNameAloneAndToldInFull) {
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_THAT(process().WatchMailbox(mailbox.substr(0, mailbox.find('@'))), IsOk());
    ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
  }
}

TEST_P(WatchTest, WhatIsWatchedTwiceIsToldOnce) {
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(process().WatchMailbox(mailbox.substr(0, mailbox.find('@'))), IsOk());
    ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
    ExpectNothingIsTold();
  }
}

TEST_P(WatchTest, EachWatcherOfAMailboxIsTold) {
  const std::unique_ptr<LocalParty> second = NewSelf();
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(second->process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(peer().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
    EXPECT_EQ(second->process().inbox().Receive(Patience()).value().ended().name, mailbox);
  }
}

TEST_P(WatchTest, AnotherMailboxOfThatNameIsNotWatched) {
  const std::string name = NewName();
  for (Party* owner : std::vector<Party*>{&self(), &peer()}) {
    ASSERT_THAT(owner->CreateMailbox(name), IsOk());
    ASSERT_THAT(process().WatchMailbox(name), IsOk());
    ASSERT_THAT(owner->DestroyMailbox(name), IsOk());
    ASSERT_THAT(owner->CreateMailbox(name), IsOk());
    ExpectTold(Ended::Kind::kMailbox, name + "@" + owner->id().node(), EndReason::kDestroyed);
    ASSERT_THAT(owner->DestroyMailbox(name), IsOk());
    ExpectNothingIsTold();
  }
}

TEST_P(WatchTest, WhenTheEndWasToldAllThatCanBeReceivedIsReceivedUntilUnavailable) {
  constexpr uint64_t kMessages = 50;
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_OK_AND_ASSIGN(handle, self().OpenMailbox(mailbox));
    Receiver& receiver = self().receiver(handle);
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(mailbox));
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(peer().Send(sender, Numbered(kMessages)), IsOk());
    // Some were received before.
    for (uint64_t number = 1; number <= 5; ++number) {
      ASSERT_EQ(NumberOf(receiver.Receive(Patience()).value().body()), number);
    }
    ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
    // Nothing is put in from now on, and what comes is in order, none twice.
    EXPECT_TRUE(Eventually(
        [&] { return peer().Send(sender, {{}}).status.code() == absl::StatusCode::kUnavailable; }));
    uint64_t next = 6;
    absl::StatusOr<Message> message = receiver.Receive(Patience());
    for (; message.ok(); message = receiver.Receive(Patience())) {
      ASSERT_EQ(NumberOf(message->body()), next++);
    }
    EXPECT_THAT(message, HasCode(absl::StatusCode::kUnavailable));
    EXPECT_LE(next, kMessages + 1);
  }
}

TEST_P(WatchTest, AReceiverThatSleepsIsWokenByTheEndOfAMailbox) {
  for (const std::string& mailbox : NewMailboxes()) {
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ReceiveResult told;
    std::thread receiving([&] { told = self().Receive(Party::kInbox, 1); });
    EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
    ASSERT_THAT(peer().DestroyMailbox(mailbox), IsOk());
    receiving.join();
    ASSERT_THAT(told, IsOk());
    EXPECT_EQ(told.messages[0].end, EndReason::kDestroyed);
  }
}

TEST_P(WatchTest, ANoticeGoesBeforeTheMessagesOfOthers) {
  const std::string mailbox = NewMailbox(peer());
  const std::unique_ptr<LocalParty> neighbour = NewSelf();
  ASSERT_OK_AND_ASSIGN(sender, neighbour->Connect(self().id()));
  ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
  ASSERT_THAT(neighbour->Send(sender, Numbered(3, {.priority = 31})), IsOk());
  ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
  // It is in this process when the descriptor of the inbox's version says so; between nodes soon.
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    absl::SleepFor(travel);
    const absl::StatusOr<Message> first = inbox().Receive(Patience());
    const bool is_notice = first.ok() && first->end() == EndReason::kDestroyed;
    if (is_notice) return true;
    EXPECT_THAT(neighbour->Send(sender, {{.priority = 31}}), IsOk());
    return false;
  }));
  EXPECT_THAT(self().Receive(Party::kInbox, 3), IsOk());
}

TEST_P(WatchTest, AWatchThatIsTakenBackTellsNothing) {
  const std::unique_ptr<Party> other = NewPeer();
  const std::vector<std::string> mailboxes = NewMailboxes();
  ASSERT_THAT(process().Watch(other->id()), IsOk());
  EXPECT_THAT(process().Unwatch(other->id()), IsOk());
  EXPECT_THAT(process().Unwatch(other->id()), HasCode(absl::StatusCode::kNotFound));
  for (const std::string& mailbox : mailboxes) {
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    EXPECT_THAT(process().UnwatchMailbox(mailbox.substr(0, mailbox.find('@'))), IsOk());
    EXPECT_THAT(process().UnwatchMailbox(mailbox), HasCode(absl::StatusCode::kNotFound));
  }
  other->End();
  for (const std::string& mailbox : mailboxes) {
    ASSERT_THAT(peer().DestroyMailbox(mailbox), IsOk());
  }
  ExpectNothingIsTold();
}

TEST_P(WatchTest, AWatchThatWasTakenBackCanBeSetAgain) {
  for (const std::string& mailbox : NewMailboxes()) {
    for (int round = 0; round < 10; ++round) {
      ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
      ASSERT_THAT(process().UnwatchMailbox(mailbox), IsOk());
    }
    ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
    ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
    ExpectTold(Ended::Kind::kMailbox, mailbox, EndReason::kDestroyed);
    ExpectNothingIsTold();
  }
}

TEST_P(WatchTest, AWatchTakenBackAfterTheEndTellsNothingEither) {
  const std::string mailbox = NewMailbox(self());
  ASSERT_THAT(process().WatchMailbox(mailbox), IsOk());
  ASSERT_THAT(self().DestroyMailbox(mailbox), IsOk());
  EXPECT_THAT(process().UnwatchMailbox(mailbox), IsOk());
  ExpectNothingIsTold();
}

TEST_P(WatchTest, AProcessIsWatchedByItsName) {
  const std::string name = NewName();
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(other->RegisterName(name), IsOk());
  for (const std::string& text : {name, name + "@" + peer_node(), other->id().ToString()}) {
    ASSERT_OK_AND_ASSIGN(id, process().Watch(text));
    EXPECT_EQ(id, other->id());
  }
  other->End();
  ExpectTold(Ended::Kind::kProcess, other->id().ToString(),
             peer_has_own_process() ? EndReason::kKilled : EndReason::kDetached);
  ExpectNothingIsTold();
  EXPECT_TRUE(Eventually([&] { return !process().Watch(name).ok(); }));
}

TEST_P(WatchTest, ANodeIsWatchedWhileItIsReached) {
  if (across_nodes()) {
    EXPECT_THAT(process().WatchNode("beta"), IsOk());
    ExpectNothingIsTold();
    EXPECT_THAT(process().UnwatchNode("beta"), IsOk());
    EXPECT_THAT(process().UnwatchNode("beta"), HasCode(absl::StatusCode::kNotFound));
  }
  EXPECT_THAT(process().WatchNode("alpha"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(process().WatchNode("zeta"), HasCode(absl::StatusCode::kNotFound));
}

TEST_P(WatchTest, WhatIsNotThereCannotBeWatched) {
  EXPECT_THAT(process().WatchMailbox(NewName()), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(process().WatchMailbox("a b"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(process().WatchNode("a b"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(process().Watch(NewName()), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(process().Watch("???"), HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace mailrail
