#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "core/region/snapshot_testing.h"

namespace mailrail {
namespace {

// What a reader sees: the value of the last version, or what its look came to.
struct Seen {
  SnapshotLook look;
  uint64_t version = 0;
  std::string value;
};

Seen Look(const TestSnapshot& snapshot) {
  Seen seen;
  seen.value.resize(snapshot.geometry.value_bytes);
  seen.look = snapshot.MakeReader().Read(seen.value.data(), &seen.version);
  return seen;
}

TEST(SnapshotTest, BeforeTheFirstVersionThereIsNone) {
  const TestSnapshot snapshot(100);
  EXPECT_EQ(Look(snapshot).look, SnapshotLook::kNone);
  EXPECT_EQ(snapshot.MakeReader().latest(), 0u);
}

TEST(SnapshotTest, AReaderSeesTheLastVersion) {
  const TestSnapshot snapshot(100);
  SnapshotWriter writer = snapshot.MakeWriter();
  for (uint64_t version = 1; version < 3 * snapshot.geometry.buffers; ++version) {
    PublishNext(&writer, 1, 100);
    const Seen seen = Look(snapshot);
    ASSERT_EQ(seen.look, SnapshotLook::kRead);
    EXPECT_EQ(seen.version, version);
    EXPECT_EQ(seen.value, ValueOf(version, 1, 100));
    EXPECT_EQ(writer.version(), version);
  }
}

TEST(SnapshotTest, ValuesOfEverySizeAreWhole) {
  for (const size_t bytes : {1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 4095, 65537}) {
    SCOPED_TRACE(bytes);
    const TestSnapshot snapshot(bytes);
    SnapshotWriter writer = snapshot.MakeWriter();
    for (uint64_t seed = 1; seed <= snapshot.geometry.buffers + 1; ++seed) {
      const std::string value = Pattern(seed, bytes);
      writer.Publish(value.data());
      std::string read(bytes + 1, '!');
      uint64_t version = 0;
      ASSERT_EQ(snapshot.MakeReader().Read(read.data(), &version), SnapshotLook::kRead);
      EXPECT_EQ(read, value + '!') << "and nothing behind it";
    }
  }
}

TEST(SnapshotTest, BuffersDoNotTouchEachOther) {
  for (const size_t bytes : {1, 8, 128, 129, 5000}) {
    const SnapshotGeometry geometry = SnapshotGeometry::For(bytes, 0);
    for (uint64_t version = 1; version <= geometry.buffers; ++version) {
      EXPECT_EQ(geometry.offset_of(version) % 128, 0u);
      EXPECT_GE(geometry.offset_of(version), sizeof(SnapshotHeader));
      EXPECT_LE(geometry.offset_of(version) + bytes, geometry.data_bytes());
      EXPECT_EQ(geometry.offset_of(version), geometry.offset_of(version + geometry.buffers));
      for (uint64_t other = version + 1; other < version + geometry.buffers; ++other) {
        const auto [low, high] =
            std::minmax({geometry.offset_of(version), geometry.offset_of(other)});
        EXPECT_LE(low + (bytes + 127) / 128 * 128, high);
      }
    }
  }
}

TEST(SnapshotTest, SmallValuesHaveMoreBuffersThanLargeOnes) {
  EXPECT_EQ(SnapshotGeometry::For(8, 0).buffers, SnapshotGeometry::kMostBuffers);
  EXPECT_EQ(SnapshotGeometry::For(1024, 0).buffers, 8u);
  EXPECT_EQ(SnapshotGeometry::For(kLargestSnapshot, 0).buffers, SnapshotGeometry::kFewestBuffers);
}

TEST(SnapshotTest, TheNextWriterGoesOnBehindTheLastVersion) {
  const TestSnapshot snapshot(100);
  SnapshotWriter first = snapshot.MakeWriter();
  for (int i = 0; i < 5; ++i) PublishNext(&first, 1, 100);
  SnapshotWriter second = snapshot.MakeWriter();
  EXPECT_EQ(second.version(), 5u);
  EXPECT_EQ(Look(snapshot).value, ValueOf(5, 1, 100)) << "a new writer changes nothing";
  PublishNext(&second, 2, 100);
  EXPECT_EQ(Look(snapshot).version, 6u);
  EXPECT_EQ(Look(snapshot).value, ValueOf(6, 2, 100));
}

// A read takes its version at one moment, and only what is written after it may spoil the copy.
TEST(SnapshotTest, WhatIsBegunOfTheNextVersionIsNotSeen) {
  const TestSnapshot snapshot(100);
  SnapshotWriter writer = snapshot.MakeWriter();
  for (int i = 0; i < 7; ++i) PublishNext(&writer, 1, 100);
  // As one that died there leaves it.
  std::memset(snapshot.data.writable() + snapshot.geometry.offset_of(8), 0xff, 100);
  EXPECT_EQ(Look(snapshot).version, 7u);
  EXPECT_EQ(Look(snapshot).value, ValueOf(7, 1, 100));
  SnapshotWriter heir = snapshot.MakeWriter();
  PublishNext(&heir, 2, 100);
  EXPECT_EQ(Look(snapshot).value, ValueOf(8, 2, 100));
}

TEST(SnapshotTest, TheGateChangesForOneWhoWaitsAlone) {
  const TestSnapshot snapshot(8);
  SnapshotWriter writer = snapshot.MakeWriter();
  PublishNext(&writer, 1, 8);
  const SnapshotReader reader = snapshot.MakeReader();
  Parker parker = reader.MakeParker();
  const FutexWord word = parker.Park();
  EXPECT_EQ(word.word->load(), word.expected);
  PublishNext(&writer, 1, 8);
  EXPECT_EQ(word.word->load(), word.expected + 1);
  PublishNext(&writer, 1, 8);
  EXPECT_EQ(word.word->load(), word.expected + 1) << "nobody waits";
}

TEST(SnapshotTest, AfterManyVersionsThatNobodyWaitedForAWaitIsStillSeen) {
  const TestSnapshot snapshot(8);
  SnapshotWriter writer = snapshot.MakeWriter();
  for (int i = 0; i < 1000; ++i) PublishNext(&writer, 1, 8);  // it streams by now
  const SnapshotReader reader = snapshot.MakeReader();
  Parker parker = reader.MakeParker();
  const FutexWord word = parker.Park();
  EXPECT_EQ(reader.latest(), 1000u);
  PublishNext(&writer, 1, 8);
  EXPECT_EQ(word.word->load(), word.expected + 1);
}

TEST(SnapshotTest, TheEndIsToldAndTheLastVersionStays) {
  const TestSnapshot snapshot(100);
  SnapshotWriter writer = snapshot.MakeWriter();
  PublishNext(&writer, 1, 100);
  const SnapshotReader reader = snapshot.MakeReader();
  Parker parker = reader.MakeParker();
  const FutexWord word = parker.Park();
  EXPECT_FALSE(reader.ended());
  writer.End();
  EXPECT_TRUE(reader.ended());
  EXPECT_NE(word.word->load(), word.expected);
  EXPECT_EQ(Look(snapshot).value, ValueOf(1, 1, 100));
}

TEST(SnapshotTest, WhatIsOfAnotherKindIsRefused) {
  const TestSnapshot snapshot(100, 7);
  const char* const data = snapshot.data.readable();
  const size_t bytes = snapshot.data.size();
  SnapshotGeometry geometry;
  ASSERT_TRUE(CheckSnapshot(data, bytes, 100, 7, &geometry).ok());
  EXPECT_EQ(geometry.buffers, snapshot.geometry.buffers);
  EXPECT_EQ(geometry.data_bytes(), bytes);
  EXPECT_EQ(CheckSnapshot(data, bytes, 101, 7, &geometry).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckSnapshot(data, bytes, 100, 8, &geometry).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckSnapshot(data, bytes - 1, 100, 7, &geometry).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckSnapshot(data, 255, 100, 7, &geometry).code(), absl::StatusCode::kDataLoss);
}

TEST(SnapshotTest, AHeaderThatNobodyWouldWriteIsRefused) {
  const TestSnapshot snapshot(100);
  auto* const header = reinterpret_cast<SnapshotHeader*>(snapshot.data.writable());
  SnapshotGeometry geometry;
  const auto code = [&](uint64_t value_bytes) {
    return CheckSnapshot(snapshot.data.readable(), snapshot.data.size(), value_bytes, 0, &geometry)
        .code();
  };
  for (const uint32_t buffers : {0u, 1u, 3u, 65u, ~0u}) {
    header->buffers = buffers;
    EXPECT_EQ(code(100), absl::StatusCode::kDataLoss) << buffers;
  }
  header->buffers = 4;
  EXPECT_EQ(code(100), absl::StatusCode::kOk);
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{kLargestSnapshot} + 1, ~uint64_t{0},
                               ~uint64_t{0} / 4, uint64_t{1} << 62}) {
    header->value_bytes = bytes;
    EXPECT_EQ(code(bytes), absl::StatusCode::kDataLoss) << bytes;
  }
  header->value_bytes = 100;
  header->magic ^= 1;
  EXPECT_EQ(code(100), absl::StatusCode::kDataLoss);
}

TEST(SnapshotTest, AVersionThatIsNoneIsNotReadNorFollowed) {
  const TestSnapshot snapshot(100);
  SnapshotWriter writer = snapshot.MakeWriter();
  PublishNext(&writer, 1, 100);
  auto* const header = reinterpret_cast<SnapshotHeader*>(snapshot.data.writable());
  for (const uint64_t version : {kSnapshotVersionsEnd, kSnapshotVersionsEnd + 1, ~uint64_t{0}}) {
    header->latest = version;
    EXPECT_EQ(Look(snapshot).look, SnapshotLook::kCorrupt);
    EXPECT_FALSE(snapshot.MakeWriter().sound());
  }
  header->latest = kSnapshotVersionsEnd - 1;
  EXPECT_EQ(Look(snapshot).look, SnapshotLook::kRead);
  EXPECT_TRUE(snapshot.MakeWriter().sound());
}

}  // namespace
}  // namespace mailrail
