// Lanes whose memory is reserved in steps: they write nothing that they have not reserved, and what
// they have is enough to go on with.
#include "core/shm/reserve.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/lane/cell_testing.h"
#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

// Lets nobody write to a page that was not reserved: whoever does ends the test.
class GuardingReserve : public Reserve {
 public:
  GuardingReserve(const TwiceMapped& memory, uint64_t limit) : limit_(limit) { Guard(memory); }
  // Not when there are several memories: `memory` has no pages yet.
  void Guard(const TwiceMapped& memory) {
    Require(mprotect(memory.writable(), memory.size(), PROT_READ) == 0, "mprotect");
  }
  void set_limit(uint64_t limit) { limit_ = limit; }
  uint64_t used() const { return used_; }

  bool Take(char* at, size_t bytes) override {
    const auto begin = reinterpret_cast<uintptr_t>(at) / 4096 * 4096;
    const auto end = (reinterpret_cast<uintptr_t>(at) + bytes + 4095) / 4096 * 4096;
    return Count(end - begin) && Provide(at, bytes);
  }
  bool Count(size_t bytes) override {
    if (used_ + bytes > limit_) return false;
    used_ += bytes;
    return true;
  }
  bool Provide(char* at, size_t bytes) override {
    const auto begin = reinterpret_cast<uintptr_t>(at) / 4096 * 4096;
    const auto end = (reinterpret_cast<uintptr_t>(at) + bytes + 4095) / 4096 * 4096;
    Require(mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE) == 0,
            "mprotect");
    return true;
  }
  void Force(char* at, size_t bytes) override {
    used_ += bytes;
    Provide(at, bytes);
  }
  std::string Why() const override { return "the test has none"; }

 private:
  uint64_t limit_;
  uint64_t used_ = 0;
};

constexpr RingGeometry kRing = {.ring_bytes = 1 << 18, .slab_bytes = 1 << 20, .cells = 512};
constexpr uint64_t kFixed = 8192, kPage = 4096, kPlenty = uint64_t{1} << 40;

// A lane whose sender reserves. The receiver's memory is all there.
struct ReservedRing {
  explicit ReservedRing(uint64_t limit) : link(kRing), reserve(link.sender, kFixed + limit) {
    Require(reserve.Take(link.sender.writable(), kFixed), "the fixed part");
    writer = std::make_unique<RingWriter>(kRing, link.sender.writable(),
                                          link.receiver.seen_by_other(), &reserve);
    reader.reset(new RingReader(link.NewReader()));
  }
  uint64_t used() const { return reserve.used() - kFixed; }
  void set_limit(uint64_t limit) { reserve.set_limit(kFixed + limit); }
  // Sends until there is no room; how many.
  uint64_t Fill(int priority, const std::string& body) {
    uint64_t sent = 0;
    while (Send(writer.get(), priority, {{}, body}, 0)) ++sent;
    return sent;
  }
  uint64_t Drain(int priority) {
    uint64_t received = 0;
    while (Receive(reader.get(), priority).has_value()) ++received;
    reader->Flush();
    return received;
  }

  Link link;
  GuardingReserve reserve;
  std::unique_ptr<RingWriter> writer;
  std::unique_ptr<RingReader> reader;
};

TEST(RingReserveTest, AnUnusedRingReservesNothingAndTheFirstMessageOnePage) {
  ReservedRing ring(kPlenty);
  EXPECT_EQ(ring.used(), 0u);
  ASSERT_TRUE(ring.writer->Append(3, {{}, "x"}, 0));
  EXPECT_EQ(ring.used(), kPage);
  ASSERT_TRUE(ring.writer->Append(30, {{}, "x"}, 0));
  EXPECT_EQ(ring.used(), 2 * kPage);
}

TEST(RingReserveTest, ARingGrowsToItsWholeSizeAndHoldsAsManyAsOneThatWasThere) {
  ReservedRing ring(kPlenty);
  Link whole(kRing);
  RingWriter writer = whole.NewWriter();
  uint64_t most = 0;
  while (writer.Append(0, {{}, "x"}, 0)) ++most;
  EXPECT_EQ(ring.Fill(0, "x"), most);
  EXPECT_FALSE(ring.writer->short_of_memory());
  EXPECT_EQ(ring.used(), kRing.ring_bytes);
  EXPECT_EQ(ring.Drain(0), most);
}

