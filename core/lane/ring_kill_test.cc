// Either end of a ring lane is a process that is killed at a random moment, again and again.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/lane/child_process.h"
#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {5, 30};

// What the processes say of themselves, by priority.
struct Progress {
  std::atomic<uint64_t> operations;   // of this child
  std::atomic<uint64_t> sent[2];      // the last send that ended: number << 16 | generation
  std::atomic<uint64_t> received[2];  // the last message whose body was read
  std::atomic<uint64_t> flushed[2];   // the last message that the sender was told of
};

size_t RandomSize(TestRandom* random) {
  if (random->OneIn(4)) return 4081 + random->Below(random->OneIn(4) ? 15000 : 1000);
  return sizeof(BodyHead) + random->Below(random->OneIn(4) ? 4000 : 200);
}

// Sends one message if there is room.
bool SendNext(RingWriter* writer, int lane, uint64_t generation, TestRandom* random) {
  const uint64_t number = writer->sequence(kPriorities[lane]) + 1;
  const size_t size = RandomSize(random);
  const bool in_slab = size > kMaxInlineRecord || random->OneIn(8);
  if (!in_slab) {
    return writer->Append(kPriorities[lane], {{}, MakeBody(number, generation, size)}, number);
  }
  const auto room = writer->Allocate(size, random->OneIn(2));
  if (!room.has_value()) return false;
  WriteBody(number, generation, size, room->data);
  if (writer->AppendSlab(kPriorities[lane], *room, static_cast<uint32_t>(size), false, number)) {
    return true;
  }
  writer->Free(*room);
  return false;
}

// A process that takes the lane up and sends until it is killed.
void SendForever(const Link& link, uint64_t generation, uint64_t seed,
                 const TwiceMapped& progress_memory) {
  const Mapping own = link.sender.MapWritable(), peer = link.receiver.MapReadable();
  const Mapping mapping = progress_memory.MapWritable();
  auto* const progress = reinterpret_cast<Progress*>(mapping.data());
  TestRandom random(seed);
  RingWriter writer(link.geometry, own.data(), peer.data());
  const absl::Status recovered = writer.Recover();
  if (!recovered.ok()) std::cerr << recovered << std::endl;
  Require(recovered.ok(), "the writer recovers");
  for (;;) {
    const int lane = static_cast<int>(random.Below(2));
    if (SendNext(&writer, lane, generation, &random)) {
      progress->sent[lane] = writer.sequence(kPriorities[lane]) << 16 | generation;
    } else if (random.OneIn(8)) {
      writer.ParkForRoom();
    }
    progress->operations.fetch_add(1);
  }
}

// A process that takes the lane up and receives until it is killed.
void ReceiveForever(const Link& link, uint64_t seed, const TwiceMapped& progress_memory) {
  const Mapping own = link.receiver.MapWritable(), peer = link.sender.MapReadable();
  const Mapping mapping = progress_memory.MapWritable();
  auto* const progress = reinterpret_cast<Progress*>(mapping.data());
  TestRandom random(seed);
  RingReader reader(link.geometry, own.data(), peer.data());
  reader.Recover();
  uint64_t next[2];
  for (int lane = 0; lane < 2; ++lane) {
    next[lane] = reader.consumed(kPriorities[lane]) + 1;
    Require(next[lane] > progress->flushed[lane], "nothing that was told of comes again");
    Require(next[lane] <= progress->received[lane] + 1, "nothing is skipped");
  }
  const auto flush = [&] {
    reader.Flush();
    for (int lane = 0; lane < 2; ++lane) progress->flushed[lane] = next[lane] - 1;
  };
  std::vector<std::pair<int, Record>> held;
  for (;;) {
    progress->operations.fetch_add(1);
    const int lane = static_cast<int>(random.Below(2));
    const int priority = kPriorities[lane];
    Record record;
    const Look look = reader.Peek(priority, &record);
    Require(look != Look::kCorrupt, "the lane is well-formed");
    if (look == Look::kReady) {
      const auto head = ReadBody({record.data, record.length});
      Require(head.has_value(), "the body is whole");
      Require(record.sequence == next[lane] && head->number == next[lane], "in order");
      reader.Advance(priority, record);
      progress->received[lane] = next[lane]++;
      reader.Consume(priority, record);
      if (record.in_slab) held.emplace_back(priority, record);
    }
    if (look == Look::kReady && held.size() < 3 && !random.OneIn(50)) continue;
    // The order of a receiver that may be started again: first told, then let go.
    flush();
    while (!held.empty() && !random.OneIn(4)) {
      std::swap(held[random.Below(held.size())], held.back());
      const auto& [held_priority, held_record] = held.back();
      Require(ReadBody({held_record.data, held_record.length}).has_value(),
              "a view keeps its room");
      reader.ReleaseCell(held_priority, held_record.cell, held_record.sequence);
      held.pop_back();
    }
  }
}

