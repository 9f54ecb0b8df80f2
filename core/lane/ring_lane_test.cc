// Messages through a ring lane: order, sizes, wrapping, room.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;

TEST(RingGeometryTest, WhatAnAgentGrantsIsValidAndHoldsTwoOfTheLargestMessages) {
  for (const size_t max : {size_t{1}, size_t{4096}, size_t{1} << 20, kDefaultMaxMessageBytes,
                           kLargestMaxMessageBytes}) {
    const RingGeometry geometry = RingGeometry::For(max);
    EXPECT_TRUE(geometry.Valid()) << max;
    EXPECT_GE(geometry.slab_bytes, 2 * max);
    EXPECT_GE(geometry.ring_bytes, 2 * 4096);
    EXPECT_LE(geometry.slab_offset() + geometry.slab_bytes, geometry.memory_bytes());
  }
}

TEST(RingGeometryTest, NumbersThatOverflowOrDoNotFitAreNotValid) {
  EXPECT_TRUE(kSmallRing.Valid());
  EXPECT_FALSE(RingGeometry{}.Valid());
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{64}, uint64_t{4096}, uint64_t{16383}, uint64_t{24576},
        uint64_t{1} << 40, uint64_t{1} << 63, ~uint64_t{0}}) {
    RingGeometry geometry = kSmallRing;
    geometry.ring_bytes = bytes;
    EXPECT_FALSE(geometry.Valid()) << bytes;
  }
  for (const uint64_t bytes : {uint64_t{1} << 62, ~uint64_t{0}}) {
    RingGeometry geometry = kSmallRing;
    geometry.slab_bytes = bytes;
    EXPECT_FALSE(geometry.Valid()) << bytes;
  }
  RingGeometry geometry = kSmallRing;
  geometry.cells = ~uint32_t{0};
  EXPECT_FALSE(geometry.Valid());
}

TEST(RingLaneTest, WhatWasPublishedAndNotConsumedIsCounted) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  const auto unconsumed = [&] {
    return CountUnconsumed(link.sender.readable(), link.receiver.readable());
  };
  EXPECT_EQ(unconsumed(), 0u);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(writer.Append(30, {{}, "x"}, 0));
  }
  ASSERT_TRUE(Receive(&reader, kPriority).has_value());
  reader.Flush();
  EXPECT_EQ(CountPublished(link.sender.readable()), 10u);
  EXPECT_EQ(CountPublished(link.receiver.readable()), 0u);
  EXPECT_EQ(unconsumed(), 9u);
  // A writer that died after it had published, before it said so; the reader was quicker.
  reinterpret_cast<RingHeader*>(link.sender.writable())->tail[kPriority].store(0);
  EXPECT_EQ(unconsumed(), 5u);
}

TEST(RingLaneTest, AnEmptyLaneHasNothingAndIsDrained) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  Record record;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    EXPECT_EQ(reader.Peek(priority, &record), Look::kEmpty);
    EXPECT_EQ(writer.sequence(priority), 0u);
    EXPECT_EQ(reader.consumed(priority), 0u);
  }
  EXPECT_EQ(reader.rings_in_use(), 0u);
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, ARingIsInUseFromItsFirstMessageOn) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  const RingReader reader = link.NewReader();
  ASSERT_TRUE(writer.Append(31, {{}, "a"}, 0));
  EXPECT_EQ(reader.rings_in_use(), 1u << 31);
  ASSERT_TRUE(writer.Append(0, {{}, "a"}, 0));
  ASSERT_TRUE(writer.Append(31, {{}, "a"}, 0));
  EXPECT_EQ(reader.rings_in_use(), 1u << 31 | 1u);
}

