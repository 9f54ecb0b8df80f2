// A party of a mailbox lane that writes anything at all into what it may write: the others never
// read or write outside the lane, and never go round in circles.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {0, 12, 31};
constexpr uint32_t kMe = 7, kSender = 99;

// A lane between pages that no access survives.
struct GuardedLane {
  explicit GuardedLane(const CellGeometry& shape)
      : geometry(shape), data(shape.data_bytes()), state(shape.state_bytes()) {}

  CellWriter NewWriter() const { return CellWriter(geometry, 13, data.data(), state.data()); }
  CellReader NewReader() const { return CellReader(geometry, data.data(), state.data()); }
  std::atomic<uint64_t>* Order(int priority, uint64_t position) const {
    return reinterpret_cast<std::atomic<uint64_t>*>(data.data() + geometry.order_offset(priority)) +
           position % geometry.order_entries();
  }
  Slot* SlotAt(int priority, uint64_t slot) const {
    return reinterpret_cast<Slot*>(data.data() + geometry.slot_offset(priority)) + slot;
  }
  std::atomic<uint64_t>* State(int priority, uint64_t slot) const {
    return reinterpret_cast<std::atomic<uint64_t>*>(state.data() +
                                                    geometry.state_offset(priority)) +
           slot;
  }
  void Clear() const {
    std::memset(data.data(), 0, data.size());
    std::memset(state.data(), 0, state.size());
  }

  CellGeometry geometry;
  GuardedMemory data;
  GuardedMemory state;
};

constexpr CellGeometry kTinySlab = {.slots = 16, .slab_bytes = 8192};

int AnyPriority(TestRandom* random) { return kPriorities[random->Below(3)]; }

// A number that is often near a limit.
uint64_t AnyNumber(TestRandom* random) {
  const uint64_t shift = random->Below(64);
  return ((*random)() >> shift) * (random->OneIn(2) ? 1 : ~uint64_t{0}) + random->Below(3) - 1;
}

uint64_t AnyState(TestRandom* random) {
  if (random->OneIn(8)) return (*random)();
  CellState state;
  state.sequence = static_cast<uint32_t>(random->OneIn(4) ? AnyNumber(random) : random->Below(80));
  state.owner = random->OneIn(2) ? kMe : static_cast<uint32_t>(random->Below(10));
  state.attempts = static_cast<uint32_t>(random->Below(32));
  state.phase = static_cast<Phase>(random->Below(random->OneIn(4) ? 8 : 4));
  return state.Pack();
}

// What a hostile sender does.
void SpoilData(TestRandom* random, const GuardedLane& lane, uint64_t near) {
  const int priority = AnyPriority(random);
  Slot* const slot = lane.SlotAt(priority, random->Below(lane.geometry.slots));
  switch (random->Below(7)) {
    case 0:
      lane.Order(priority, near + random->Below(32))
          ->store(OrderEntry{random->OneIn(2) ? AnyNumber(random) : near + random->Below(64),
                             static_cast<uint32_t>(random->Below(random->OneIn(4) ? 65536 : 16))}
                      .Pack());
      break;
    case 1:
      slot->sequence = random->OneIn(2) ? AnyNumber(random) : near + random->Below(8);
      break;
    case 2:
      slot->length = static_cast<uint32_t>(AnyNumber(random));
      break;
    case 3:
      slot->flags = static_cast<uint32_t>(random->Below(random->OneIn(4) ? ~uint64_t{0} : 4));
      break;
    case 4:
      slot->slab_at = AnyNumber(random);
      break;
    case 5:
      lane.data.data()[random->Below(4096)] = static_cast<char>((*random)());
      break;
    case 6: {
      const size_t at = random->Below(lane.geometry.block_bytes());
      lane.data.data()[lane.geometry.order_offset(priority) + at] ^=
          static_cast<char>(1 << random->Below(8));
    }
  }
}

// What a hostile receiver does, or the sender too.
void SpoilState(TestRandom* random, const GuardedLane& lane) {
  if (random->OneIn(8)) {
    lane.state.data()[random->Below(4096)] = static_cast<char>((*random)());
    return;
  }
  lane.State(AnyPriority(random), random->Below(lane.geometry.slots))->store(AnyState(random));
}