TEST(RingReserveTest, WithoutMemoryForAFirstStepThereIsNoRoomUntilThereIs) {
  ReservedRing ring(kPage - 1);
  EXPECT_FALSE(ring.writer->Append(0, {{}, "x"}, 0));
  EXPECT_TRUE(ring.writer->short_of_memory());
  ring.set_limit(kPage);
  EXPECT_TRUE(ring.writer->Append(0, {{}, "x"}, 0));
}

TEST(RingReserveTest, ASmallRingThatCannotGrowGoesRoundForEver) {
  ReservedRing ring(kPage);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t sent = ring.Fill(0, std::string(100, 'a'));
    EXPECT_TRUE(ring.writer->short_of_memory());
    ASSERT_GE(sent, round == 0 ? 31u : 1u) << round;
    ASSERT_EQ(ring.Drain(0), sent) << round;
  }
  EXPECT_EQ(ring.used(), kPage);
}

TEST(RingReserveTest, OneReceiveMakesRoomInASmallFullRing) {
  ReservedRing ring(kPage);
  ring.Fill(0, std::string(40, 'a'));
  // It waits, so the receiver tells of each.
  for (int i = 0; i < 500; ++i) {
    ring.writer->ParkForRoom();
    ASSERT_FALSE(ring.writer->Append(0, {{}, "x"}, 0)) << i;
    // The first after the padding gives the rest of the round back too.
    while (!ring.writer->Append(0, {{}, "x"}, 0)) {
      ring.writer->ParkForRoom();
      ASSERT_TRUE(Receive(ring.reader.get(), 0).has_value()) << i;
    }
    ring.Fill(0, "x");
  }
}

TEST(RingReserveTest, MessagesOfEachSizeGoOnWhenAllIsReceivedHoweverLittleThereIs) {
  for (size_t bytes = 1; bytes <= kMaxInlineRecord; bytes += 61) {
    const uint32_t lines = LinesFor(static_cast<uint32_t>(bytes));
    // As little as is enough for one of them after another.
    const uint64_t least = (2 * lines * kLine + kLine + kPage - 1) / kPage * kPage;
    ReservedRing ring(least);
    for (int i = 0; i < 300; ++i) {
      // Others in between, so that it begins everywhere.
      if (i % 3 == 0) (void)ring.writer->Append(0, {{}, std::string(i % 200, 'b')}, 0);
      ring.Drain(0);
      ASSERT_TRUE(ring.writer->Append(0, {{}, std::string(bytes, 'a')}, 0)) << bytes << " " << i;
      ring.Drain(0);
    }
  }
}

TEST(RingReserveTest, AReceiverThatKeepsUpKeepsARingSmall) {
  ReservedRing ring(kPlenty);
  for (int i = 0; i < 100000; ++i) {
    ASSERT_TRUE(ring.writer->Append(0, {{}, "body"}, 0));
    if (i % 10 == 9) {
      ASSERT_EQ(ring.Drain(0), 10u);
    }
  }
  EXPECT_EQ(ring.used(), uint64_t{64} << 10);
}

// Else a sender whose receiver lags, as an agent's that reads in batches, would wait for each round
// of a ring that is too small.
TEST(RingReserveTest, ARingGrowsToItsWholeSizeWhenItsReceiverLagsByAllThatItHolds) {
  ReservedRing ring(kPlenty);
  const auto receive = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Receive(ring.reader.get(), 0).has_value());
    ring.reader->Flush();
  };
  // It is not full when it first comes to its end, so it goes round.
  for (int i = 0; i < 900; ++i) ASSERT_TRUE(ring.writer->Append(0, {{}, "body"}, 0));
  for (int round = 0; round < 40; ++round) {
    receive(600);
    if (round == 0) {
      EXPECT_EQ(ring.used(), uint64_t{64} << 10);
    }
    ring.Fill(0, "body");
  }
  EXPECT_EQ(ring.used(), kRing.ring_bytes);
}

