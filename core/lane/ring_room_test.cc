// Room in a ring lane: the slab, what urgent messages keep, and senders that sleep for room.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;

// Far longer than any look again: a lost wake-up shows as a sleep of this length beside room.
constexpr absl::Duration kLong = absl::Seconds(20);

std::vector<SlabRoom> AllocateAll(RingWriter* writer, uint64_t bytes, bool urgent) {
  std::vector<SlabRoom> rooms;
  for (;;) {
    const absl::optional<SlabRoom> room = writer->Allocate(bytes, urgent);
    if (!room.has_value()) return rooms;
    rooms.push_back(*room);
  }
}

TEST(RingRoomTest, RoomIsInsideTheSlabAndNeverGivenTwice) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  const char* const slab = link.sender.writable() + link.geometry.slab_offset();
  const std::vector<SlabRoom> rooms = AllocateAll(&writer, 1000, true);
  ASSERT_FALSE(rooms.empty());
  for (size_t i = 0; i < rooms.size(); ++i) {
    EXPECT_GE(rooms[i].data, slab);
    EXPECT_LE(rooms[i].data + rooms[i].bytes, slab + link.geometry.slab_bytes);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(rooms[i].cell, rooms[j].cell);
      EXPECT_TRUE(rooms[i].data + rooms[i].bytes <= rooms[j].data ||
                  rooms[j].data + rooms[j].bytes <= rooms[i].data);
    }
  }
}

TEST(RingRoomTest, RoomThatWasNotPublishedGoesBack) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  const size_t count = AllocateAll(&writer, 5000, false).size();
  EXPECT_GT(count, 0u);
  RingWriter other = link.NewWriter();
  for (int round = 0; round < 100; ++round) {
    const std::vector<SlabRoom> rooms = AllocateAll(&other, 5000, false);
    ASSERT_EQ(rooms.size(), count);
    for (const SlabRoom& room : rooms) other.Free(room);
  }
  EXPECT_TRUE(other.Drained());
}

TEST(RingRoomTest, UrgentMessagesKeepAnEighthOfTheSlab) {
  const Link link({.ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 1024});
  RingWriter writer = link.NewWriter();
  const size_t bulk = AllocateAll(&writer, 1024, false).size();
  EXPECT_EQ(bulk, 56u);
  EXPECT_EQ(AllocateAll(&writer, 1024, true).size(), 8u);
}

TEST(RingRoomTest, UrgentMessagesKeepAnEighthOfTheCells) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  const size_t bulk = AllocateAll(&writer, 64, false).size();
  EXPECT_EQ(bulk, 14u);
  EXPECT_EQ(AllocateAll(&writer, 64, true).size(), 2u);
}

TEST(RingRoomTest, UrgentMessagesOfAnySizeFitWhateverOrderBulkReturnsIn) {
  TestRandom random;
  const Link link({.ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 64});
  RingWriter writer = link.NewWriter();
  std::vector<SlabRoom> bulk;
  for (int i = 0; i < 20000; ++i) {
    if (bulk.empty() || !random.OneIn(3)) {
      const auto room = writer.Allocate(1 + random.Below(9000), false);
      if (room.has_value()) bulk.push_back(*room);
    } else {
      std::swap(bulk[random.Below(bulk.size())], bulk.back());
      writer.Free(bulk.back());
      bulk.pop_back();
    }
    const auto urgent = writer.Allocate(link.geometry.slab_bytes / 8, true);
    ASSERT_TRUE(urgent.has_value());
    writer.Free(*urgent);
  }
}

TEST(RingRoomTest, RoomComesBackInAnyOrderAndFromAnyThread) {
  TestRandom random;
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  uint64_t number = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> bodies;
    for (;;) {
      std::string body = Pattern(++number, 4081 + random.Below(3000));
      if (!Send(&writer, kPriority, {{}, body}, number)) break;
      bodies.push_back(std::move(body));
    }
    ASSERT_GE(bodies.size(), 5u);
    std::vector<Record> records(bodies.size());
    for (Record& record : records) {
      ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
      reader.Advance(kPriority, record);
      reader.Consume(kPriority, record);
    }
    reader.Flush();
    ASSERT_FALSE(writer.Drained());
    // Ring room alone does not free the bodies.
    ASSERT_FALSE(writer.Allocate(7081, false).has_value());
    std::vector<size_t> order(bodies.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
    for (const size_t i : order) {
      ASSERT_EQ(absl::string_view(records[i].data, records[i].length), bodies[i]);
    }
    const auto release = [&](size_t from) {
      for (size_t i = from; i < order.size(); i += 2) {
        const Record& record = records[order[i]];
        reader.ReleaseCell(kPriority, record.cell, record.sequence);
      }
    };
    std::thread other(release, 1);
    release(0);
    other.join();
    ASSERT_TRUE(writer.Drained());
  }
}