void SendSome(TestRandom* random, CellWriter* writer, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string body(random->Below(random->OneIn(4) ? 2000 : 97), 'x');
    const int priority = AnyPriority(random);
    Send(writer, priority, {{}, body}, (*random)());
    if (random->OneIn(8)) writer->Retract(priority, kSender);
    if (random->OneIn(8)) writer->StateOf(priority, random->Below(80));
    if (random->OneIn(8)) writer->ParkForRoom();
    if (random->OneIn(8)) writer->Drained();
  }
}

// Receives up to `looks` messages, touching every byte that it is shown.
void ReceiveAnything(TestRandom* random, const GuardedLane& lane, CellReader* reader, int looks) {
  uint64_t sum = 0;
  for (int i = 0; i < looks; ++i) {
    const int priority = AnyPriority(random);
    CellHead head;
    if (reader->Peek(priority, &head) != Look::kReady) continue;
    ASSERT_LT(head.slot, lane.geometry.slots);
    if (!reader->Claim(priority, head, kMe)) continue;
    Record record;
    if (reader->Read(priority, head, &record) != Look::kReady) continue;
    ASSERT_TRUE(lane.data.Contains(record.data, record.length));
    for (uint32_t at = 0; at < record.length; ++at) sum += static_cast<uint8_t>(record.data[at]);
    if (random->OneIn(4)) {
      reader->Return(priority, head.slot, head.position, kMe);
    } else if (reader->Take(priority, head.slot, head.position, kMe, random->OneIn(2))) {
      reader->Done(priority, head.slot, head.position);
    }
  }
  if (random->OneIn(4)) reader->ReleaseClaimsOf(kMe);
  if (random->OneIn(4)) sum += reader->Count().waiting;
  std::atomic<uint64_t> used{sum};
}

// Sends and receives for a while. Returns the number of messages.
uint64_t Fill(TestRandom* random, const GuardedLane& lane, CellReader* reader) {
  CellWriter writer = lane.NewWriter();
  for (int i = 0; i < 3; ++i) {
    SendSome(random, &writer, 30);
    ReceiveAnything(random, lane, reader, i == 2 ? 5 : 30);
  }
  return writer.sequence(kPriorities[0]);
}

TEST(CellHostileTest, NoBytesOfTheSenderLeadAReceiverOutside) {
  TestRandom random;
  const GuardedLane lane(kTinySlab);
  for (int round = 0; round < 1000 && !::testing::Test::HasFatalFailure(); ++round) {
    lane.Clear();
    CellReader reader = lane.NewReader();
    const uint64_t sent = Fill(&random, lane, &reader);
    for (int again = 0; again < 10; ++again) {
      for (uint64_t i = random.Below(30); i > 0; --i) {
        SpoilData(&random, lane, random.OneIn(2) ? 0 : sent);
        if (random.OneIn(8)) SpoilState(&random, lane);
      }
      ReceiveAnything(&random, lane, &reader, 40);
      CellReader late = lane.NewReader();
      ReceiveAnything(&random, lane, &late, 20);
    }
  }
}

TEST(CellHostileTest, NoStateLeadsTheSenderOrAReceiverOutside) {
  TestRandom random;
  const GuardedLane lane(kTinySlab);
  for (int round = 0; round < 1000 && !::testing::Test::HasFatalFailure(); ++round) {
    lane.Clear();
    CellWriter writer = lane.NewWriter();
    CellReader reader = lane.NewReader();
    for (int again = 0; again < 10; ++again) {
      SendSome(&random, &writer, 20);
      for (uint64_t i = random.Below(30); i > 0; --i) SpoilState(&random, lane);
      ReceiveAnything(&random, lane, &reader, 20);
    }
    // A priority that was not used is as it was.
    const std::string zeros(lane.geometry.block_bytes(), '\0');
    ASSERT_EQ(absl::string_view(lane.data.data() + lane.geometry.order_offset(13), zeros.size()),
              zeros);
  }
}

TEST(CellHostileTest, AWriterThatFindsRubbishTakesItUpOrSaysSo) {
  TestRandom random;
  int refused = 0, taken_up = 0;
  const GuardedLane lane(kTinySlab);
  for (int round = 0; round < 3000; ++round) {
    lane.Clear();
    CellReader reader = lane.NewReader();
    const uint64_t sent = Fill(&random, lane, &reader);
    for (uint64_t i = random.Below(3); i > 0; --i) SpoilData(&random, lane, sent);
    for (uint64_t i = random.Below(3); i > 0; --i) SpoilState(&random, lane);
    CellWriter writer = lane.NewWriter();
    const absl::Status status = writer.Recover();
    if (!status.ok()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss);
      ++refused;
      continue;
    }
    ++taken_up;
    SendSome(&random, &writer, 60);
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(taken_up, 0);
}