TEST(RingReserveTest, LargeBodiesReserveWhatTheyTakeAndUseItAgain) {
  ReservedRing ring(kPlenty);
  const std::string body(20000, 'a');
  ASSERT_TRUE(Send(ring.writer.get(), 0, {{}, body}, 0));
  const uint64_t first = ring.used();
  // A page of the ring, one of the cells, and the body.
  EXPECT_EQ(first, 2 * kPage + 20480);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(ring.Drain(0), 1u);
    ASSERT_TRUE(Send(ring.writer.get(), 0, {{}, body}, 0));
  }
  EXPECT_LE(ring.used(), uint64_t{768} << 10);
}

TEST(RingReserveTest, ALargeBodyWithoutMemoryHasNoRoomUntilAnotherIsLetGo) {
  ReservedRing ring(2 * kPage + 20480);
  const std::string body(20000, 'a');
  ASSERT_TRUE(Send(ring.writer.get(), 0, {{}, body}, 0));
  EXPECT_FALSE(ring.writer->Allocate(body.size(), false).has_value());
  EXPECT_TRUE(ring.writer->short_of_memory());
  // Small ones still have room.
  EXPECT_TRUE(ring.writer->Append(0, {{}, "small"}, 0));
  ASSERT_EQ(ring.Drain(0), 2u);
  EXPECT_TRUE(ring.writer->Allocate(body.size(), false).has_value());
  EXPECT_FALSE(ring.writer->short_of_memory());
}

// Whatever is sent, and whenever there is memory: all that was sent comes, in order, and nothing is
// written that was not reserved. Now and then another writer takes the lane up.
TEST(RingReserveTest, WhateverIsSentComesWithWhateverMemory) {
  TestRandom random;
  for (int round = 0; round < 60 / kSlowdown; ++round) {
    ReservedRing ring(random.Below(1 << 19));
    std::deque<std::string> sent[2];
    std::vector<std::unique_ptr<GuardingReserve>> later;
    for (int step = 0; step < 4000; ++step) {
      const int which = static_cast<int>(random.Below(2));
      const int priority = which == 0 ? 2 : 29;
      const size_t size = random.OneIn(10)  ? 4081 + random.Below(60000)
                          : random.OneIn(3) ? random.Below(4080)
                                            : random.Below(100);
      if (random.OneIn(2)) {
        const std::string body = Pattern(random(), size);
        if (Send(ring.writer.get(), priority, {{}, body}, 0)) sent[which].push_back(body);
      } else if (const auto body = Receive(ring.reader.get(), priority); body.has_value()) {
        ASSERT_FALSE(sent[which].empty());
        ASSERT_TRUE(*body == sent[which].front());
        sent[which].pop_front();
      } else {
        ring.reader->Flush();
      }
      if (random.OneIn(200)) ring.set_limit(random.Below(1 << 20));
      if (random.OneIn(500)) {
        later.push_back(
            std::make_unique<GuardingReserve>(ring.link.sender, kFixed + random.Below(1 << 20)));
        GuardingReserve* const next = later.back().get();
        Require(next->Take(ring.link.sender.writable(), kFixed), "the fixed part");
        ring.writer = std::make_unique<RingWriter>(kRing, ring.link.sender.writable(),
                                                   ring.link.receiver.seen_by_other(), next);
        ASSERT_TRUE(ring.writer->Recover().ok());
      }
    }
    for (int which = 0; which < 2; ++which) {
      while (const auto body = Receive(ring.reader.get(), which == 0 ? 2 : 29)) {
        ASSERT_TRUE(*body == sent[which].front());
        sent[which].pop_front();
      }
      ASSERT_TRUE(sent[which].empty());
    }
  }
}

constexpr CellGeometry kCells = {.slots = 4096, .slab_bytes = 1 << 20};

// The order and the states of one priority, counted whole.
constexpr uint64_t kOrderAndStates = (16 + 8) * 4096;
constexpr uint64_t kHeaders = sizeof(CellHeader) + sizeof(StateHeader);

struct ReservedCells {
  explicit ReservedCells(uint64_t limit, uint32_t capacity = 4096)
      : lane(kCells, capacity), reserve(lane.data, kHeaders + limit) {
    reserve.Guard(lane.state);
    writer = std::make_unique<CellWriter>(kCells, capacity, lane.data.writable(),
                                          lane.state.writable(), &reserve);
    reader.reset(new CellReader(lane.NewReader()));
  }
  uint64_t used() const { return reserve.used() - kHeaders; }
  void set_limit(uint64_t limit) { reserve.set_limit(kHeaders + limit); }

