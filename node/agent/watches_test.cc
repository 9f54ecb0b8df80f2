#include "node/agent/watches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/process/grants.h"
#include "node/agent/agent_testing.h"
#include "node/agent/awaited_ends.h"

namespace mailrail {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// Keeps what is asked until the test answers.
class HeldCalls : public PeerCaller {
 public:
  struct Held {
    std::string node;
    proto::Request request;
    Callback done;
  };
  std::vector<Held> held;

  void Call(const std::string& node, proto::Request request, absl::Time, Callback done) override {
    held.push_back({node, std::move(request), std::move(done)});
  }
  std::vector<std::string> Peers() const override { return {"beta"}; }
  std::vector<std::string> ConnectedPeers() const override { return {"beta"}; }

  void Answer(size_t index, EndReason reason) {
    proto::Reply reply;
    reply.set_end_reason(static_cast<uint32_t>(reason));
    Held call = std::move(held.at(index));
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(index));
    call.done(reply);
  }
};

class WatchesTest : public testing::Test {
 protected:
  WatchesTest() { Start(); }
  void Start() {
    registry_ = std::make_unique<Registry>("alpha", 1, keeper_.vault(), [](absl::string_view) {});
    calls_ = std::make_unique<HeldCalls>();
    Watches::Options options;
    options.notify = [this](uint32_t number, const control::Notice& notice) {
      notices_.push_back({number, notice.watch_ended()});
      return ++last_notice_;
    };
    options.unreachable_after = absl::ZeroDuration();
    watches_ = std::make_unique<Watches>(std::move(options), &loop_, registry_.get(), calls_.get());
  }
  // As if the agent had been killed and started again.
  void StartAgain() {
    Start();
    ASSERT_TRUE(registry_->Restore(keeper_.List()).ok());
    watches_->Resume();
  }
  std::vector<std::string> KeptWatches() {
    std::vector<std::string> keys;
    for (const std::string& key : keeper_.Keys()) {
      if (key.rfind("watch/", 0) == 0) keys.push_back(key);
    }
    return keys;
  }
  // Names and reasons of what was told.
  std::vector<std::pair<std::string, EndReason>> Told() {
    std::vector<std::pair<std::string, EndReason>> told;
    for (const auto& [number, ended] : notices_) {
      told.push_back({ended.name(), internal::EndReasonOf(ended.end_reason())});
    }
    return told;
  }
  LocalProcess* watcher() {
    if (watcher_ == 0) watcher_ = AddTestProcess(registry_.get())->number;
    return registry_->FindProcess(watcher_);
  }
  void Add(uint64_t watch, const Subject& subject) {
    ASSERT_TRUE(watches_->Add(*watcher(), watch, subject).ok());
  }

  const Subject far_mailbox_ = Subject::OfMailbox("beta", "orders", 7);
  const Subject far_process_ = Subject::OfProcess(ProcessId("beta", 4711, 3));
  TestKeeper keeper_;
  Loop loop_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<HeldCalls> calls_;
  std::unique_ptr<Watches> watches_;
  std::vector<std::pair<uint32_t, control::WatchEnded>> notices_;
  uint64_t last_notice_ = 0;
  uint32_t watcher_ = 0;
};

TEST_F(WatchesTest, AnEndIsKeptUntilItWasRead) {
  LocalProcess* const other = AddTestProcess(registry_.get());
  const std::string name = other->id.ToString();
  Add(5, Subject::OfProcess(other->id));
  watches_->OnProcessGone(*other, EndReason::kKilled);
  EXPECT_THAT(Told(), ElementsAre(Pair(name, EndReason::kKilled)));
  EXPECT_EQ(notices_[0].second.id(), 5u);
  StartAgain();
  // Once more, with the reason that is known by now only here.
  EXPECT_THAT(Told(), ElementsAre(Pair(name, EndReason::kKilled), Pair(name, EndReason::kKilled)));
  watches_->OnSeen(watcher()->number, last_notice_ - 1);
  EXPECT_THAT(KeptWatches(), SizeIs(1));
  watches_->OnSeen(watcher()->number, last_notice_);
  EXPECT_THAT(KeptWatches(), IsEmpty());
}

