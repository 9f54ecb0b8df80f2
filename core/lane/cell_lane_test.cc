// Messages through a mailbox lane: order, claims, returns, leases.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kMe = 7, kOther = 0xabcdef;

TEST(CellLaneTest, AnEmptyLaneHasNothingAndIsDrained) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  CellHead head;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    EXPECT_EQ(reader.Peek(priority, &head), Look::kEmpty);
    EXPECT_EQ(writer.sequence(priority), 0u);
  }
  EXPECT_EQ(reader.rings_in_use(), 0u);
  EXPECT_TRUE(writer.Drained());
}

TEST(CellLaneTest, MessagesOfOnePriorityArriveInOrderWithStampAndPrefix) {
  struct Expected {
    std::string payload;
    uint64_t stamp;
    bool has_prefix;
  };
  TestRandom random;
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  std::deque<Expected> expected[kPriorityCount];
  uint64_t received[kPriorityCount] = {};
  int refused = 0;
  for (int i = 0; i < 50000; ++i) {
    const int priority = static_cast<int>(random.Below(random.OneIn(2) ? 4 : kPriorityCount));
    if (!random.OneIn(3)) {
      const std::string body = Pattern(random(), random.Below(random.OneIn(10) ? 3000 : 90));
      const std::string prefix = random.OneIn(2) ? Pattern(random(), 1 + random.Below(9)) : "";
      const uint64_t stamp = random();
      if (Send(&writer, priority, {prefix, body}, stamp)) {
        expected[priority].push_back({prefix + body, stamp, !prefix.empty()});
        ASSERT_EQ(writer.sequence(priority), received[priority] + expected[priority].size());
        ASSERT_NE(reader.rings_in_use() & 1u << priority, 0u);
      } else {
        ++refused;
      }
      continue;
    }
    const absl::optional<Leased> leased = Lease(&reader, priority, kMe);
    ASSERT_EQ(leased.has_value(), !expected[priority].empty());
    if (!leased.has_value()) continue;
    ASSERT_EQ(leased->body(), expected[priority].front().payload);
    ASSERT_EQ(leased->head.stamp, expected[priority].front().stamp);
    ASSERT_EQ(leased->record.stamp, expected[priority].front().stamp);
    ASSERT_EQ(leased->record.has_prefix, expected[priority].front().has_prefix);
    ASSERT_EQ(leased->head.position, ++received[priority]);
    ASSERT_EQ(leased->record.sequence, received[priority]);
    ASSERT_EQ(leased->head.attempts, 0u);
    ASSERT_FALSE(leased->head.returned);
    ASSERT_TRUE(reader.Take(priority, leased->head.slot, leased->head.position, kMe, false));
    expected[priority].pop_front();
  }
  EXPECT_GT(refused, 0) << "this test should run into full lanes too";
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    while (!expected[priority].empty()) {
      ASSERT_EQ(Receive(&reader, priority, kMe), expected[priority].front().payload);
      expected[priority].pop_front();
    }
  }
  EXPECT_TRUE(writer.Drained());
  EXPECT_TRUE(writer.Allocate(lane.geometry.slab_bytes, true).has_value());
}