TEST(RingLaneTest, MessagesOfOnePriorityArriveInOrderWithStampAndPrefix) {
  struct Expected {
    std::string payload;
    uint64_t stamp;
    bool has_prefix;
  };
  TestRandom random;
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  std::deque<Expected> expected[kPriorityCount];
  uint64_t received[kPriorityCount] = {};
  int refused = 0;
  for (int i = 0; i < 30000; ++i) {
    const int priority = static_cast<int>(random.Below(kPriorityCount));
    if (random.OneIn(2)) {
      const std::string body = Pattern(random(), random.Below(random.OneIn(20) ? 9000 : 300));
      const std::string prefix = random.OneIn(2) ? Pattern(random(), 1 + random.Below(50)) : "";
      const uint64_t stamp = random();
      if (Send(&writer, priority, {prefix, body}, stamp)) {
        expected[priority].push_back({prefix + body, stamp, !prefix.empty()});
        ASSERT_EQ(writer.sequence(priority), received[priority] + expected[priority].size());
      } else {
        ++refused;
      }
      continue;
    }
    Record record;
    const absl::optional<std::string> payload = Receive(&reader, priority, &record);
    ASSERT_EQ(payload.has_value(), !expected[priority].empty());
    if (!payload.has_value()) {
      reader.Flush();
      continue;
    }
    ASSERT_EQ(*payload, expected[priority].front().payload);
    ASSERT_EQ(record.stamp, expected[priority].front().stamp);
    ASSERT_EQ(record.has_prefix, expected[priority].front().has_prefix);
    ASSERT_EQ(record.sequence, ++received[priority]);
    ASSERT_EQ(reader.consumed(priority), received[priority]);
    expected[priority].pop_front();
  }
  EXPECT_GT(refused, 0) << "this test should run into full rings too";
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    while (!expected[priority].empty()) {
      ASSERT_EQ(Receive(&reader, priority), expected[priority].front().payload);
      expected[priority].pop_front();
    }
    EXPECT_EQ(Receive(&reader, priority), absl::nullopt);
  }
  reader.Flush();
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, EveryInlineSizeArrivesWhole) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  for (uint32_t size = 0; size <= kMaxInlineRecord; ++size) {
    const std::string payload = Pattern(size, size);
    const size_t prefix = size % 3 == 0 ? std::min<size_t>(size, 17) : 0;
    const absl::string_view view = payload;
    ASSERT_TRUE(writer.Append(kPriority, {view.substr(0, prefix), view.substr(prefix)}, size));
    Record record;
    ASSERT_EQ(Receive(&reader, kPriority, &record), payload) << size;
    EXPECT_EQ(record.has_prefix, prefix > 0);
    EXPECT_FALSE(record.in_slab);
    reader.Flush();
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, LargePayloadsArriveFromTheSlab) {
  const Link link(RingGeometry::For(4 << 20));
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4081}, size_t{4096}, size_t{65537},
                            size_t{1} << 20, (size_t{3} << 20) + 1, size_t{4} << 20}) {
    const std::string payload = Pattern(size, size);
    const absl::optional<SlabRoom> room = writer.Allocate(size, false);
    ASSERT_TRUE(room.has_value()) << size;
    ASSERT_GE(room->bytes, size);
    payload.copy(room->data, size);
    ASSERT_TRUE(writer.AppendSlab(kPriority, *room, static_cast<uint32_t>(size), size % 2 == 1, 5));
    Record record;
    ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
    EXPECT_TRUE(record.in_slab);
    EXPECT_EQ(record.has_prefix, size % 2 == 1);
    EXPECT_EQ(Receive(&reader, kPriority), payload);
    reader.Flush();
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, ARecordOfAnySizeFitsAnEmptyRingAtEveryAlignment) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  for (uint32_t size : {0u, 48u, 49u, 1000u, 2048u, 4000u, kMaxInlineRecord}) {
    for (uint32_t start = 0; start < 2 * kSmallRing.ring_lines(); ++start) {
      const std::string payload = Pattern(start + size, size);
      ASSERT_TRUE(writer.Append(kPriority, {{}, payload}, 0)) << size << " at " << start;
      ASSERT_EQ(Receive(&reader, kPriority), payload) << size << " at " << start;
      reader.Flush();
      ASSERT_EQ(Receive(&reader, kPriority), absl::nullopt);
      if (LinesFor(size) % 2 == 0) MoveOneLine(&writer, &reader, kPriority);
    }
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, AFullRingRefusesAndLosesNothingAtEveryAlignment) {
  TestRandom random;
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  uint64_t number = 0;
  for (int round = 0; round < 3000; ++round) {
    // Fill up with records of one size, or of any.
    const uint32_t fixed = random.OneIn(2) ? static_cast<uint32_t>(random.Below(4081)) : 0;
    std::deque<std::string> sent;
    for (;;) {
      const size_t size = fixed != 0 ? fixed : random.Below(random.OneIn(3) ? 4081 : 200);
      std::string payload = Pattern(++number, size);
      if (!writer.Append(kPriority, {{}, payload}, 0)) break;
      sent.push_back(std::move(payload));
    }
    ASSERT_FALSE(sent.empty());
    ASSERT_FALSE(writer.Append(kPriority, {{}, Pattern(0, kMaxInlineRecord)}, 0));
    // Another ring is not concerned.
    ASSERT_TRUE(writer.Append(kPriority + 1, {{}, "other"}, 0));
    ASSERT_EQ(Receive(&reader, kPriority + 1), "other");
    for (const std::string& payload : sent) ASSERT_EQ(Receive(&reader, kPriority), payload);
    ASSERT_EQ(Receive(&reader, kPriority), absl::nullopt);
    reader.Flush();
    ASSERT_TRUE(writer.Drained());
  }
}