TEST(RingRoomTest, OneBodyHeldForEverHoldsUpNoOther) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  ASSERT_TRUE(Send(&writer, kPriority, {{}, Pattern(1, 5000)}, 0));
  Record held;
  ASSERT_EQ(reader.Peek(kPriority, &held), Look::kReady);
  reader.Advance(kPriority, held);
  reader.Consume(kPriority, held);
  for (uint64_t i = 0; i < 5000; ++i) {
    const std::string body = Pattern(i, 4081 + i % 20000);
    ASSERT_TRUE(Send(&writer, kPriority, {{}, body}, 0));
    ASSERT_EQ(Receive(&reader, kPriority), body);
    reader.Flush();
  }
  EXPECT_EQ(absl::string_view(held.data, held.length), Pattern(1, 5000));
  EXPECT_FALSE(writer.Drained());
  reader.ReleaseCell(kPriority, held.cell, held.sequence);
  EXPECT_TRUE(writer.Drained());
}

TEST(RingRoomTest, RefusedSlabMessageLeavesItsRoomToTheCaller) {
  const Link link({.ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 256});
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  const absl::optional<SlabRoom> room = writer.Allocate(5000, false);
  ASSERT_TRUE(room.has_value());
  WriteBody(1, 1, 5000, room->data);
  ASSERT_FALSE(writer.AppendSlab(kPriority, *room, 5000, false, 0));
  ASSERT_TRUE(writer.AppendSlab(kPriority + 1, *room, 5000, false, 0));
  const absl::optional<std::string> body = Receive(&reader, kPriority + 1);
  ASSERT_TRUE(body.has_value());
  EXPECT_TRUE(ReadBody(*body).has_value());
}

TEST(RingRoomTest, ASenderThatSleepsFindsEveryRoomWhenItLooksAgain) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  for (int i = 0; i < 1000; ++i) {
    writer.ParkForRoom();
    ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(Receive(&reader, kPriority).has_value());
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  }
}

TEST(RingRoomTest, ASenderThatSleepsFindsRoomInEveryRing) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  while (writer.Append(3, {{}, "x"}, 0)) {
  }
  ASSERT_TRUE(writer.Append(kPriority, {{}, "y"}, 0));
  ASSERT_TRUE(Receive(&reader, 3).has_value());
  writer.ParkForRoom();
  ASSERT_FALSE(writer.Append(3, {{}, "x"}, 0));
  ASSERT_TRUE(Receive(&reader, kPriority).has_value());
  EXPECT_TRUE(writer.Append(3, {{}, "x"}, 0));
}

TEST(RingRoomTest, ASenderThatSleepsIsWokenOnceForASixteenthOfARing) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  const uint32_t sixteenth = kSmallRing.ring_lines() / 16;
  for (uint32_t round = 0; round < 100; ++round) {
    while (writer.Append(kPriority, {{}, "x"}, 0)) {
    }
    reader.Flush();
    const FutexWord word = writer.ParkForRoom();
    ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
    uint32_t taken = 0;
    while (word.word->load() == word.expected) {
      ASSERT_TRUE(Receive(&reader, kPriority).has_value());
      ++taken;
    }
    EXPECT_GE(taken + 1, sixteenth);
    EXPECT_LE(taken, sixteenth);
  }
}

TEST(RingRoomTest, ASenderThatSleepsIsWokenForLessByAFlush) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  const FutexWord word = writer.ParkForRoom();
  ASSERT_TRUE(Receive(&reader, kPriority).has_value());
  ASSERT_EQ(word.word->load(), word.expected);
  reader.Flush();
  EXPECT_NE(word.word->load(), word.expected);
}