TEST(CellLaneTest, EverySizeArrivesWhole) {
  const CellLane lane(CellGeometry::For(16, 4 << 20));
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  std::vector<size_t> sizes = {128, 4096, 65537, size_t{1} << 20, size_t{4} << 20};
  for (size_t size = 0; size <= Slot::kInlineBytes + 1; ++size) sizes.push_back(size);
  for (const size_t size : sizes) {
    const std::string payload = Pattern(size, size);
    const size_t prefix = size % 3 == 0 ? std::min<size_t>(size, 17) : 0;
    const absl::string_view view = payload;
    ASSERT_TRUE(Send(&writer, kPriority, {view.substr(0, prefix), view.substr(prefix)}, size));
    const absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
    ASSERT_TRUE(leased.has_value());
    EXPECT_EQ(leased->body(), payload);
    EXPECT_EQ(leased->record.has_prefix, prefix > 0);
    EXPECT_EQ(leased->record.in_slab, size > Slot::kInlineBytes);
    EXPECT_TRUE(reader.Take(kPriority, leased->head.slot, leased->head.position, kMe, false));
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(CellLaneTest, AMessageIsClaimedOnceAndTheNextIsFoundByAll) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader mine = lane.NewReader(), others = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "first"}, 0));
  ASSERT_TRUE(writer.Append(kPriority, {{}, "second"}, 0));
  CellHead head, same;
  ASSERT_EQ(mine.Peek(kPriority, &head), Look::kReady);
  ASSERT_EQ(mine.Peek(kPriority, &same), Look::kReady);
  EXPECT_EQ(same.position, head.position);
  ASSERT_EQ(others.Peek(kPriority, &same), Look::kReady);
  EXPECT_EQ(same.position, 1u);
  EXPECT_TRUE(others.Claim(kPriority, same, kOther));
  EXPECT_FALSE(mine.Claim(kPriority, head, kMe));
  EXPECT_FALSE(others.Claim(kPriority, same, kOther));
  ASSERT_EQ(mine.Peek(kPriority, &head), Look::kReady);
  EXPECT_EQ(head.position, 2u);
  EXPECT_TRUE(mine.Claim(kPriority, head, kMe));
  EXPECT_EQ(mine.Peek(kPriority, &head), Look::kEmpty);
  EXPECT_EQ(others.Peek(kPriority, &head), Look::kEmpty);
}

TEST(CellLaneTest, AHeadSeenLongAgoCannotBeClaimed) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader slow = lane.NewReader(), quick = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "old"}, 0));
  CellHead head;
  ASSERT_EQ(slow.Peek(kPriority, &head), Look::kReady);
  // The same slot stands for other messages meanwhile.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Receive(&quick, kPriority, kOther).has_value());
    ASSERT_TRUE(writer.Append(kPriority, {{}, "new"}, 0));
    ASSERT_FALSE(slow.Claim(kPriority, head, kMe));
  }
  EXPECT_EQ(Receive(&slow, kPriority, kMe), "new");
  EXPECT_EQ(Receive(&quick, kPriority, kOther), absl::nullopt);
}

TEST(CellLaneTest, AReturnedMessageGoesFirstAndSaysHowOftenItWasTried) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader(), other = lane.NewReader();
  for (const char* body : {"a", "b", "c"}) ASSERT_TRUE(writer.Append(kPriority, {{}, body}, 0));
  absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
  for (uint32_t attempts = 1; attempts < 100; ++attempts) {
    ASSERT_TRUE(reader.Return(kPriority, leased->head.slot, leased->head.position, kMe));
    // Either reader finds it, before what was never handed out.
    leased = Lease(attempts % 2 == 0 ? &reader : &other, kPriority, kMe);
    ASSERT_TRUE(leased.has_value());
    ASSERT_EQ(leased->body(), "a");
    ASSERT_EQ(leased->head.position, 1u);
    ASSERT_TRUE(leased->head.returned);
    ASSERT_EQ(leased->head.attempts, std::min(attempts, kMaxAttempts));
  }
  EXPECT_EQ(Receive(&reader, kPriority, kMe), "b");
  EXPECT_TRUE(reader.Take(kPriority, leased->head.slot, 1, kMe, false));
  const absl::optional<Leased> last = Lease(&other, kPriority, kOther);
  EXPECT_EQ(last->body(), "c");
  EXPECT_EQ(last->head.attempts, 0u);
  EXPECT_TRUE(other.Take(kPriority, last->head.slot, 3, kOther, false));
  EXPECT_TRUE(writer.Drained());
}