TEST(CellHostileTest, MemoryFullOfRandomBytesLeadsNobodyOutside) {
  TestRandom random;
  const GuardedLane lane(kTinySlab);
  for (int round = 0; round < 300; ++round) {
    for (const GuardedMemory* memory : {&lane.data, &lane.state}) {
      for (size_t at = 0; at + 8 <= memory->size(); at += 8) {
        const uint64_t word = random() >> (random.OneIn(2) ? random.Below(64) : 0);
        std::memcpy(memory->data() + at, &word, sizeof(word));
      }
    }
    reinterpret_cast<CellHeader*>(lane.data.data())->rings_in_use = ~0u;
    CellReader reader = lane.NewReader();
    ReceiveAnything(&random, lane, &reader, 200);
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    CellWriter writer = lane.NewWriter();
    if (writer.Recover().ok()) SendSome(&random, &writer, 60);
  }
}

TEST(CellHostileTest, ASenderThatChangesItsMemoryMeanwhileLeadsAReceiverNowhere) {
  TestRandom random;
  const GuardedLane lane(kTinySlab);
  std::atomic<bool> done{false};
  CellReader reader = lane.NewReader();
  const uint64_t sent = Fill(&random, lane, &reader);
  std::thread sender([&, seed = random()] {
    TestRandom own(seed);
    while (!done.load()) {
      SpoilData(&own, lane, own.OneIn(2) ? 0 : sent);
      if (own.OneIn(4)) SpoilState(&own, lane);
    }
  });
  for (int round = 0; round < 3000 && !::testing::Test::HasFatalFailure(); ++round) {
    ReceiveAnything(&random, lane, &reader, 50);
    CellReader late = lane.NewReader();
    ReceiveAnything(&random, lane, &late, 50);
  }
  done.store(true);
  sender.join();
}

TEST(CellHostileTest, AnEntryOfNoSlotIsCorruptAndStaysSo) {
  const GuardedLane lane(kTinySlab);
  for (const uint32_t slot : {16u, 17u, 65535u}) {
    lane.Order(12, 1)->store(OrderEntry{1, slot}.Pack());
    CellReader reader = lane.NewReader();
    CellHead head;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reader.Peek(12, &head), Look::kCorrupt);
    EXPECT_EQ(reader.Peek(13, &head), Look::kEmpty);
  }
}

TEST(CellHostileTest, AnEntryInTheWrongPlaceIsCorruptAndStaysSo) {
  const GuardedLane lane(kTinySlab);
  for (const uint64_t position : {uint64_t{2}, uint64_t{32}, (uint64_t{1} << 48) - 1}) {
    lane.Order(12, 1)->store(OrderEntry{position, 0}.Pack());
    CellReader reader = lane.NewReader();
    CellHead head;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reader.Peek(12, &head), Look::kCorrupt) << position;
  }
}

TEST(CellHostileTest, AMessageThatReachesOutsideIsCorrupt) {
  const GuardedLane lane(kTinySlab);
  CellWriter writer = lane.NewWriter();
  ASSERT_TRUE(writer.Append(12, {{}, "x"}, 0));
  CellReader reader = lane.NewReader();
  CellHead head;
  ASSERT_EQ(reader.Peek(12, &head), Look::kReady);
  ASSERT_TRUE(reader.Claim(12, head, kMe));
  Slot* const slot = lane.SlotAt(12, head.slot);
  Record record;
  for (const uint32_t length : {97u, 4096u, ~0u}) {
    slot->length = length;
    EXPECT_EQ(reader.Read(12, head, &record), Look::kCorrupt) << length;
  }
  slot->flags = Slot::kInSlab;
  slot->length = 100;
  for (const uint64_t at :
       {uint64_t{8093}, uint64_t{8193}, uint64_t{1} << 63, ~uint64_t{0} - 99, ~uint64_t{0}}) {
    slot->slab_at = at;
    EXPECT_EQ(reader.Read(12, head, &record), Look::kCorrupt) << at;
  }
  slot->slab_at = 8092;
  EXPECT_EQ(reader.Read(12, head, &record), Look::kReady);
}

}  // namespace
}  // namespace mailrail