TEST_F(WatchesTest, WhatHadEndedBeforeTheRestartIsTold) {
  LocalProcess* const other = AddTestProcess(registry_.get());
  const ProcessId id = other->id;
  LocalMailbox* const mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  Add(1, Subject::OfProcess(id));
  Add(2, Subject::OfMailbox("alpha", "orders", mailbox->id));
  registry_->RemoveProcess(other->number);
  registry_->RemoveMailbox(mailbox->id);
  StartAgain();
  EXPECT_THAT(Told(), UnorderedElementsAre(Pair(id.ToString(), EndReason::kEnded),
                                           Pair("orders@alpha", EndReason::kDestroyed)));
}

TEST_F(WatchesTest, WatchesOfTheDeadAreRemoved) {
  LocalProcess* const other = AddTestProcess(registry_.get());
  Add(1, Subject::OfProcess(other->id));
  Add(2, far_mailbox_);
  Add(3, Subject::OfNode("beta"));
  ASSERT_THAT(KeptWatches(), SizeIs(3));
  watches_->OnProcessGone(*watcher(), EndReason::kKilled);
  EXPECT_THAT(KeptWatches(), IsEmpty());
  // Its home is told that nobody waits.
  ASSERT_THAT(calls_->held, SizeIs(2));
  EXPECT_TRUE(calls_->held[1].request.has_forget_end());
  registry_->RemoveProcess(watcher_);
  watches_->OnProcessGone(*other, EndReason::kExited);
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(WatchesTest, ADeadWatchersRecordIsDroppedAtTheRestart) {
  Add(1, far_mailbox_);
  registry_->RemoveProcess(watcher_);
  StartAgain();
  EXPECT_THAT(KeptWatches(), IsEmpty());
  EXPECT_THAT(calls_->held, IsEmpty());
}

TEST_F(WatchesTest, ANodeIsAskedOnceForAllAndAgainAfterARestart) {
  LocalProcess* const second = AddTestProcess(registry_.get());
  Add(1, far_process_);
  ASSERT_TRUE(watches_->Add(*second, 1, far_process_).ok());
  ASSERT_THAT(calls_->held, SizeIs(1));
  EXPECT_EQ(calls_->held[0].node, "beta");
  EXPECT_EQ(calls_->held[0].request.await_end().process().pid(), 4711);
  StartAgain();
  ASSERT_THAT(calls_->held, SizeIs(1));
  calls_->Answer(0, EndReason::kExited);
  EXPECT_THAT(Told(), ElementsAre(Pair("4711.3@beta", EndReason::kExited),
                                  Pair("4711.3@beta", EndReason::kExited)));
  EXPECT_NE(notices_[0].first, notices_[1].first);
}

TEST_F(WatchesTest, TheSameWatchAgainIsTheEarlierOneUntilItHasEnded) {
  Add(1, far_mailbox_);
  EXPECT_EQ(watches_->Add(*watcher(), 2, far_mailbox_).value()->watch, 1u);
  EXPECT_THAT(KeptWatches(), SizeIs(1));
  calls_->Answer(0, EndReason::kDestroyed);
  EXPECT_EQ(watches_->Add(*watcher(), 3, far_mailbox_).value()->watch, 3u);
  EXPECT_THAT(calls_->held, SizeIs(1));
}

TEST_F(WatchesTest, OneThatIsTakenBackIsNotTold) {
  Add(1, far_mailbox_);
  watches_->Remove(watcher()->number, 2);
  EXPECT_THAT(KeptWatches(), SizeIs(1));
  watches_->Remove(watcher()->number, 1);
  EXPECT_THAT(KeptWatches(), IsEmpty());
  calls_->Answer(0, EndReason::kDestroyed);
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(WatchesTest, AnErrorIsNoEnd) {
  Add(1, far_mailbox_);
  HeldCalls::Held call = std::move(calls_->held[0]);
  calls_->held.clear();
  call.done(absl::ResourceExhaustedError("too much"));
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_THAT(KeptWatches(), SizeIs(1));
}

TEST_F(WatchesTest, ANodeThatIsNotReachedIsToldAndOneThatIsBackInTimeIsNot) {
  watches_->OnPeerUp("beta");
  Add(1, Subject::OfNode("beta"));
  watches_->OnPeerDown("beta");
  watches_->OnPeerUp("beta");
  loop_.RunOnce();
  EXPECT_THAT(Told(), IsEmpty());
  watches_->OnPeerDown("beta");
  loop_.RunOnce();
  EXPECT_THAT(Told(), ElementsAre(Pair("beta", EndReason::kUnreachable)));
  watches_->OnPeerUp("beta");
  watches_->OnPeerDown("beta");
  loop_.RunOnce();
  EXPECT_THAT(Told(), SizeIs(1));
}

TEST_F(WatchesTest, ANodeThatStartsAnewEndsAllThatItHad) {
  watches_->OnPeerUp("beta");
  Add(1, Subject::OfNode("beta"));
  Add(2, far_mailbox_);
  Add(3, far_process_);
  Add(4, Subject::OfNode("gamma"));
  watches_->OnNodeAnew("beta");
  EXPECT_THAT(Told(), UnorderedElementsAre(Pair("beta", EndReason::kEnded),
                                           Pair("orders@beta", EndReason::kEnded),
                                           Pair("4711.3@beta", EndReason::kEnded)));
}

TEST_F(WatchesTest, AProcessWatchesNoMoreThanItsLimit) {
  for (size_t i = 0; i < kMaxWatches; ++i) Add(i + 1, Subject::OfMailbox("beta", "m", i + 1));
  const absl::StatusOr<Watch*> more = watches_->Add(*watcher(), kMaxWatches + 1, far_process_);
  EXPECT_EQ(more.status().code(), absl::StatusCode::kResourceExhausted);
}

class AwaitedEndsTest : public testing::Test {
 protected:
  AwaitedEndsTest() : registry_("alpha", 1, keeper_.vault(), [](absl::string_view) {}) {}
  static proto::AwaitEnd Of(const LocalProcess& process) {
    return ToProto(Subject::OfProcess(process.id));
  }
  static proto::AwaitEnd Of(const LocalMailbox& mailbox) {
    return ToProto(Subject::OfMailbox("alpha", mailbox.name, mailbox.id));
  }

  TestKeeper keeper_;
  Registry registry_;
  // By node and id of the question: reasons, and codes of errors.
  std::map<std::pair<std::string, uint64_t>, std::pair<uint32_t, int>> answers_;
  AwaitedEnds awaited_{&registry_,
                       [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
                         answers_[{node, id}] = {reply.end_reason(), reply.status().code()};
                       }};
};

uint32_t Number(EndReason reason) { return static_cast<uint32_t>(reason); }

TEST_F(AwaitedEndsTest, EachNodeIsAnsweredWhenTheEndHasCome) {
  LocalMailbox* const mailbox = registry_.AddMailbox("orders", {}, 0, 0).value();
  awaited_.Await("beta", 1, Of(*mailbox));
  awaited_.Await("gamma", 1, Of(*mailbox));
  // In place of the first.
  awaited_.Await("beta", 2, Of(*mailbox));
  EXPECT_THAT(answers_, IsEmpty());
  awaited_.OnMailboxDestroyed(*mailbox);
  const auto destroyed = std::make_pair(Number(EndReason::kDestroyed), 0);
  EXPECT_THAT(answers_, UnorderedElementsAre(Pair(Pair("beta", 2), destroyed),
                                             Pair(Pair("gamma", 1), destroyed)));
}

TEST_F(AwaitedEndsTest, WhatIsGoneIsAnsweredAtOnce) {
  LocalMailbox* const mailbox = registry_.AddMailbox("orders", {}, 0, 0).value();
  const proto::AwaitEnd orders = Of(*mailbox);
  registry_.RemoveMailbox(mailbox->id);
  LocalProcess* const process = AddTestProcess(&registry_);
  const proto::AwaitEnd program = Of(*process);
  registry_.RemoveProcess(process->number);
  awaited_.Await("beta", 1, orders);
  awaited_.Await("beta", 2, program);
  EXPECT_EQ((answers_[{"beta", 1}].first), Number(EndReason::kDestroyed));
  EXPECT_EQ((answers_[{"beta", 2}].first), Number(EndReason::kEnded));
}

TEST_F(AwaitedEndsTest, AProcessHasEndedForANodeWhenAllIsThereThatItHadSentThere) {
  LocalProcess* const process = AddTestProcess(&registry_);
  const uint32_t number = process->number;
  Link* const link = registry_
                         .AddLink(Endpoint::OfProcess(number),
                                  Endpoint::OfRemoteProcess(ProcessId("beta", 4711, 3)), {})
                         .value();
  awaited_.Await("beta", 1, Of(*process));
  awaited_.Await("gamma", 2, Of(*process));
  awaited_.OnProcessGone(*process, EndReason::kKilled);
  registry_.RemoveProcess(number);
  const auto killed = std::make_pair(Number(EndReason::kKilled), 0);
  EXPECT_THAT(answers_, ElementsAre(Pair(Pair("gamma", 2), killed)));
  awaited_.OnLinkEnded();
  EXPECT_THAT(answers_, SizeIs(1));
  registry_.RemoveLink(link->id);
  awaited_.OnLinkEnded();
  EXPECT_THAT(answers_, Contains(Pair(Pair("beta", 1), killed)));
}

TEST_F(AwaitedEndsTest, AQuestionThatIsForgottenIsAnsweredWithoutAReason) {
  LocalMailbox* const mailbox = registry_.AddMailbox("orders", {}, 0, 0).value();
  awaited_.Await("beta", 1, Of(*mailbox));
  awaited_.Forget("beta", 2, Of(*mailbox));
  EXPECT_THAT(answers_, UnorderedElementsAre(Pair(Pair("beta", 1), Pair(0, 0)),
                                             Pair(Pair("beta", 2), Pair(0, 0))));
  answers_.clear();
  awaited_.OnMailboxDestroyed(*mailbox);
  EXPECT_THAT(answers_, IsEmpty());
}

TEST_F(AwaitedEndsTest, ANodeThatStartedAnewIsNotAnswered) {
  LocalMailbox* const mailbox = registry_.AddMailbox("orders", {}, 0, 0).value();
  awaited_.Await("beta", 1, Of(*mailbox));
  awaited_.OnNodeAnew("beta");
  awaited_.OnMailboxDestroyed(*mailbox);
  EXPECT_THAT(answers_, IsEmpty());
}

TEST_F(AwaitedEndsTest, WhatMakesNoSenseIsRefused) {
  proto::AwaitEnd other_node;
  internal::ToProto(ProcessId("gamma", 1, 1), other_node.mutable_process());
  proto::AwaitEnd any_life;
  internal::ToProto(ProcessId("alpha", 1, 0), any_life.mutable_process());
  uint64_t id = 0;
  for (const proto::AwaitEnd& await : {proto::AwaitEnd(), other_node, any_life}) {
    awaited_.Await("beta", ++id, await);
    EXPECT_EQ((answers_[{"beta", id}].second),
              static_cast<int>(absl::StatusCode::kInvalidArgument));
    awaited_.Forget("beta", ++id, await);
    EXPECT_EQ((answers_[{"beta", id}].second), 0);
  }
}

}  // namespace
}  // namespace mailrail