TEST(RingRoomTest, ASenderThatSleepsIsToldOfSlabRoomAtOnce) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  const std::string body = Pattern(1, 10000);
  while (Send(&writer, kPriority, {{}, body}, 0)) {
  }
  for (int i = 0; i < 1000; ++i) {
    Record record;
    ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
    reader.Advance(kPriority, record);
    reader.Consume(kPriority, record);
    reader.Flush();
    const FutexWord word = writer.ParkForRoom();
    ASSERT_FALSE(Send(&writer, kPriority, {{}, body}, 0));
    ASSERT_EQ(word.word->load(), word.expected);
    reader.ReleaseCell(kPriority, record.cell, record.sequence);
    ASSERT_NE(word.word->load(), word.expected);
    ASSERT_TRUE(Send(&writer, kPriority, {{}, body}, 0));
  }
}

TEST(RingRoomTest, RoomThatCameBeforeTheParkIsSeenByTheSecondTry) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  ASSERT_TRUE(Receive(&reader, kPriority).has_value());
  reader.Flush();
  writer.ParkForRoom();
  EXPECT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
}

// Sends numbered messages, sleeping for room without ever looking by itself. Returns how often it
// slept beside room.
int SendAll(RingWriter* writer, uint64_t messages, uint64_t large_every, std::atomic<int>* slept) {
  int lost = 0;
  for (uint64_t i = 1; i <= messages; ++i) {
    const size_t size = large_every != 0 && i % large_every == 0 ? 9000 : 24 + i % 500;
    const std::string body = MakeBody(i, 1, size);
    const int priority = static_cast<int>(i % 2) * 30;
    while (!Send(writer, priority, {{}, body}, i)) {
      const FutexWord word = writer->ParkForRoom();
      if (Send(writer, priority, {{}, body}, i)) break;
      slept->fetch_add(1);
      const absl::Time start = absl::Now();
      FutexWait(word.word, word.expected, kLong);
      if (absl::Now() - start >= kLong) ++lost;
    }
  }
  return lost;
}

void Stress(uint64_t messages, uint64_t large_every) {
  const Link link(kSmallRing);
  std::atomic<int> slept{0};
  int lost = 0;
  std::thread sender([&] {
    RingWriter writer = link.NewWriter();
    lost = SendAll(&writer, messages, large_every, &slept);
  });
  // Nobody receives before it sleeps for the first time.
  while (slept.load() == 0) std::this_thread::yield();
  RingReader reader = link.NewReader();
  uint64_t next[] = {2, 1};
  uint64_t received = 0;
  std::vector<std::pair<int, Record>> held;
  while (received < messages) {
    bool found = false;
    for (int lane = 0; lane < 2; ++lane) {
      Record record;
      const Look look = reader.Peek(lane * 30, &record);
      ASSERT_NE(look, Look::kCorrupt);
      if (look == Look::kEmpty) continue;
      found = true;
      ++received;
      const auto head = ReadBody({record.data, record.length});
      ASSERT_TRUE(head.has_value()) << "torn";
      ASSERT_EQ(head->number, next[lane]);
      next[lane] += 2;
      reader.Advance(lane * 30, record);
      reader.Consume(lane * 30, record);
      if (record.in_slab) held.emplace_back(lane * 30, record);
    }
    if (found && held.size() < 4) continue;
    reader.Flush();
    for (const auto& [priority, record] : held) {
      ASSERT_TRUE(ReadBody({record.data, record.length}).has_value()) << "overwritten";
      reader.ReleaseCell(priority, record.cell, record.sequence);
    }
    held.clear();
    if (!found) std::this_thread::yield();
  }
  sender.join();
  EXPECT_EQ(lost, 0) << "sleeps beside room";
  EXPECT_GT(slept.load(), 0);
}

TEST(RingRoomTest, ASleepingSenderIsWokenByRoomInTheRing) { Stress(200000 / kSlowdown, 0); }

TEST(RingRoomTest, ASleepingSenderIsWokenByRoomInTheSlab) { Stress(60000 / kSlowdown, 2); }

}  // namespace
}  // namespace mailrail