TEST(CellLaneTest, AttemptsAreForgottenWithTheMessage) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  for (uint64_t position = 1; position < 100; ++position) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "a"}, 0));
    absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
    ASSERT_EQ(leased->head.attempts, 0u);
    ASSERT_FALSE(leased->head.returned);
    ASSERT_TRUE(reader.Return(kPriority, leased->head.slot, position, kMe));
    leased = Lease(&reader, kPriority, kMe);
    ASSERT_EQ(leased->head.attempts, 1u);
    ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, position, kMe, false));
  }
}

TEST(CellLaneTest, ReturnedMessagesGoBackToTheirPlaces) {
  TestRandom random;
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  uint64_t first = 1;
  for (int round = 0; round < 300; ++round) {
    for (uint64_t i = 0; i < 16; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    std::vector<Leased> held;
    for (uint64_t i = 0; i < 10; ++i) held.push_back(*Lease(&reader, kPriority, kMe));
    for (size_t i = held.size(); i > 1; --i) std::swap(held[i - 1], held[random.Below(i)]);
    for (const Leased& leased : held) {
      ASSERT_TRUE(reader.Return(kPriority, leased.head.slot, leased.head.position, kMe));
    }
    for (uint64_t i = 0; i < 16; ++i) {
      const absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
      ASSERT_TRUE(leased.has_value());
      ASSERT_EQ(leased->head.position, first + i);
      ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, leased->head.position, kMe, false));
    }
    first += 16;
    ASSERT_TRUE(writer.Drained());
  }
}

TEST(CellLaneTest, WhoDoesNotHoldAMessageCannotMoveIt) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  const Leased first = *Lease(&reader, kPriority, kMe);
  const auto take = [&](uint64_t position, uint32_t owner) {
    return reader.Take(kPriority, first.head.slot, position, owner, true);
  };
  const auto give_back = [&](uint64_t position, uint32_t owner) {
    return reader.Return(kPriority, first.head.slot, position, owner);
  };
  EXPECT_FALSE(take(1, kOther));
  EXPECT_FALSE(take(2, kMe));
  EXPECT_FALSE(give_back(1, kOther));
  EXPECT_FALSE(give_back(2, kMe));
  EXPECT_TRUE(take(1, kMe));
  EXPECT_FALSE(take(1, kMe));
  EXPECT_FALSE(give_back(1, kMe));
  reader.Done(kPriority, first.head.slot, 1);
  EXPECT_FALSE(take(1, kMe));
  EXPECT_FALSE(give_back(1, kMe));
}

TEST(CellLaneTest, ALateReaderFindsExactlyWhatIsUnclaimed) {
  TestRandom random;
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader(), sleepy = lane.NewReader();
  uint64_t claimed = 0;
  for (int round = 0; round < 2000; ++round) {
    for (uint64_t sends = random.Below(17); sends > 0; --sends) {
      writer.Append(kPriority, {{}, "x"}, 0);
    }
    for (uint64_t receives = random.Below(17); receives > 0; --receives) {
      if (Receive(&reader, kPriority, kMe).has_value()) ++claimed;
    }
    if (!random.OneIn(8)) continue;
    // Of two late ones, one has been here before.
    CellReader fresh = lane.NewReader();
    CellReader* const late = random.OneIn(2) ? &fresh : &sleepy;
    while (claimed < writer.sequence(kPriority)) {
      const absl::optional<Leased> leased = Lease(late, kPriority, kOther);
      ASSERT_TRUE(leased.has_value());
      ASSERT_EQ(leased->head.position, ++claimed);
      ASSERT_TRUE(late->Take(kPriority, leased->head.slot, leased->head.position, kOther, false));
    }
    ASSERT_EQ(Lease(late, kPriority, kOther), absl::nullopt);
  }
}

