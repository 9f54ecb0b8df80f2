// Writers are killed at random moments, one after the other, and readers too: those that go on see
// whole versions, in order, and are woken.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "core/lane/child_process.h"
#include "core/region/snapshot_testing.h"

namespace mailrail {
namespace {

constexpr int kReaders = 2;

// What the processes say to the test.
struct Progress {
  std::atomic<uint64_t> ended;  // the last version of which Publish has returned
  std::atomic<uint64_t> reads;
  std::atomic<uint64_t> broken;  // how often what must not be was seen
};

class SnapshotKillTest : public ::testing::TestWithParam<size_t> {
 protected:
  Progress& progress() { return *reinterpret_cast<Progress*>(progress_.writable()); }

  ChildProcess StartWriter(uint64_t generation) {
    return ChildProcess([=, this] {
      const Mapping data = snapshot_.data.MapWritable(), bell = snapshot_.bell.MapWritable(),
                    said = progress_.MapWritable();
      auto* const progress = reinterpret_cast<Progress*>(said.data());
      SnapshotWriter writer(snapshot_.geometry, data.data(), TestSnapshot::Bell(bell));
      if (writer.version() < progress->ended) ++progress->broken;
      for (;;) {
        PublishNext(&writer, generation, GetParam());
        progress->ended = writer.version();
      }
    });
  }

  // One that waits looks by itself, too, since who was to wake it may have been killed.
  ChildProcess StartReader(bool waits) {
    return ChildProcess([=, this] {
      const Mapping data = snapshot_.data.MapReadable(), bell = snapshot_.bell.MapWritable(),
                    said = progress_.MapWritable();
      auto* const progress = reinterpret_cast<Progress*>(said.data());
      const SnapshotReader reader(snapshot_.geometry, data.data(), TestSnapshot::Bell(bell));
      std::string value(GetParam(), '\0');
      for (uint64_t seen = 0;;) {
        const uint64_t ended = progress->ended;
        uint64_t version = 0;
        const SnapshotLook look = reader.Read(value.data(), &version);
        if (look == SnapshotLook::kNone && ended == 0) continue;
        if (look != SnapshotLook::kRead || version < ended || version < seen ||
            !IsVersion(value, version)) {
          ++progress->broken;
        }
        seen = version;
        ++progress->reads;
        if (!waits) continue;
        Parker parker = reader.MakeParker();
        const FutexWord word = parker.Park();
        if (reader.latest() == seen) FutexWait(word.word, word.expected, kLookAgain);
      }
    });
  }

  TestRandom random_;
  const TestSnapshot snapshot_{GetParam()};
  const TwiceMapped progress_{sizeof(Progress)};
};

TEST_P(SnapshotKillTest, WhoIsKilledHarmsNobodyElse) {
  uint64_t generation = 1;
  ChildProcess writer = StartWriter(generation);
  std::vector<ChildProcess> readers;
  for (int i = 0; i < kReaders; ++i) readers.push_back(StartReader(i == 0));
  for (uint64_t kill = 0; kill < kKills / 4; ++kill) {
    // Until both have got somewhere, for a random while.
    const uint64_t reads = progress().reads + kReaders + random_.Below(30);
    const uint64_t ended = progress().ended + 1 + random_.Below(100);
    while (progress().reads < reads || progress().ended < ended) {
      ASSERT_TRUE(writer.Running());
      for (ChildProcess& reader : readers) ASSERT_TRUE(reader.Running());
    }
    if (random_.OneIn(4)) {
      const size_t which = random_.Below(kReaders);
      ASSERT_TRUE(readers[which].Kill());
      readers[which] = StartReader(which == 0);
      continue;
    }
    ASSERT_TRUE(writer.Kill());
    // Without a writer they go on.
    const uint64_t without = progress().reads + 5;
    while (progress().reads < without) {
      for (ChildProcess& reader : readers) ASSERT_TRUE(reader.Running());
    }
    writer = StartWriter(++generation);
  }
  EXPECT_EQ(progress().broken, 0u);
  EXPECT_GT(generation, 1u);
}

INSTANTIATE_TEST_SUITE_P(OfBytes, SnapshotKillTest, ::testing::Values(24, 1000, 70000),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace mailrail