class RingKillTest : public ::testing::Test {
 protected:
  // Receives a message, if there is one, and checks it.
  void ReceiveOne(RingReader* reader) {
    const int lane = static_cast<int>(random_.Below(2));
    const int priority = kPriorities[lane];
    Record record;
    const Look look = reader->Peek(priority, &record);
    ASSERT_NE(look, Look::kCorrupt);
    if (look == Look::kReady) {
      const auto head = ReadBody({record.data, record.length});
      ASSERT_TRUE(head.has_value()) << "torn";
      ASSERT_EQ(record.sequence, next_[lane]);
      ASSERT_EQ(head->number, next_[lane]++);
      ASSERT_GE(head->generation, last_generation_[lane]);
      last_generation_[lane] = head->generation;
      const auto due = due_[lane].find(head->number);
      if (due != due_[lane].end()) {
        ASSERT_EQ(due->second, head->generation) << "a sent message is lost";
        due_[lane].erase(due);
      }
      reader->Advance(priority, record);
      reader->Consume(priority, record);
      if (record.in_slab) held_.emplace_back(priority, record);
    } else {
      reader->Flush();
    }
    if (held_.size() >= 5 || random_.OneIn(20)) ReleaseOne(reader);
  }

  void ReleaseOne(RingReader* reader) {
    if (held_.empty()) return;
    std::swap(held_[random_.Below(held_.size())], held_.back());
    const auto [priority, record] = held_.back();
    ASSERT_TRUE(ReadBody({record.data, record.length}).has_value()) << "overwritten";
    reader->ReleaseCell(priority, record.cell, record.sequence);
    held_.pop_back();
  }

  // What a dead sender had sent must come, and come from it.
  void NoteSent(uint64_t generation) {
    for (int lane = 0; lane < 2; ++lane) {
      const uint64_t sent = progress().sent[lane].load();
      if ((sent & 0xffff) != generation) continue;
      if (sent >> 16 >= next_[lane]) due_[lane][sent >> 16] = generation;
    }
  }

  void ExpectNothingLost(RingWriter* writer) {
    EXPECT_TRUE(writer->Drained()) << "room is lost";
    EXPECT_TRUE(writer->Allocate(link_.geometry.slab_bytes, true).has_value());
  }

  // Waits until the child has done a random number of things and a bit.
  template <typename Meanwhile>
  void WaitForRandomMoment(ChildProcess* child, const Meanwhile& meanwhile) {
    const uint64_t operations = random_.Below(200);
    for (uint64_t i = 0; progress().operations.load() < operations; ++i) {
      if (i % 256 == 255 && !child->Running()) return;
      meanwhile();
      if (HasFatalFailure()) return;
      // There may be fewer processors than processes.
      if (i % 16 == 15) std::this_thread::yield();
    }
    for (uint64_t spins = random_.Below(2000); spins > 0; --spins) progress().operations.load();
  }

  Progress& progress() { return *reinterpret_cast<Progress*>(progress_memory_.writable()); }

  TestRandom random_;
  const Link link_{kSmallRing};
  const TwiceMapped progress_memory_{sizeof(Progress)};
  uint64_t next_[2] = {1, 1};
  uint64_t last_generation_[2] = {};
  std::map<uint64_t, uint64_t> due_[2];
  std::vector<std::pair<int, Record>> held_;
};

