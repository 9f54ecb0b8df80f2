#include "node/carrier/lane_source.h"

#include <string>
#include <vector>

#include "core/message/prefix.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"
#include "node/carrier/record_codec.h"

namespace mailrail {
namespace {

using Next = LaneSource::Next;

MailboxOptions Options() {
  MailboxOptions options;
  options.max_message_bytes = size_t{1} << 20;
  return options;
}

google::protobuf::RepeatedPtrField<proto::Accepted> AcceptedOf(int priority, uint64_t sequence) {
  google::protobuf::RepeatedPtrField<proto::Accepted> list;
  proto::Accepted* const accepted = list.Add();
  accepted->set_priority(static_cast<uint32_t>(priority));
  accepted->set_sequence(sequence);
  return list;
}

class LaneSourceTest : public ::testing::Test {
 protected:
  LaneSourceTest() { Resume(&source); }

  static proto::LaneState StateOf(uint64_t window_bytes = 1 << 20) {
    proto::LaneState state;
    state.set_bulk_window_bytes(window_bytes);
    state.set_urgent_window_bytes(window_bytes);
    return state;
  }

  static void Resume(LaneSource* source, const proto::LaneState& state = StateOf()) {
    const absl::Status status = source->Resume(state);
    EXPECT_TRUE(status.ok()) << status;
  }

  void Send(int priority, absl::string_view body) {
    const absl::Status status = route.sender().Send(priority, {{}, body}, absl::InfinitePast());
    ASSERT_TRUE(status.ok()) << status;
  }

  // The sizes of the messages of the next frame, after its priority and first number.
  static std::vector<uint64_t> Frame(LaneSource* source, proto::SessionClass session_class) {
    proto::Data data;
    if (source->NextFrame(session_class, &data) != Next::kFrame) return {};
    std::vector<uint64_t> frame = {data.priority(), data.first_sequence()};
    absl::string_view rest = data.records();
    Payload payload;
    while (!rest.empty()) {
      EXPECT_TRUE(UnpackRecord(&rest, &payload));
      frame.push_back(payload.body.size());
    }
    return frame;
  }

  using List = std::vector<uint64_t>;

  TestNode alpha{"alpha"}, beta{"beta"};  // never started
  TestRoute route{1, &alpha, &beta, Options()};
  Peer peer{"beta"};
  Carrier::Counters counters;
  LaneSource source{route.Outbound(false), &peer, &counters};
};

TEST_F(LaneSourceTest, FramesWhatIsThereByClassAndPriority) {
  Send(3, "a");
  Send(7, "bb");
  Send(3, "ccc");
  Send(25, "dddd");
  EXPECT_EQ(Frame(&source, proto::BULK), (List{7, 1, 2}));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{3, 1, 1, 3}));
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  EXPECT_EQ(Frame(&source, proto::URGENT), (List{25, 1, 4}));
  EXPECT_EQ(counters.sent, 4u);
}

TEST_F(LaneSourceTest, AFrameHasALimitOrOneMessage) {
  for (int i = 0; i < 3; ++i) Send(0, std::string(15'000, 'x'));
  Send(0, std::string(500'000, 'y'));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 1, 15'000, 15'000}));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 3, 15'000}));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 4, 500'000}));
}

TEST_F(LaneSourceTest, StopsAtTheWindowUntilItIsAcknowledged) {
  source.Rewind();
  Resume(&source, StateOf(250));
  for (int i = 0; i < 3; ++i) Send(0, std::string(100, 'x'));
  Send(24, "urgent");
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 1, 100, 100}));
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  EXPECT_EQ(Frame(&source, proto::URGENT), (List{24, 1, 6}));
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 1)).ok());
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 3, 100}));
}

TEST_F(LaneSourceTest, AMessageLargerThanTheWindowGoesAlone) {
  source.Rewind();
  Resume(&source, StateOf(250));
  Send(0, "small");
  Send(0, std::string(1000, 'x'));
  Send(0, "small");
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 1, 5}));
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 1)).ok());
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 2, 1000}));
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 2)).ok());
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 3, 5}));
}

TEST_F(LaneSourceTest, WhatWaitsForTheWindowIsNotOvertakenByWhatIsWorse) {
  source.Rewind();
  Resume(&source, StateOf(250));
  Send(5, std::string(100, 'x'));
  Send(5, std::string(200, 'x'));
  Send(4, "small");
  EXPECT_EQ(Frame(&source, proto::BULK), (List{5, 1, 100}));
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(5, 1)).ok());
  EXPECT_EQ(Frame(&source, proto::BULK), (List{5, 2, 200}));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{4, 1, 5}));
}

TEST_F(LaneSourceTest, SendsAgainWhatWasNotAccepted) {
  for (int i = 1; i <= 5; ++i) Send(0, std::string(static_cast<size_t>(i), 'x'));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 1, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 1)).ok());
  source.Rewind();
  EXPECT_EQ(Frame(&source, proto::BULK), List());
  proto::LaneState state = StateOf();
  *state.mutable_accepted() = AcceptedOf(0, 3);
  Resume(&source, state);
  Send(0, std::string(6, 'x'));
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 4, 4, 5, 6}));
  EXPECT_EQ(counters.resent, 2u);
  EXPECT_FALSE(source.Drained());
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 6)).ok());
  EXPECT_TRUE(source.Drained());
}

