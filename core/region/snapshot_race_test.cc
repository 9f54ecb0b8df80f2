// Threads that read and await versions while another publishes them.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "core/region/snapshot_testing.h"

namespace mailrail {
namespace {

class SnapshotRaceTest : public ::testing::TestWithParam<size_t> {
 protected:
  // Fewer of large ones.
  uint64_t versions() const { return 2000000 / (20 + GetParam() / 8) / kSlowdown + 100; }
};

// Reads until the last version, and looks at each.
void ReadAll(const SnapshotReader& reader, size_t bytes, uint64_t last, bool wait) {
  std::string value(bytes, '\0');
  uint64_t seen = 0, overtaken = 0;
  while (seen < last) {
    if (wait) WaitUntilWoken(reader, seen);
    const uint64_t before = reader.latest();
    uint64_t version = 0;
    const SnapshotLook look = reader.Read(value.data(), &version);
    if (look == SnapshotLook::kNone) {
      ASSERT_EQ(before, 0u);
      continue;
    }
    if (look == SnapshotLook::kOvertaken) {
      ++overtaken;
      continue;
    }
    ASSERT_EQ(look, SnapshotLook::kRead);
    ASSERT_GE(version, before) << "there was a newer one";
    ASSERT_GE(version, seen);
    ASSERT_TRUE(IsVersion(value, version)) << version;
    seen = version;
  }
  EXPECT_EQ(overtaken, 0u) << "versions never come so fast";
}

TEST_P(SnapshotRaceTest, EveryReadIsOneVersionAndNeverAnOlderOne) {
  const TestSnapshot snapshot(GetParam());
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back(
        [&] { ReadAll(snapshot.MakeReader(), GetParam(), versions(), /*wait=*/false); });
  }
  SnapshotWriter writer = snapshot.MakeWriter();
  while (writer.version() < versions()) PublishNext(&writer, 1, GetParam());
  for (std::thread& reader : readers) reader.join();
}

TEST_P(SnapshotRaceTest, WhoWaitsSeesTheLastVersion) {
  const TestSnapshot snapshot(GetParam());
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back(
        [&] { ReadAll(snapshot.MakeReader(), GetParam(), versions(), /*wait=*/true); });
  }
  SnapshotWriter writer = snapshot.MakeWriter();
  while (writer.version() < versions()) PublishNext(&writer, 1, GetParam());
  for (std::thread& reader : readers) reader.join();
}

// Two that answer each other's versions: each waits for each, so that no wake-up may be lost.
TEST_P(SnapshotRaceTest, EachVersionWakesWhoWaitsForIt) {
  const uint64_t rounds = 4000 / kSlowdown;
  const TestSnapshot ping(GetParam()), pong(GetParam());
  const auto answer = [&](const TestSnapshot& mine, const TestSnapshot& other, bool first) {
    SnapshotWriter writer = mine.MakeWriter();
    const SnapshotReader reader = other.MakeReader();
    std::string value(GetParam(), '\0');
    for (uint64_t round = 1; round <= rounds; ++round) {
      if (first) PublishNext(&writer, 1, GetParam());
      WaitUntilWoken(reader, round - 1);
      uint64_t version = 0;
      ASSERT_EQ(reader.Read(value.data(), &version), SnapshotLook::kRead);
      ASSERT_EQ(version, round);
      ASSERT_TRUE(IsVersion(value, version));
      if (!first) PublishNext(&writer, 1, GetParam());
    }
  };
  std::thread other([&] { answer(pong, ping, /*first=*/false); });
  answer(ping, pong, /*first=*/true);
  other.join();
}

// Writers that follow each other beside readers: each goes on where the one before has ended.
TEST_P(SnapshotRaceTest, ReadersDoNotNoticeThatTheWriterChanges) {
  const TestSnapshot snapshot(GetParam());
  const uint64_t last = versions();
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] { ReadAll(snapshot.MakeReader(), GetParam(), last, i == 0); });
  }
  uint64_t generation = 0, version = 0;
  while (version < last) {
    std::thread([&] {
      SnapshotWriter writer = snapshot.MakeWriter();
      EXPECT_EQ(writer.version(), version);
      ++generation;
      for (int i = 0; i < 70 && writer.version() < last; ++i) {
        PublishNext(&writer, generation, GetParam());
      }
      version = writer.version();
    }).join();
  }
  for (std::thread& reader : readers) reader.join();
}

INSTANTIATE_TEST_SUITE_P(OfBytes, SnapshotRaceTest, ::testing::Values(8, 24, 100, 1000, 70000),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace mailrail
