#include "node/carrier/lane_sink.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"
#include "node/carrier/record_codec.h"

namespace mailrail {
namespace {

constexpr uint64_t kWindow = uint64_t{4} << 20;

MailboxOptions Options() {
  MailboxOptions options;
  options.max_message_bytes = size_t{1} << 20;
  return options;
}

class LaneSinkTest : public ::testing::Test {
 protected:
  LaneSinkTest() {
    peer.Opened(bulk);
    peer.Opened(urgent);
  }

  static proto::Data DataOf(int priority, uint64_t first_sequence,
                            const std::vector<std::string>& bodies) {
    proto::Data data;
    data.set_lane(1);
    data.set_priority(static_cast<uint32_t>(priority));
    data.set_first_sequence(first_sequence);
    for (const std::string& body : bodies) {
      Record record;
      record.data = body.data();
      record.length = static_cast<uint32_t>(body.size());
      EXPECT_TRUE(PackRecord(record, data.mutable_records()));
    }
    return data;
  }

  absl::Status Add(proto::Data data) {
    return sink.Add(data.priority() >= kUrgentPriority ? proto::URGENT : proto::BULK, &data);
  }

  // Whether something was published.
  bool Publish() {
    bool busy = false;
    const absl::Status status = sink.Publish(false, &busy);
    EXPECT_TRUE(status.ok()) << status;
    return busy;
  }

  // What is acknowledged now, on that session.
  std::vector<std::pair<uint32_t, uint64_t>> Acks(FakeSession* session) {
    sink.WriteAcks(absl::InfiniteFuture());
    peer.Flush();
    std::vector<std::pair<uint32_t, uint64_t>> acks;
    for (const proto::Frame& frame : session->frames) {
      for (const proto::Accepted& accepted : frame.ack().accepted()) {
        acks.emplace_back(accepted.priority(), accepted.sequence());
      }
    }
    session->frames.clear();
    return acks;
  }

  using AckList = std::vector<std::pair<uint32_t, uint64_t>>;

  TestNode alpha{"alpha"}, beta{"beta"};  // never started
  TestRoute route{1, &alpha, &beta, Options()};
  Peer peer{"alpha"};
  std::shared_ptr<FakeSession> bulk = std::make_shared<FakeSession>(proto::BULK, false);
  std::shared_ptr<FakeSession> urgent = std::make_shared<FakeSession>(proto::URGENT, false);
  Carrier::Counters counters;
  LaneSink sink{route.Inbound(false), &peer, {kWindow, kWindow}, &counters};
};

TEST_F(LaneSinkTest, PublishesWhatComesAndAcknowledgesItOnItsSession) {
  EXPECT_TRUE(Add(DataOf(3, 1, {"one", "two"})).ok());
  EXPECT_TRUE(Add(DataOf(30, 1, {"urgent"})).ok());
  EXPECT_FALSE(sink.idle());
  EXPECT_TRUE(Publish());
  EXPECT_EQ(Acks(bulk.get()), (AckList{{3, 2}}));
  EXPECT_EQ(urgent->frames.size(), 1u);
  EXPECT_EQ(Acks(urgent.get()), (AckList{{30, 1}}));
  EXPECT_TRUE(sink.idle());
  EXPECT_EQ(route.receiver().Receive().body(), "urgent");
  EXPECT_EQ(route.receiver().Receive().body(), "one");
  EXPECT_EQ(route.receiver().Receive().body(), "two");
  EXPECT_EQ(counters.received, 3u);
}

TEST_F(LaneSinkTest, SaysWhatItHas) {
  EXPECT_EQ(sink.State().accepted_size(), 0);
  EXPECT_TRUE(Add(DataOf(3, 1, {"one", "two"})).ok());
  EXPECT_EQ(sink.State().accepted_size(), 0);
  Publish();
  const proto::LaneState state = sink.State();
  EXPECT_EQ(state.lane(), 1u);
  EXPECT_EQ(state.status().code(), 0);
  EXPECT_EQ(state.bulk_window_bytes(), kWindow);
  ASSERT_EQ(state.accepted_size(), 1);
  EXPECT_EQ(state.accepted(0).priority(), 3u);
  EXPECT_EQ(state.accepted(0).sequence(), 2u);
}

TEST_F(LaneSinkTest, DropsWhatHasComeBeforeAndAcknowledgesItAgain) {
  EXPECT_TRUE(Add(DataOf(3, 1, {"one", "two"})).ok());
  Publish();
  Acks(bulk.get());
  EXPECT_TRUE(Add(DataOf(3, 1, {"one", "two"})).ok());
  EXPECT_FALSE(Publish());
  EXPECT_EQ(Acks(bulk.get()), (AckList{{3, 2}}));
  EXPECT_TRUE(Add(DataOf(3, 2, {"two", "three"})).ok());
  EXPECT_TRUE(Publish());
  EXPECT_EQ(Acks(bulk.get()), (AckList{{3, 3}}));
  for (const char* expected : {"one", "two", "three"}) {
    EXPECT_EQ(route.receiver().Receive().body(), expected);
  }
  EXPECT_FALSE(route.receiver().TryReceive().has_value());
}

TEST_F(LaneSinkTest, GoesOnAfterARestartWhereItsLaneEnds) {
  EXPECT_TRUE(Add(DataOf(3, 1, {"one", "two"})).ok());
  Publish();
  LaneSink next(route.Inbound(true), &peer, {kWindow, kWindow}, &counters);
  ASSERT_EQ(next.State().accepted_size(), 1);
  EXPECT_EQ(next.State().accepted(0).sequence(), 2u);
}

TEST_F(LaneSinkTest, RefusesWhatMakesNoSense) {
  EXPECT_TRUE(Add(DataOf(3, 1, {"one"})).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Add(DataOf(3, 3, {"a gap"}))));
  EXPECT_TRUE(absl::IsInvalidArgument(Add(DataOf(32, 1, {"no such priority"}))));
  EXPECT_TRUE(absl::IsInvalidArgument(Add(DataOf(3, 2, {}))));
  proto::Data data = DataOf(3, 2, {"on the wrong session"});
  EXPECT_TRUE(absl::IsInvalidArgument(sink.Add(proto::URGENT, &data)));
  data = DataOf(3, 2, {"cut"});
  data.mutable_records()->pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(Add(data)));
}