TEST_F(RingKillTest, AKilledSenderLosesDoublesAndTearsNothing) {
  RingReader reader = link_.NewReader();
  for (uint64_t generation = 1; generation <= kKills; ++generation) {
    SCOPED_TRACE(generation);
    progress().operations = 0;
    const uint64_t seed = random_();
    ChildProcess child([&] { SendForever(link_, generation, seed, progress_memory_); });
    WaitForRandomMoment(&child, [&] { ReceiveOne(&reader); });
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_TRUE(child.Kill()) << "the sender ended by itself";
    NoteSent(generation);
  }
  RingWriter writer = link_.NewWriter();
  const absl::Status recovered = writer.Recover();
  ASSERT_TRUE(recovered.ok()) << recovered;
  while (next_[0] <= writer.sequence(kPriorities[0]) ||
         next_[1] <= writer.sequence(kPriorities[1])) {
    ReceiveOne(&reader);
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_TRUE(due_[0].empty() && due_[1].empty()) << "a sent message is lost";
  while (!held_.empty()) ReleaseOne(&reader);
  reader.Flush();
  ExpectNothingLost(&writer);
  RecordProperty("messages", std::to_string(next_[0] + next_[1]));
}

TEST_F(RingKillTest, AKilledReceiverIsFollowedByOneThatSkipsNothing) {
  RingWriter writer = link_.NewWriter();
  const auto send = [&] { SendNext(&writer, static_cast<int>(random_.Below(2)), 1, &random_); };
  for (uint64_t generation = 1; generation <= kKills; ++generation) {
    SCOPED_TRACE(generation);
    progress().operations = 0;
    const uint64_t seed = random_();
    ChildProcess child([&] { ReceiveForever(link_, seed, progress_memory_); });
    WaitForRandomMoment(&child, send);
    ASSERT_TRUE(child.Kill()) << "the receiver ended by itself";
  }
  RingReader reader = link_.NewReader();
  reader.Recover();
  for (int lane = 0; lane < 2; ++lane) next_[lane] = reader.consumed(kPriorities[lane]) + 1;
  while (next_[0] <= writer.sequence(kPriorities[0]) ||
         next_[1] <= writer.sequence(kPriorities[1])) {
    ReceiveOne(&reader);
    ASSERT_FALSE(HasFatalFailure());
  }
  while (!held_.empty()) ReleaseOne(&reader);
  reader.Flush();
  ExpectNothingLost(&writer);
}

TEST_F(RingKillTest, BothEndsAreKilledInTurnAndTheLaneGoesOn) {
  uint64_t sender_generation = 1;
  const auto new_sender = [&](uint64_t seed) {
    const uint64_t generation = sender_generation++;
    return ChildProcess(
        [this, generation, seed] { SendForever(link_, generation, seed, progress_memory_); });
  };
  const auto new_receiver = [&](uint64_t seed) {
    return ChildProcess([this, seed] { ReceiveForever(link_, seed, progress_memory_); });
  };
  ChildProcess sender = new_sender(random_());
  ChildProcess receiver = new_receiver(random_());
  for (uint64_t round = 1; round <= kKills; ++round) {
    SCOPED_TRACE(round);
    progress().operations = 0;
    const uint64_t which = random_.Below(3);
    WaitForRandomMoment(&sender, [] {});
    ASSERT_TRUE(which == 0 || sender.Kill()) << "the sender ended by itself";
    ASSERT_TRUE(which == 1 || receiver.Kill()) << "the receiver ended by itself";
    if (which != 0) sender = new_sender(random_());
    if (which != 1) receiver = new_receiver(random_());
  }
  ASSERT_TRUE(sender.Kill() && receiver.Kill());
  RingWriter writer = link_.NewWriter();
  ASSERT_TRUE(writer.Recover().ok());
  RingReader reader = link_.NewReader();
  reader.Recover();
  for (int lane = 0; lane < 2; ++lane) next_[lane] = reader.consumed(kPriorities[lane]) + 1;
  while (next_[0] <= writer.sequence(kPriorities[0]) ||
         next_[1] <= writer.sequence(kPriorities[1])) {
    ReceiveOne(&reader);
    ASSERT_FALSE(HasFatalFailure());
  }
  while (!held_.empty()) ReleaseOne(&reader);
  reader.Flush();
  ExpectNothingLost(&writer);
}

}  // namespace
}  // namespace mailrail
