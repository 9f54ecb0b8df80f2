// A party of a ring lane that writes anything at all into its memory: the other never reads or
// writes outside the lane, and never goes round in circles.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {0, 12, 31};

// A link between pages that no access survives.
struct GuardedLink {
  explicit GuardedLink(const RingGeometry& shape)
      : geometry(shape), sender(shape.memory_bytes()), receiver(shape.memory_bytes()) {}

  RingWriter NewWriter() const { return RingWriter(geometry, sender.data(), receiver.data()); }
  RingReader NewReader() const { return RingReader(geometry, receiver.data(), sender.data()); }
  std::atomic<uint64_t>* Head(int priority, uint64_t line) const {
    return reinterpret_cast<std::atomic<uint64_t>*>(sender.data() + geometry.ring_offset(priority) +
                                                    line % geometry.ring_lines() * kLine);
  }
  std::atomic<uint64_t>* Mark(int priority) const {
    return &reinterpret_cast<ConsumedMark*>(receiver.data() + 4096)[priority].mark;
  }
  std::atomic<uint64_t>* Done(uint64_t cell) const {
    return reinterpret_cast<std::atomic<uint64_t>*>(receiver.data() + geometry.done_offset()) +
           cell;
  }

  RingGeometry geometry;
  GuardedMemory sender;
  GuardedMemory receiver;
};

int AnyPriority(TestRandom* random) { return kPriorities[random->Below(3)]; }

// A number that is often near a limit.
uint64_t AnyNumber(TestRandom* random) {
  const uint64_t shift = random->Below(64);
  return ((*random)() >> shift) * (random->OneIn(2) ? 1 : ~uint64_t{0}) + random->Below(3) - 1;
}

// A head that is nearly right for the record `sequence`.
uint64_t AnyHead(TestRandom* random, uint64_t sequence) {
  const auto kind = static_cast<RecordKind>(random->Below(random->OneIn(4) ? 8 : 4));
  const auto length = static_cast<uint32_t>(AnyNumber(random)) & 0xfffffff;
  return PackHead(kind, random->OneIn(2), random->OneIn(2) ? length : length % 5000,
                  random->OneIn(8) ? AnyNumber(random) : sequence);
}

void Fill(TestRandom* random, RingWriter* writer) {
  for (int i = 0; i < 60; ++i) {
    const std::string body(random->Below(random->OneIn(4) ? 9000 : 300), 'x');
    Send(writer, AnyPriority(random), {{}, body}, (*random)());
  }
}

// Spoils what the sender wrote, in one of several ways.
void Spoil(TestRandom* random, const GuardedLink& link) {
  char* const data = link.sender.data();
  const uint64_t ways = random->Below(5);
  for (uint64_t i = 0, count = 1 + random->Below(ways == 0 ? 5 : 200); i < count; ++i) {
    const int priority = AnyPriority(random);
    char* const ring = data + link.geometry.ring_offset(priority);
    if (ways <= 1) {
      ring[random->Below(random->OneIn(2) ? 1024 : link.geometry.ring_bytes)] ^=
          static_cast<char>(1 << random->Below(8));
    } else if (ways == 2) {
      link.Head(priority, random->Below(64))->store(AnyHead(random, random->Below(64)));
    } else if (ways == 3) {
      const uint64_t line = random->Below(64);
      link.Head(priority, line)
          ->store(PackHead(RecordKind::kSlab, false, static_cast<uint32_t>(AnyNumber(random)) >> 4,
                           random->Below(40)));
      const SlabReference reference{AnyNumber(random), static_cast<uint32_t>(AnyNumber(random))};
      std::memcpy(ring + line * kLine + sizeof(RecordHead), &reference, sizeof(reference));
    } else {
      data[random->Below(link.geometry.ring_offset(0))] = static_cast<char>((*random)());
    }
  }
}

// Receives up to `looks` messages, touching every byte that it is shown.
void ReceiveAnything(TestRandom* random, const GuardedLink& link, RingReader* reader, int looks) {
  uint64_t sum = 0;
  for (int i = 0; i < looks; ++i) {
    const int priority = AnyPriority(random);
    Record record;
    const Look look = reader->Peek(priority, &record);
    if (look != Look::kReady) {
      reader->Flush();
      continue;
    }
    ASSERT_TRUE(link.sender.Contains(record.data, record.length));
    for (uint32_t at = 0; at < record.length; ++at) sum += static_cast<uint8_t>(record.data[at]);
    reader->Advance(priority, record);
    if (random->OneIn(2)) reader->Consume(priority, record);
    if (record.in_slab) reader->ReleaseCell(priority, record.cell, record.sequence);
  }
  std::atomic<uint64_t> used{sum};
}

