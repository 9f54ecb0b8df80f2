#include "tests/instruction/others.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>

#include "tests/support/body.h"

namespace mailrail {

void SendAs(Channel& channel, size_t sender, uint64_t number, size_t size, int priority) {
  const absl::Status status =
      channel.lane(sender).Send(priority, {{}, MakeBody(number, size)}, absl::InfinitePast());
  EXPECT_TRUE(status.ok()) << status;
}

void TakeAll(ReceiveQueue& queue, const Channel& channel, std::vector<Received>* received) {
  while (true) {
    Message message;
    const ReceiveQueue::Taken taken = queue.Take(channel.control(), nullptr, &message);
    if (taken == ReceiveQueue::Taken::kMessage) {
      received->emplace_back(message);
      continue;
    }
    EXPECT_EQ(taken, ReceiveQueue::Taken::kNothing) << queue.error();
    break;
  }
  queue.Flush();
}

uint64_t ExpectInOrder(const std::vector<Received>& received, size_t sender, uint64_t first) {
  std::vector<bool> came;
  uint64_t last[kPriorityCount] = {};
  uint64_t count = 0;
  for (const Received& each : received) {
    if (each.sender != sender) continue;
    EXPECT_TRUE(each.intact) << "torn: " << each.number;
    EXPECT_GT(each.number, last[each.priority]) << "out of order";
    last[each.priority] = each.number;
    EXPECT_GE(each.number, first);
    const uint64_t place = each.number - first;
    if (place >= 1000) continue;
    if (came.size() <= place) came.resize(place + 1);
    EXPECT_FALSE(came[place]) << each.number << " comes twice";
    came[place] = true;
    ++count;
  }
  EXPECT_EQ(count, came.size()) << "one is missing";
  return count;
}

void ExpectTakenUp(Channel& channel, size_t sender, uint64_t published_bulk,
                   uint64_t published_urgent) {
  OutgoingLane* const lane = &channel.spare_lane(sender, 1);
  const absl::Status recovered = lane->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered;
  EXPECT_EQ(lane->sequence(kBulk), published_bulk);
  EXPECT_EQ(lane->sequence(kUrgent), published_urgent);
  constexpr size_t kSizes[] = {40, 200, 6000, 0, 96, 4000};
  uint64_t number = 0;
  for (int round = 0; round < 4; ++round) {
    std::vector<std::pair<uint64_t, size_t>> sent;
    for (const size_t size : kSizes) {
      for (const int priority : {kUrgent, kBulk}) {
        const absl::Status status =
            lane->Send(priority, {{}, MakeBody(++number, size)}, absl::InfinitePast());
        ASSERT_TRUE(status.ok()) << status << ", round " << round << ", " << size << " bytes";
      }
    }
    const std::vector<Received> received = TakeAll(channel.receiver(), channel);
    ASSERT_EQ(received.size(), 2 * std::size(kSizes));
    for (size_t i = 0; i < received.size(); ++i) {
      EXPECT_TRUE(received[i].intact);
      EXPECT_EQ(received[i].size, kSizes[i % std::size(kSizes)]);
      EXPECT_EQ(received[i].priority, i < std::size(kSizes) ? kUrgent : kBulk);
    }
  }
  EXPECT_TRUE(lane->Drained()) << "room is lost";
  const auto room = lane->Claim(kBulk, Channel::kMaxBytes, absl::InfinitePast());
  ASSERT_TRUE(room.ok()) << "room for large bodies is lost: " << room.status();
  lane->Free(**room);
}

void WriteToFreeRoom(OutgoingLane& lane) {
  // More than stands in a lane itself.
  constexpr size_t kBytes = 5000;
  std::vector<SlabRoom> rooms;
  while (true) {
    const auto room = lane.Claim(kBulk, kBytes, absl::InfinitePast());
    if (!room.ok()) break;
    std::memset((*room)->data, 0xee, kBytes);
    rooms.push_back(**room);
  }
  EXPECT_GT(rooms.size(), 0u);
  for (const SlabRoom& room : rooms) lane.Free(room);
}

void ExpectRoomIsFree(Channel& channel, size_t sender) {
  OutgoingLane& lane = channel.lane(sender);
  EXPECT_TRUE(lane.Drained()) << "room is lost";
  const auto room = lane.Claim(kBulk, Channel::kMaxBytes, absl::InfinitePast());
  ASSERT_TRUE(room.ok()) << "room for large bodies is lost: " << room.status();
  lane.Free(**room);
  // As many as it holds, and again.
  uint64_t first = 0;
  for (int round = 0; round < 2; ++round) {
    uint64_t sent = 0;
    while (
        lane.Send(kBulk, {{}, MakeBody(FirstOf(sender) + sent, 96)}, absl::InfinitePast()).ok()) {
      ++sent;
    }
    EXPECT_TRUE(round == 0 || sent == first) << "room is lost";
    first = sent;
    EXPECT_EQ(TakeAll(channel.receiver(), channel).size(), sent);
  }
  EXPECT_GE(first, 13u);
  EXPECT_TRUE(lane.Drained());
}

void ExpectEnded(Channel& channel, size_t sender) {
  const ProcessId id = Channel::IdOf(sender);
  EXPECT_TRUE(channel.receiver().HasLaneOf(id));
  channel.End(sender);
  EXPECT_EQ(TakeAll(channel.receiver(), channel).size(), 0u);
  EXPECT_FALSE(channel.receiver().HasLaneOf(id));
}

}  // namespace mailrail
