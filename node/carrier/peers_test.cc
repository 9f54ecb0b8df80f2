#include "node/carrier/peers.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

proto::Frame Numbered(uint64_t number) {
  proto::Frame frame;
  frame.mutable_lane_end()->set_lane(number);
  return frame;
}

class PeerTest : public ::testing::Test {
 protected:
  Peer peer{"beta"};
  std::shared_ptr<FakeSession> bulk = std::make_shared<FakeSession>(proto::BULK, true);
  std::shared_ptr<FakeSession> urgent = std::make_shared<FakeSession>(proto::URGENT, true);
  std::shared_ptr<FakeSession> from = std::make_shared<FakeSession>(proto::BULK, false);
};

TEST_F(PeerTest, IsUpWhenBothSessionsThatWeDialedAreOpen) {
  EXPECT_FALSE(peer.Opened(from));
  EXPECT_FALSE(peer.Opened(urgent));
  EXPECT_FALSE(peer.up());
  EXPECT_TRUE(peer.Opened(bulk));
  EXPECT_TRUE(peer.up());
  EXPECT_EQ(peer.incarnation(), 1u);
}

TEST_F(PeerTest, ClosesTheOtherSessionOfAPairThatBreaks) {
  peer.Opened(from);
  peer.Opened(urgent);
  peer.Opened(bulk);
  EXPECT_TRUE(peer.Ended(urgent.get()));
  EXPECT_FALSE(peer.up());
  EXPECT_FALSE(bulk->closed.ok());
  EXPECT_TRUE(from->closed.ok());
  EXPECT_FALSE(peer.Has(*bulk));
  EXPECT_TRUE(peer.Has(*from));
  EXPECT_FALSE(peer.Ended(bulk.get()));
  // The end of a session that was closed does not touch the one that took its place.
  auto next = std::make_shared<FakeSession>(proto::BULK, true);
  EXPECT_FALSE(peer.Opened(next));
  EXPECT_FALSE(peer.Ended(bulk.get()));
  EXPECT_TRUE(peer.Has(*next));
  EXPECT_TRUE(peer.Opened(std::make_shared<FakeSession>(proto::URGENT, true)));
}

TEST_F(PeerTest, APairHasOneIncarnation) {
  peer.Opened(bulk);
  EXPECT_FALSE(peer.Opened(std::make_shared<FakeSession>(proto::URGENT, true, 2)));
  EXPECT_FALSE(peer.up());
  EXPECT_FALSE(peer.Ended(bulk.get()));
  EXPECT_TRUE(peer.Opened(std::make_shared<FakeSession>(proto::BULK, true, 2)));
  uint64_t any = 0, former = 1;
  EXPECT_TRUE(peer.UpFor(&any));
  EXPECT_EQ(any, 2u);
  EXPECT_FALSE(peer.UpFor(&former));
}

TEST_F(PeerTest, KnowsWhatIsOpenOfItsOtherLives) {
  peer.Opened(bulk);
  peer.Opened(from);
  EXPECT_TRUE(peer.NotOf(1).empty());
  EXPECT_THAT(peer.NotOf(2), testing::UnorderedElementsAre(bulk, from));
}

TEST_F(PeerTest, WritesFramesInOrderWhenItIsFlushed) {
  peer.Opened(bulk);
  for (uint64_t i = 0; i < 3; ++i) peer.Write(Side::kDialed, proto::BULK, Numbered(i));
  peer.Write(Side::kDialed, proto::URGENT, Numbered(9));  // no such session
  EXPECT_TRUE(bulk->frames.empty());
  peer.Flush();
  ASSERT_EQ(bulk->frames.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(bulk->frames[i].lane_end().lane(), i);
}

TEST_F(PeerTest, HasRoomUntilEnoughIsQueued) {
  peer.Opened(bulk);
  peer.Opened(urgent);
  EXPECT_TRUE(peer.HasRoom(proto::BULK));
  bulk->queued = size_t{2} << 20;
  peer.Flush();
  EXPECT_FALSE(peer.HasRoom(proto::BULK));
  EXPECT_TRUE(peer.HasRoom(proto::URGENT));
  bulk->queued = 0;
  peer.Flush();
  proto::Frame large;
  large.mutable_data()->set_records(std::string(size_t{2} << 20, 'x'));
  peer.Write(Side::kDialed, proto::BULK, large);
  EXPECT_FALSE(peer.HasRoom(proto::BULK));
}

TEST(StatusInfoTest, TravelsThereAndBack) {
  for (const absl::Status& status : {absl::OkStatus(), absl::NotFoundError("no such mailbox")}) {
    EXPECT_EQ(FromStatusInfo(ToStatusInfo(status)), status);
  }
  proto::StatusInfo strange;
  strange.set_code(12345);
  EXPECT_FALSE(FromStatusInfo(strange).ok());
}

}  // namespace
}  // namespace mailrail