  CellLane lane;
  GuardingReserve reserve;
  std::unique_ptr<CellWriter> writer;
  std::unique_ptr<CellReader> reader;
};

constexpr uint32_t kOwner = 7;

TEST(CellReserveTest, TheFirstMessageTakesWhatItsFirstStepIsSaidToTake) {
  ReservedCells cells(CellWriter::FirstStepBytes(kCells) - 1);
  EXPECT_EQ(cells.used(), 0u);
  // Where slots begin in the middle of a page it may be a page less.
  cells.set_limit(kOrderAndStates);
  EXPECT_FALSE(cells.writer->Append(0, {{}, "x"}, 0));
  EXPECT_TRUE(cells.writer->short_of_memory());
  cells.set_limit(CellWriter::FirstStepBytes(kCells));
  EXPECT_TRUE(cells.writer->Append(0, {{}, "x"}, 0));
  EXPECT_LE(cells.used(), CellWriter::FirstStepBytes(kCells));
}

TEST(CellReserveTest, SlotsAreReservedAsTheyAreUsedUpToTheCapacity) {
  ReservedCells cells(kPlenty);
  uint64_t sent = 0;
  while (cells.writer->Append(0, {{}, "x"}, 0)) {
    ++sent;
    ASSERT_LE(cells.used(), kOrderAndStates + 2 * std::max<uint64_t>(32, sent) * 128);
  }
  EXPECT_EQ(sent, 4096u);
  EXPECT_FALSE(cells.writer->short_of_memory());
}

TEST(CellReserveTest, AFewSlotsAreUsedAgainAndAgainWhenThereIsMemoryForNoMore) {
  ReservedCells cells(kOrderAndStates + kPage);
  for (int round = 0; round < 2000; ++round) {
    uint64_t sent = 0;
    while (cells.writer->Append(0, {{}, std::to_string(round)}, 0)) ++sent;
    ASSERT_EQ(sent, 32u);
    ASSERT_TRUE(cells.writer->short_of_memory());
    // One receive makes room for one.
    ASSERT_TRUE(Receive(cells.reader.get(), 0, kOwner).has_value());
    ASSERT_TRUE(cells.writer->Append(0, {{}, std::to_string(round)}, 0));
    ASSERT_FALSE(cells.writer->Append(0, {{}, "x"}, 0));
    for (int i = 0; i < 32; ++i) {
      ASSERT_EQ(Receive(cells.reader.get(), 0, kOwner), std::to_string(round));
    }
  }
}

TEST(CellReserveTest, AReceiverThatKeepsUpKeepsALaneSmall) {
  ReservedCells cells(kPlenty);
  for (int i = 0; i < 50000; ++i) {
    ASSERT_TRUE(cells.writer->Append(0, {{}, "x"}, 0));
    if (i % 10 == 9) {
      for (int n = 0; n < 10; ++n) ASSERT_TRUE(Receive(cells.reader.get(), 0, kOwner).has_value());
    }
  }
  EXPECT_LE(cells.used(), kOrderAndStates + 128 * 128);
}

TEST(CellReserveTest, WhateverIsSentComesWithWhateverMemory) {
  TestRandom random;
  for (int round = 0; round < 60 / kSlowdown; ++round) {
    ReservedCells cells(random.Below(1 << 19));
    std::deque<std::string> sent;
    for (int step = 0; step < 4000; ++step) {
      if (random.OneIn(2)) {
        const std::string body =
            Pattern(random(), random.OneIn(5) ? random.Below(60000) : random.Below(96));
        if (Send(cells.writer.get(), 5, {{}, body}, 0)) sent.push_back(body);
      } else if (const auto body = Receive(cells.reader.get(), 5, kOwner); body.has_value()) {
        ASSERT_FALSE(sent.empty());
        ASSERT_TRUE(*body == sent.front());
        sent.pop_front();
      }
      if (random.OneIn(200)) cells.set_limit(random.Below(1 << 20));
    }
    while (!sent.empty()) {
      ASSERT_TRUE(Receive(cells.reader.get(), 5, kOwner) == sent.front());
      sent.pop_front();
    }
  }
}

}  // namespace
}  // namespace mailrail