TEST_F(LaneSourceTest, GivesRoomBackWhenItIsAcknowledged) {
  Send(0, std::string(100'000, 'x'));
  Send(0, "small");
  Frame(&source, proto::BULK);
  Frame(&source, proto::BULK);
  source.Flush();
  EXPECT_FALSE(route.sender().Drained());
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 2)).ok());
  source.Flush();
  EXPECT_TRUE(route.sender().Drained());
}

TEST_F(LaneSourceTest, ALaterCarrierGoesOnWhereThePeerSays) {
  for (int i = 1; i <= 4; ++i) Send(0, std::string(static_cast<size_t>(i) * 10'000, 'x'));
  Frame(&source, proto::BULK);
  // Acknowledged, but the sender was not told: that is what a death may leave.
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 1)).ok());
  LaneSource next(route.Outbound(true), &peer, &counters);
  proto::LaneState state = StateOf();
  *state.mutable_accepted() = AcceptedOf(0, 2);
  Resume(&next, state);
  EXPECT_EQ(Frame(&next, proto::BULK), (List{0, 3, 30'000}));
  EXPECT_EQ(Frame(&next, proto::BULK), (List{0, 4, 40'000}));
  EXPECT_TRUE(next.Acknowledge(AcceptedOf(0, 4)).ok());
  next.Flush();
  EXPECT_TRUE(route.sender().Drained());
}

TEST_F(LaneSourceTest, RefusesAcknowledgementsOfWhatWasNotSent) {
  Send(0, "sent");
  Send(1, "not sent yet");
  EXPECT_EQ(Frame(&source, proto::BULK), (List{1, 1, 12}));
  EXPECT_TRUE(absl::IsInvalidArgument(source.Acknowledge(AcceptedOf(0, 1))));
  EXPECT_TRUE(absl::IsInvalidArgument(source.Acknowledge(AcceptedOf(1, 2))));
  EXPECT_TRUE(absl::IsInvalidArgument(source.Acknowledge(AcceptedOf(32, 1))));
  source.Rewind();
  proto::LaneState state = StateOf();
  *state.mutable_accepted() = AcceptedOf(1, 2);
  EXPECT_TRUE(absl::IsInvalidArgument(source.Resume(state)));
}

TEST_F(LaneSourceTest, NoticesThatThePeerHasLostWhatItHadAccepted) {
  Send(0, "one");
  Send(0, "two");
  Frame(&source, proto::BULK);
  EXPECT_TRUE(source.Acknowledge(AcceptedOf(0, 2)).ok());
  source.Rewind();
  EXPECT_TRUE(absl::IsDataLoss(source.Resume(StateOf())));
  proto::LaneState state = StateOf();
  *state.mutable_accepted() = AcceptedOf(0, 1);
  EXPECT_TRUE(absl::IsDataLoss(source.Resume(state)));
}

TEST_F(LaneSourceTest, FindsALaneThatIsNotWellFormed) {
  const Mapping memory = route.SenderMemory();
  Send(0, "good");
  Frame(&source, proto::BULK);
  auto* const next =
      reinterpret_cast<RecordHead*>(memory.data() + route.geometry().ring_offset(0) + kLine);
  next->head = PackHead(RecordKind::kInline, false, 1000, 12345);
  proto::Data data;
  EXPECT_EQ(source.NextFrame(proto::BULK, &data), Next::kCorrupt);
}

TEST_F(LaneSourceTest, ARecordThatTheDestinationNeverTakesIsNotWellFormed) {
  OutboundLane lane = route.Outbound(false);
  lane.max_message_bytes = 2000;
  LaneSource limited(std::move(lane), &peer, &counters);
  Resume(&limited);
  Send(0, std::string(2000, 'x'));
  Send(0, std::string(2001, 'x'));
  EXPECT_EQ(Frame(&limited, proto::BULK), (List{0, 1, 2000}));
  proto::Data data;
  EXPECT_EQ(limited.NextFrame(proto::BULK, &data), Next::kCorrupt);
}

TEST_F(LaneSourceTest, APrefixIsForgedUnlessTheAgentWritesTheLane) {
  Prefix prefix;
  prefix.sender = ProcessId("alpha", 77, 8);
  const std::string encoded = EncodePrefix(prefix);
  const std::string body(size_t{1} << 20, 'x');  // the largest: a prefix comes on top
  ASSERT_TRUE(route.sender().Send(0, {encoded, body}, absl::InfinitePast()).ok());
  EXPECT_EQ(Frame(&source, proto::BULK), (List{0, 1, body.size()}));
  OutboundLane lane = route.Outbound(false);
  lane.of_agent = false;
  LaneSource other(std::move(lane), &peer, &counters);
  Resume(&other);
  proto::Data data;
  EXPECT_EQ(other.NextFrame(proto::BULK, &data), Next::kCorrupt);
}

}  // namespace
}  // namespace mailrail