TEST(RingLaneTest, AFullRingTakesOneMoreForEachOneConsumed) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  uint64_t sent = 0;
  while (writer.Append(kPriority, {{}, Pattern(sent, 40)}, 0)) ++sent;
  // All lines but the one that ends the ring.
  EXPECT_EQ(sent, kSmallRing.ring_lines() - 1);
  for (uint64_t received = 0; received < 1000; ++received) {
    ASSERT_EQ(Receive(&reader, kPriority), Pattern(received, 40));
    reader.Flush();
    ASSERT_TRUE(writer.Append(kPriority, {{}, Pattern(sent, 40)}, 0));
    ++sent;
    ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
  }
}

TEST(RingLaneTest, PeekFindsTheSameRecordUntilAdvance) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "first"}, 1));
  ASSERT_TRUE(writer.Append(kPriority, {{}, "second"}, 2));
  Record record;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
    EXPECT_EQ(absl::string_view(record.data, record.length), "first");
    EXPECT_EQ(record.sequence, 1u);
  }
  reader.Advance(kPriority, record);
  ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
  EXPECT_EQ(absl::string_view(record.data, record.length), "second");
  reader.Advance(kPriority, record);
  EXPECT_EQ(reader.Peek(kPriority, &record), Look::kEmpty);
  EXPECT_EQ(reader.consumed(kPriority), 0u);
  EXPECT_FALSE(writer.Drained());
  reader.Consume(kPriority, record);
  EXPECT_EQ(reader.consumed(kPriority), 2u);
  reader.Flush();
  EXPECT_TRUE(writer.Drained());
}

TEST(RingLaneTest, RoomStaysTakenFromAdvanceToConsume) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  uint64_t sent = 0;
  while (writer.Append(kPriority, {{}, Pattern(sent, 100)}, 0)) ++sent;
  std::vector<Record> records(sent);
  for (Record& record : records) {
    ASSERT_EQ(reader.Peek(kPriority, &record), Look::kReady);
    reader.Advance(kPriority, record);
  }
  reader.Flush();
  EXPECT_FALSE(writer.Append(kPriority, {{}, Pattern(0, 100)}, 0));
  for (uint64_t i = 0; i < sent; ++i) {
    EXPECT_EQ(std::string(records[i].data, records[i].length), Pattern(i, 100));
  }
  reader.Consume(kPriority, records[sent / 2]);
  EXPECT_EQ(reader.consumed(kPriority), sent / 2 + 1);
  reader.Flush();
  uint64_t more = 0;
  while (writer.Append(kPriority, {{}, Pattern(more, 100)}, 0)) ++more;
  EXPECT_EQ(more, sent / 2 + 1);
}

TEST(RingLaneTest, TheSenderIsToldWithoutFlushWhenAGoodPartIsFree) {
  const Link link(kSmallRing);
  RingWriter writer = link.NewWriter();
  RingReader reader = link.NewReader();
  int sent = 0;
  while (writer.Append(kPriority, {{}, "x"}, 0)) ++sent;
  for (int i = 0; i < sent; ++i) Receive(&reader, kPriority);
  int more = 0;
  while (writer.Append(kPriority, {{}, "x"}, 0)) ++more;
  EXPECT_GE(more, sent / 2);
}

TEST(RingLaneTest, ALinkCarriesALaneEachWay) {
  TestRandom random;
  const Link link(kSmallRing);
  RingWriter there = link.NewWriter(),
             back(link.geometry, link.receiver.writable(), link.sender.readable());
  RingReader arrivals = link.NewReader(),
             answers(link.geometry, link.sender.writable(), link.receiver.readable());
  for (int i = 0; i < 5000; ++i) {
    const int priority = static_cast<int>(random.Below(kPriorityCount));
    const std::string request = Pattern(random(), random.Below(10000));
    const std::string answer = Pattern(random(), random.Below(10000));
    ASSERT_TRUE(Send(&there, priority, {{}, request}, 0));
    ASSERT_TRUE(Send(&back, priority, {{}, answer}, 0));
    ASSERT_EQ(Receive(&arrivals, priority), request);
    ASSERT_EQ(Receive(&answers, priority), answer);
    arrivals.Flush();
    answers.Flush();
  }
  EXPECT_TRUE(there.Drained());
  EXPECT_TRUE(back.Drained());
}