TEST(RingHostileTest, NoBytesOfTheSenderLeadTheReceiverOutside) {
  TestRandom random;
  const GuardedLink link(kSmallRing);
  for (int round = 0; round < 3000 / kSlowdown; ++round) {
    std::memset(link.sender.data(), 0, link.geometry.ring_offset(0));
    for (const int priority : kPriorities) {
      std::memset(link.sender.data() + link.geometry.ring_offset(priority), 0,
                  link.geometry.ring_bytes);
    }
    std::memset(link.receiver.data(), 0, link.geometry.ring_offset(0));
    RingWriter writer = link.NewWriter();
    RingReader reader = link.NewReader();
    Fill(&random, &writer);
    ReceiveAnything(&random, link, &reader, static_cast<int>(random.Below(20)));
    for (int again = 0; again < 5; ++again) {
      Spoil(&random, link);
      ReceiveAnything(&random, link, &reader, 200);
      ASSERT_FALSE(HasFatalFailure());
    }
    RingReader next = link.NewReader();
    next.Recover();
    ReceiveAnything(&random, link, &next, 200);
    ASSERT_FALSE(HasFatalFailure());
  }
}

TEST(RingHostileTest, MemoryFullOfRandomBytesLeadsNobodyOutside) {
  TestRandom random;
  const GuardedLink link({.ring_bytes = 16384, .slab_bytes = 4096, .cells = 3});
  for (int round = 0; round < 150 / kSlowdown; ++round) {
    for (const GuardedMemory* memory : {&link.sender, &link.receiver}) {
      for (size_t at = 0; at < memory->size(); at += 8) {
        const uint64_t word = random();
        std::memcpy(memory->data() + at, &word, sizeof(word));
      }
    }
    RingReader reader = link.NewReader();
    if (round % 2 == 0) reader.Recover();
    ReceiveAnything(&random, link, &reader, 3000);
    RingWriter writer = link.NewWriter();
    if (round % 4 < 2 && !writer.Recover().ok()) continue;
    Fill(&random, &writer);
    writer.Drained();
  }
}

TEST(RingHostileTest, ASenderThatChangesItsMemoryMeanwhileLeadsTheReceiverNowhere) {
  TestRandom random;
  const GuardedLink link(kSmallRing);
  std::atomic<uint64_t> reads{0};
  std::atomic<bool> done{false};
  std::thread sender([&, seed = random()] {
    TestRandom own(seed);
    while (!done.load()) {
      // Near what the receiver looks at next.
      const uint64_t at = reads.load();
      Spoil(&own, link);
      for (int i = 0; i < 100; ++i) {
        const uint64_t line = at + own.Below(8);
        link.Head(AnyPriority(&own), line)->store(AnyHead(&own, at + own.Below(4)));
      }
    }
  });
  for (int round = 0; round < 2000 / kSlowdown && !::testing::Test::HasFatalFailure(); ++round) {
    RingReader reader = link.NewReader();
    reads.store(0);
    for (int i = 0; i < 40; ++i) {
      ReceiveAnything(&random, link, &reader, 20);
      reads.store(reader.consumed(kPriorities[0]));
    }
  }
  done.store(true);
  sender.join();
}

TEST(RingHostileTest, ARecordOutOfOrderIsCorruptAndStaysSo) {
  for (const uint64_t number : {0u, 1u, 3u, 4u, 0xffffffffu}) {
    const GuardedLink link(kSmallRing);
    RingWriter writer = link.NewWriter();
    RingReader reader = link.NewReader();
    ASSERT_TRUE(writer.Append(12, {{}, "first"}, 0));
    ASSERT_TRUE(writer.Append(12, {{}, "second"}, 0));
    link.Head(12, 1)->store(PackHead(RecordKind::kInline, false, 6, number));
    ASSERT_EQ(Receive(&reader, 12), "first");
    Record record;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reader.Peek(12, &record), Look::kCorrupt) << number;
    // Only there.
    EXPECT_EQ(reader.Peek(13, &record), Look::kEmpty);
  }
}

