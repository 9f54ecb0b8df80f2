// A writer that writes anything, at any time: who reads is never led out of the memory, never held
// up, and told that it is wrong where that can be seen.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "core/region/snapshot_testing.h"

namespace mailrail {
namespace {

// What a hostile header may hold beside anything: what comes near to what is right.
uint64_t Anything(TestRandom* random, uint64_t right) {
  switch (random->Below(6)) {
    case 0:
      return (*random)();
    case 1:
      return random->Below(200);
    case 2:
      return uint64_t{1} << random->Below(64);
    case 3:
      return right + random->Below(5) - 2;
    default:
      return right;
  }
}

TEST(SnapshotHostileTest, NoHeaderLeadsAReaderOutOfTheMemory) {
  TestRandom random;
  const SnapshotGeometry geometry = SnapshotGeometry::For(100, 3);
  const GuardedMemory data(geometry.data_bytes());
  const TwiceMapped bell(sizeof(SnapshotBell));
  auto* const header = reinterpret_cast<SnapshotHeader*>(data.data());
  int accepted = 0, refused = 0, read = 0;
  for (int i = 0; i < 400000 / kSlowdown; ++i) {
    header->magic = random.OneIn(50) ? random() : kSnapshotMagic;
    header->value_bytes = Anything(&random, 100);
    header->schema = 3;
    header->buffers = static_cast<uint32_t>(Anything(&random, geometry.buffers));
    header->latest = Anything(&random, kSnapshotVersionsEnd);
    header->ended = static_cast<uint32_t>(random.Below(2));
    // The size that a reader asks for is its own, and no larger than what it has room for.
    const uint64_t asked = random.OneIn(2) ? 100 : header->value_bytes;
    SnapshotGeometry said;
    if (!CheckSnapshot(data.data(), data.size(), asked, 3, &said).ok()) {
      ++refused;
      continue;
    }
    ++accepted;
    ASSERT_LE(said.data_bytes(), data.size());
    ASSERT_EQ(said.value_bytes, asked);
    const SnapshotReader reader(said, data.data(), TestSnapshot::Bell(bell));
    std::string value(asked, '\0');
    uint64_t version = 0;
    read += reader.Read(value.data(), &version) == SnapshotLook::kRead;
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
  EXPECT_GT(read, 10);
}

TEST(SnapshotHostileTest, WhatChangesBehindTheCheckIsNotReadAgain) {
  const TestSnapshot snapshot(100);
  SnapshotGeometry geometry;
  ASSERT_TRUE(
      CheckSnapshot(snapshot.data.readable(), snapshot.data.size(), 100, 0, &geometry).ok());
  const SnapshotReader reader(geometry, snapshot.data.readable(),
                              TestSnapshot::Bell(snapshot.bell));
  SnapshotWriter writer = snapshot.MakeWriter();
  PublishNext(&writer, 1, 100);
  auto* const header = reinterpret_cast<SnapshotHeader*>(snapshot.data.writable());
  header->buffers = 0;
  header->value_bytes = ~uint64_t{0};
  std::string value(100, '\0');
  uint64_t version = 0;
  ASSERT_EQ(reader.Read(value.data(), &version), SnapshotLook::kRead);
  EXPECT_EQ(value, ValueOf(1, 1, 100));
}

TEST(SnapshotHostileTest, ABellThatAnybodyRingsOrLosesDelaysNobodyForGood) {
  TestRandom random;
  const TestSnapshot snapshot(24);
  std::atomic<bool> done = false;
  std::thread hostile([&, seed = random()] {
    TestRandom mine(seed);
    auto* const words = reinterpret_cast<SharedAtomic<uint64_t>*>(snapshot.bell.writable());
    while (!done) words[mine.Below(sizeof(SnapshotBell) / sizeof(uint64_t))] = mine();
  });
  std::thread reading([&] {
    const SnapshotReader reader = snapshot.MakeReader();
    for (uint64_t seen = 0; seen < 20;) {
      Parker parker = reader.MakeParker();
      const FutexWord word = parker.Park();
      if (reader.latest() == seen) {
        FutexWait(word.word, word.expected, std::min(kLookAgain, parker.LookAgainAfter()));
      }
      std::string value(24, '\0');
      uint64_t version = 0;
      if (reader.Read(value.data(), &version) != SnapshotLook::kRead) continue;
      ASSERT_TRUE(IsVersion(value, version));
      ASSERT_GE(version, seen);
      seen = version;
    }
  });
  SnapshotWriter writer = snapshot.MakeWriter();
  for (int i = 0; i < 20; ++i) PublishNext(&writer, 1, 24);
  reading.join();
  done = true;
  hostile.join();
}

}  // namespace
}  // namespace mailrail