// Makes the link's memory that of a lane whose last message at `priority`, empty and consumed,
// began at `line` and had the number `sequence`; only their low halves count.
void Age(const Link& link, int priority, uint32_t line, uint64_t sequence) {
  char* const own = link.sender.writable();
  auto* const header = reinterpret_cast<RingHeader*>(own);
  auto* const peer_header = reinterpret_cast<RingHeader*>(link.receiver.writable());
  header->rings_in_use.fetch_or(1u << priority);
  header->tail[priority].store(RingMark{line, static_cast<uint32_t>(sequence)}.Pack());
  auto* const head =
      reinterpret_cast<RecordHead*>(own + link.geometry.ring_offset(priority) +
                                    static_cast<size_t>(line % link.geometry.ring_lines()) * kLine);
  head->head.store(PackHead(RecordKind::kInline, false, 0, sequence));
  auto* const marks = reinterpret_cast<ConsumedMark*>(link.receiver.writable() + 4096);
  marks[priority].mark.store(RingMark{line + 1, static_cast<uint32_t>(sequence)}.Pack());
  peer_header->consumed_sequence[priority].store(sequence);
}

TEST(RingLaneTest, SendersThatDieBeforeTheyNoteTheTailLoseNoPlace) {
  const Link link(kSmallRing);
  RingReader reader = link.NewReader();
  SharedAtomic<uint64_t>& tail =
      reinterpret_cast<RingHeader*>(link.sender.writable())->tail[kPriority];
  const std::string body(kMaxInlineRecord, 'x');
  for (uint64_t sent = 0; sent < 12; ++sent) {
    SCOPED_TRACE(sent);
    RingWriter writer = link.NewWriter();
    ASSERT_TRUE(writer.Recover().ok());
    ASSERT_EQ(writer.sequence(kPriority), sent);
    const uint64_t noted = tail.load();
    ASSERT_TRUE(writer.Append(kPriority, {{}, body}, 0));
    if (sent > 0) tail.store(noted);
    ASSERT_EQ(Receive(&reader, kPriority), body);
    reader.Flush();
  }
}

TEST(RingLaneTest, LinesAndNumbersGoOnPastTheEndOf32Bits) {
  for (const uint64_t sequence : {uint64_t{0xfffffff0}, uint64_t{0x7ffffff0}, uint64_t{100}}) {
    for (const uint32_t line : {0xffffff80u, 0xfffffffeu, 0xffffffffu, 0x7ffffff0u}) {
      const Link link(kSmallRing);
      Age(link, kPriority, line, sequence);
      // Whoever made it has written the magic numbers; an unused lane of the same shape has them.
      RingReader reader = link.NewReader();
      RingWriter writer = link.NewWriter();
      ASSERT_TRUE(writer.Recover().ok());
      reader.Recover();
      ASSERT_EQ(static_cast<uint32_t>(writer.sequence(kPriority)), sequence);
      uint64_t sent = 0, received = 0;
      TestRandom random(sequence + line);
      while (received < 1000) {
        const size_t size = random.Below(1000);
        if (sent < 1000 && writer.Append(kPriority, {{}, Pattern(sent, sent % 900)}, size)) {
          ++sent;
          continue;
        }
        Record record;
        const auto payload = Receive(&reader, kPriority, &record);
        if (!payload.has_value()) {
          reader.Flush();
          ASSERT_LT(received, sent);
          continue;
        }
        ASSERT_EQ(*payload, Pattern(received, received % 900));
        ++received;
        ASSERT_EQ(static_cast<uint32_t>(record.sequence),
                  static_cast<uint32_t>(sequence + received));
        reader.Flush();
      }
      EXPECT_EQ(writer.sequence(kPriority), sequence + 1000);
      EXPECT_EQ(reader.consumed(kPriority), sequence + 1000);
      EXPECT_TRUE(writer.Drained());
    }
  }
}

}  // namespace
}  // namespace mailrail