TEST(CellLaneTest, ALateReaderFindsReturnedMessagesFirst) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(Receive(&reader, kPriority, kMe).has_value());
  }
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  std::vector<Leased> held;
  for (int i = 0; i < 3; ++i) held.push_back(*Lease(&reader, kPriority, kMe));
  for (const size_t i : {2u, 0u}) {
    ASSERT_TRUE(reader.Return(kPriority, held[i].head.slot, held[i].head.position, kMe));
  }
  CellReader late = lane.NewReader();
  for (const uint64_t position : {101u, 103u, 104u, 105u}) {
    const absl::optional<Leased> leased = Lease(&late, kPriority, kOther);
    ASSERT_TRUE(leased.has_value());
    EXPECT_EQ(leased->head.position, position);
    EXPECT_EQ(leased->head.returned, position < 104);
  }
  EXPECT_EQ(Lease(&late, kPriority, kOther), absl::nullopt);
}

TEST(CellLaneTest, TheClaimsOfADeadOwnerComeBackAndWhatItHadTakenIsDone) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader dead = lane.NewReader(), alive = lane.NewReader();
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(writer.Append(30, {{}, "x"}, 0));
  }
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Lease(&dead, kPriority, kOther).has_value());
    ASSERT_TRUE(Lease(&alive, kPriority, kMe).has_value());
    const Leased leased = *Lease(&dead, 30, kOther);
    ASSERT_TRUE(dead.Take(30, leased.head.slot, leased.head.position, kOther, true));
  }
  EXPECT_EQ(alive.ReleaseClaimsOf(kOther + 1), 0);
  EXPECT_EQ(alive.ReleaseClaimsOf(kOther), 4);
  EXPECT_EQ(alive.ReleaseClaimsOf(kOther), 0);
  // 1, 3, 5 and 7 were the dead one's.
  for (const uint64_t position : {1u, 3u, 5u, 7u, 9u, 10u}) {
    const Leased leased = *Lease(&alive, kPriority, kMe);
    EXPECT_EQ(leased.head.position, position);
    EXPECT_EQ(leased.head.attempts, position < 8 ? 1u : 0u);
  }
  EXPECT_FALSE(dead.Take(kPriority, 0, 1, kOther, false));
  EXPECT_EQ(Lease(&alive, 30, kMe)->head.position, 5u);
  // The four that it had taken are room again.
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(writer.Append(30, {{}, "x"}, 0));
  EXPECT_FALSE(writer.Append(30, {{}, "x"}, 0));
}

TEST(CellLaneTest, TheClaimsOfAllWhoAreGoneComeBackAtOnce) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader(), agent = lane.NewReader();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  for (const uint32_t owner : {kMe, kOther, kOther + 1}) {
    ASSERT_TRUE(Lease(&reader, kPriority, owner).has_value());
  }
  EXPECT_EQ(agent.ReleaseClaimsIf([](uint32_t owner) { return owner != kMe; }), 2);
  EXPECT_EQ(Lease(&reader, kPriority, kMe)->head.position, 2u);
  EXPECT_EQ(Lease(&reader, kPriority, kMe)->head.position, 3u);
  EXPECT_EQ(Lease(&reader, kPriority, kMe)->head.position, 4u);
  EXPECT_EQ(agent.ReleaseClaimsIf([](uint32_t owner) { return owner != kMe; }), 0);
}

TEST(CellLaneTest, AMessageWhoseReturnWasCutShortByADeathIsFoundOnceTheAgentHasLooked) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader(), dying = lane.NewReader(), agent = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  const Leased leased = *Lease(&dying, kPriority, kOther);
  CellHead head;
  ASSERT_NE(reader.Peek(kPriority, &head), Look::kReady);
  auto* const header = reinterpret_cast<StateHeader*>(lane.state.writable());
  // Its first bump, which a receiver has seen, its change, and no second bump.
  header->returns.fetch_add(1);
  ASSERT_NE(reader.Peek(kPriority, &head), Look::kReady);
  const uint64_t seen = header->returns.load();
  ASSERT_TRUE(dying.Return(kPriority, leased.head.slot, leased.head.position, kOther));
  header->returns.store(seen);
  ASSERT_NE(reader.Peek(kPriority, &head), Look::kReady);
  agent.ReleaseClaimsIf([](uint32_t) { return false; });
  EXPECT_EQ(reader.Peek(kPriority, &head), Look::kReady);
}