TEST(RingHostileTest, ARecordThatReachesOutsideIsCorruptAndStaysSo) {
  const auto inline_head = [](uint32_t length) {
    return PackHead(RecordKind::kInline, false, length, 1);
  };
  for (const uint64_t head :
       {inline_head(kMaxInlineRecord + 1), inline_head(16384), inline_head(0xfffffff),
        PackHead(static_cast<RecordKind>(4), false, 1, 1),
        PackHead(static_cast<RecordKind>(7), true, 1, 1)}) {
    const GuardedLink link(kSmallRing);
    RingReader reader = link.NewReader();
    link.Head(0, 0)->store(head);
    Record record;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reader.Peek(0, &record), Look::kCorrupt) << head;
  }
  for (const SlabReference& reference :
       {SlabReference{0, 16}, SlabReference{0, 0xffffffff}, SlabReference{(64 << 10) - 99, 0},
        SlabReference{~uint64_t{0}, 0}, SlabReference{~uint64_t{0} - 99, 0}}) {
    const GuardedLink link(kSmallRing);
    RingReader reader = link.NewReader();
    std::memcpy(static_cast<void*>(link.Head(0, 0) + 2), &reference, sizeof(reference));
    link.Head(0, 0)->store(PackHead(RecordKind::kSlab, false, 100, 1));
    Record record;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(reader.Peek(0, &record), Look::kCorrupt) << reference.offset;
    }
  }
}

TEST(RingHostileTest, NothingButPaddingIsCorrupt) {
  const GuardedLink link(kSmallRing);
  for (uint64_t line = 0; line < link.geometry.ring_lines(); ++line) {
    link.Head(0, line)->store(PackHead(RecordKind::kPadding, false, 0, 1));
  }
  RingReader reader = link.NewReader();
  Record record;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(reader.Peek(0, &record), Look::kCorrupt);
}

TEST(RingHostileTest, NoMarkOfTheReceiverLeadsTheSenderOutside) {
  TestRandom random;
  const GuardedLink link(kSmallRing);
  for (int round = 0; round < 200 / kSlowdown; ++round) {
    std::memset(link.sender.data(), 0, link.sender.size());
    std::memset(link.receiver.data(), 0, link.receiver.size());
    RingWriter writer = link.NewWriter();
    const std::string body(10000, 'x');
    for (int i = 0; i < 2000; ++i) {
      const uint64_t line = random.OneIn(2) ? AnyNumber(&random) : random.Below(600);
      link.Mark(12)->store(random.OneIn(2) ? AnyNumber(&random) : line << 32 | writer.sequence(12));
      const uint64_t cell = random.Below(link.geometry.cells);
      link.Done(cell)->store(random.OneIn(4) ? AnyNumber(&random)
                                             : CellTag(12, random.Below(writer.sequence(12) + 2)));
      const size_t size = random.Below(random.OneIn(3) ? body.size() : 500);
      Send(&writer, 12, {{}, absl::string_view(body).substr(0, size)}, random());
      if (random.OneIn(16)) writer.ParkForRoom();
      if (random.OneIn(16)) writer.Drained();
    }
    // The rings that were not used are as they were.
    for (const int priority : {11, 13}) {
      const char* const ring = link.sender.data() + link.geometry.ring_offset(priority);
      ASSERT_EQ(absl::string_view(ring, link.geometry.ring_bytes),
                std::string(link.geometry.ring_bytes, '\0'));
    }
  }
}

TEST(RingHostileTest, AMarkBeyondTheLastRecordGivesNoRoom) {
  const GuardedLink link(kSmallRing);
  RingWriter writer = link.NewWriter();
  while (writer.Append(12, {{}, "x"}, 0)) {
  }
  for (const uint32_t line : {256u, 257u, 300u, 0x80000000u, 0xffffffffu}) {
    link.Mark(12)->store(RingMark{line, 256}.Pack());
    EXPECT_FALSE(writer.Append(12, {{}, "x"}, 0)) << line;
  }
  link.Mark(12)->store(RingMark{1, 1}.Pack());
  EXPECT_TRUE(writer.Append(12, {{}, "x"}, 0));
}

TEST(RingHostileTest, AWriterThatFindsRubbishInItsOwnMemorySaysSo) {
  TestRandom random;
  int refused = 0;
  const GuardedLink link(kSmallRing);
  for (int round = 0; round < 3000 / kSlowdown; ++round) {
    std::memset(link.sender.data(), 0, link.sender.size());
    std::memset(link.receiver.data(), 0, link.receiver.size());
    {
      RingWriter writer = link.NewWriter();
      Fill(&random, &writer);
    }
    Spoil(&random, link);
    auto* const entries =
        reinterpret_cast<CellEntry*>(link.sender.data() + link.geometry.cell_offset());
    CellEntry& entry = entries[random.Below(4)];
    if (random.OneIn(2)) entry.tag = AnyNumber(&random);
    if (random.OneIn(2)) entry.offset = AnyNumber(&random);
    if (random.OneIn(2)) entry.bytes = AnyNumber(&random);
    RingWriter writer = link.NewWriter();
    const absl::Status status = writer.Recover();
    if (!status.ok()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss);
      ++refused;
      continue;
    }
    Fill(&random, &writer);
    writer.Drained();
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace mailrail