TEST_F(LaneSinkTest, RefusesMoreThanTheWindow) {
  LaneSink narrow(route.Inbound(false), &peer, {1000, 1000}, &counters);
  proto::Data data = DataOf(3, 1, {std::string(900, 'x')});
  EXPECT_TRUE(narrow.Add(proto::BULK, &data).ok());
  data = DataOf(4, 1, {std::string(100, 'x')});
  EXPECT_TRUE(absl::IsInvalidArgument(narrow.Add(proto::BULK, &data)));
  data = DataOf(24, 1, {std::string(900, 'x')});
  EXPECT_TRUE(narrow.Add(proto::URGENT, &data).ok());
}

TEST_F(LaneSinkTest, TakesOneMessageThatIsLargerThanTheWindow) {
  LaneSink narrow(route.Inbound(false), &peer, {1000, 1000}, &counters);
  proto::Data data = DataOf(3, 1, {std::string(5000, 'x')});
  EXPECT_TRUE(narrow.Add(proto::BULK, &data).ok());
  data = DataOf(3, 2, {"x"});
  EXPECT_TRUE(absl::IsInvalidArgument(narrow.Add(proto::BULK, &data)));
}

// What follows fills the inbox's ring of one priority.
class FullLaneSinkTest : public LaneSinkTest {
 protected:
  static constexpr uint64_t kMany = 800;

  FullLaneSinkTest() {
    for (uint64_t i = 1; i <= kMany; ++i) {
      EXPECT_TRUE(Add(DataOf(3, i, {Pattern(i, 3000)})).ok());
    }
    EXPECT_TRUE(Publish());
    EXPECT_FALSE(sink.empty());
    EXPECT_TRUE(sink.room_word().has_value());
  }
};

TEST_F(FullLaneSinkTest, AcknowledgesOnlyWhatWasPublished) {
  const AckList acks = Acks(bulk.get());
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].second, counters.received);
  EXPECT_LT(acks[0].second, kMany);
}

TEST_F(FullLaneSinkTest, PublishesTheRestWhenThereIsRoom) {
  EXPECT_FALSE(Publish());
  for (uint64_t i = 1; i <= kMany; ++i) {
    // The word that the loop sleeps on changes before there is nothing left to receive.
    Publish();
    ASSERT_EQ(route.receiver().Receive().body(), Pattern(i, 3000));
  }
  EXPECT_TRUE(sink.empty());
  EXPECT_FALSE(sink.room_word().has_value());
}

TEST_F(FullLaneSinkTest, AFullPriorityHoldsUpNoOther) {
  EXPECT_TRUE(Add(DataOf(2, 1, {"worse"})).ok());
  EXPECT_TRUE(Add(DataOf(31, 1, {"urgent"})).ok());
  EXPECT_TRUE(Publish());
  EXPECT_EQ(route.receiver().Receive().body(), "urgent");
}

TEST_F(FullLaneSinkTest, ForgetsWhatIsNotPublishedWhenTheOriginStartsAgain) {
  const uint64_t published = counters.received;
  sink.Restart();
  EXPECT_TRUE(sink.idle());
  EXPECT_EQ(sink.State().accepted(0).sequence(), published);
  EXPECT_TRUE(Add(DataOf(3, published + 1, {"again"})).ok());
}

TEST_F(FullLaneSinkTest, FindsOutThatItsDestinationIsClosed) {
  route.inbox().Close(CloseReason::kProcessGone);
  bool busy = false;
  EXPECT_TRUE(absl::IsUnavailable(sink.Publish(/*look_again=*/true, &busy)));
}

}  // namespace
}  // namespace mailrail