TEST(CellLaneTest, ARetractedMessageIsNobodyElsesAndOneThatWasClaimedStays) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  EXPECT_FALSE(writer.Retract(kPriority, kMe));
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "kept"}, 0));
    ASSERT_TRUE(writer.Append(kPriority, {{}, "retracted"}, 0));
    ASSERT_TRUE(writer.Retract(kPriority, kMe));
    ASSERT_FALSE(writer.Retract(kPriority, kMe));
    ASSERT_EQ(Receive(&reader, kPriority, kOther), "kept");
    ASSERT_EQ(Receive(&reader, kPriority, kOther), absl::nullopt);
    ASSERT_TRUE(writer.Append(kPriority, {{}, "claimed"}, 0));
    const absl::optional<Leased> leased = Lease(&reader, kPriority, kOther);
    ASSERT_EQ(leased->body(), "claimed");
    ASSERT_FALSE(writer.Retract(kPriority, kMe));
    ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, leased->head.position, kOther, false));
    ASSERT_FALSE(writer.Retract(kPriority, kMe));
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(CellLaneTest, TheStateOfAMessageShowsWhatBecameOfIt) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  absl::optional<CellState> state = writer.StateOf(kPriority, 1);
  ASSERT_TRUE(state.has_value());
  EXPECT_FALSE(state->ClaimedSince(1));
  const Leased leased = *Lease(&reader, kPriority, kMe);
  state = writer.StateOf(kPriority, 1);
  ASSERT_TRUE(state.has_value());
  EXPECT_TRUE(state->ClaimedSince(1));
  EXPECT_EQ(state->phase, Phase::kLeased);
  EXPECT_EQ(state->owner, kMe);
  ASSERT_TRUE(reader.Return(kPriority, leased.head.slot, 1, kMe));
  EXPECT_EQ(writer.StateOf(kPriority, 1)->phase, Phase::kReturned);
  EXPECT_EQ(writer.StateOf(kPriority, 1)->attempts, 1u);
  ASSERT_TRUE(Lease(&reader, kPriority, kOther).has_value());
  ASSERT_TRUE(reader.Take(kPriority, leased.head.slot, 1, kOther, true));
  EXPECT_EQ(writer.StateOf(kPriority, 1)->phase, Phase::kTaken);
  reader.Done(kPriority, leased.head.slot, 1);
  state = writer.StateOf(kPriority, 1);
  EXPECT_TRUE(!state.has_value() || state->phase == Phase::kDone);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(Receive(&reader, kPriority, kMe).has_value());
  }
  EXPECT_FALSE(writer.StateOf(kPriority, 1).has_value());
  EXPECT_FALSE(writer.StateOf(kPriority, 1000).has_value());
  EXPECT_FALSE(writer.StateOf(kPriority, 0).has_value());
}

TEST(CellLaneTest, CountsSayWhatWaitsAndWhatIsLeased) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader(), observer = lane.NewReader();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    ASSERT_TRUE(Receive(&reader, kPriority, kMe).has_value());
  }
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.Append(2, {{}, "x"}, 0));
  const Leased returned = *Lease(&reader, kPriority, kMe);
  ASSERT_TRUE(Lease(&reader, kPriority, kMe).has_value());
  ASSERT_TRUE(Lease(&reader, kPriority, kMe).has_value());
  ASSERT_TRUE(reader.Return(kPriority, returned.head.slot, returned.head.position, kMe));
  const CellReader::Counts counts = observer.Count();
  EXPECT_EQ(counts.waiting, 8u + 3u);
  EXPECT_EQ(counts.leased, 2u);
  EXPECT_EQ(counts.sent, 63u);
}

}  // namespace
}  // namespace mailrail
