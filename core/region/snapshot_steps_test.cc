// A writer is stopped, and dies, after any instruction; and a reader is interrupted after any of
// its own, while versions are published.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>

#include "core/lane/child_process.h"
#include "core/region/snapshot_testing.h"

namespace mailrail {
namespace {

constexpr size_t kBytes = 45;  // five words, and a part of one
constexpr SnapshotGeometry kGeometry = {
    .value_bytes = kBytes, .schema = 0, .buffers = SnapshotGeometry::kFewestBuffers};

// What the child says of itself.
struct Said {
  std::atomic<uint64_t> begun, ended;  // the writer's versions
  std::atomic<uint64_t> version;       // what the reader has read
  std::atomic<int> look;
  char value[kBytes];
};

class SnapshotStepsTest : public ::testing::Test {
 protected:
  Said& said() { return *reinterpret_cast<Said*>(said_.writable()); }

  // The last version, which must be whole, and between these.
  static void ExpectLast(const SnapshotReader& reader, uint64_t least, uint64_t most) {
    std::string value(kBytes, '\0');
    uint64_t version = 0;
    const SnapshotLook look = reader.Read(value.data(), &version);
    if (look == SnapshotLook::kNone) {
      ASSERT_EQ(least, 0u);
      return;
    }
    ASSERT_EQ(look, SnapshotLook::kRead);
    ASSERT_GE(version, least);
    ASSERT_LE(version, most);
    ASSERT_TRUE(IsVersion(value, version)) << version;
  }

  // Writes a part of a version, as a writer does that is stopped there.
  static void Begin(const TestSnapshot& memory, uint64_t version) {
    std::memset(memory.data.writable() + memory.geometry.offset_of(version), 0xff, kBytes / 2);
  }

  const TwiceMapped said_{sizeof(Said)};
};

TEST_F(SnapshotStepsTest, AWriterThatStopsAnywhereLeavesTheLastVersionToReadersAndToTheNextWriter) {
  constexpr uint64_t kVersions = 2 * kGeometry.buffers + 1;
  const TestSnapshot memory(kGeometry);
  Snapshot left;
  const size_t data =
      left.Add(memory.data.readable(), kGeometry.data_bytes(), {{0, kGeometry.data_bytes()}});
  const TwiceMapped heirs_bell(sizeof(SnapshotBell));
  uint64_t steps = 0, changes = 0;
  const Steps result = StepThrough(
      [&] {
        const Mapping mapping = memory.data.MapWritable(), bell = memory.bell.MapWritable(),
                      saying = said_.MapWritable();
        auto& progress = *reinterpret_cast<Said*>(saying.data());
        SnapshotWriter writer(kGeometry, mapping.data(), TestSnapshot::Bell(bell));
        std::string values[kVersions + 1];
        for (uint64_t i = 1; i <= kVersions; ++i) values[i] = ValueOf(i, 1, kBytes);
        BeginSteps();
        for (uint64_t i = 1; i <= kVersions; ++i) {
          progress.begun = i;
          writer.Publish(values[i].data());
          progress.ended = i;
        }
        EndSteps();
      },
      [&] {
        ++steps;
        const uint64_t ended = said().ended, begun = said().begun;
        ExpectLast(memory.MakeReader(), ended, begun);
        if (HasFatalFailure() || !left.Changed()) return !HasFatalFailure();
        ++changes;
        left.Restore();
        SnapshotWriter heir(kGeometry, left.copy(data), TestSnapshot::Bell(heirs_bell));
        const SnapshotReader reader(kGeometry, left.copy(data), TestSnapshot::Bell(heirs_bell));
        EXPECT_GE(heir.version(), ended);
        for (uint32_t i = 0; i <= kGeometry.buffers; ++i) {
          PublishNext(&heir, 2, kBytes);
          ExpectLast(reader, heir.version(), heir.version());
        }
        return !HasFatalFailure();
      });
  if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
  EXPECT_EQ(result, Steps::kDone);
  EXPECT_EQ(said().ended, kVersions);
  EXPECT_GT(steps, 20 * kVersions);
  EXPECT_GE(changes, 6 * kVersions) << "each word that is another than before, and the number";
}

// However many versions come in the midst of a read, and the next is begun: it ends with a whole
// one, which is none older than the last when it began.
TEST_F(SnapshotStepsTest, AReaderThatIsInterruptedAnywhereReadsAWholeVersion) {
  constexpr uint64_t kBefore = 6;
  for (const uint32_t beside : {1u, kGeometry.buffers - 2, kGeometry.buffers - 1, kGeometry.buffers,
                                kGeometry.buffers + 1, 3 * kGeometry.buffers - 1}) {
    SCOPED_TRACE(beside);
    bool first_was_enough = false;
    for (uint64_t at = 0, interrupted = 1; interrupted != 0; ++at) {
      SCOPED_TRACE(at);
      const TestSnapshot memory(kGeometry);
      SnapshotWriter writer = memory.MakeWriter();
      for (uint64_t i = 0; i < kBefore; ++i) PublishNext(&writer, 1, kBytes);
      interrupted = 0;
      uint64_t steps = 0;
      const Steps result = StepThrough(
          [&] {
            const Mapping mapping = memory.data.MapReadable(), bell = memory.bell.MapWritable(),
                          saying = said_.MapWritable();
            auto& progress = *reinterpret_cast<Said*>(saying.data());
            const SnapshotReader reader(kGeometry, mapping.data(), TestSnapshot::Bell(bell));
            char value[kBytes];
            uint64_t version = 0;
            BeginSteps();
            const SnapshotLook look = reader.Read(value, &version);
            progress.look = static_cast<int>(look);
            progress.version = version;
            std::memcpy(progress.value, value, kBytes);
            EndSteps();
          },
          [&] {
            if (steps++ < at) return true;
            interrupted = 1;
            for (uint32_t i = 0; i < beside; ++i) PublishNext(&writer, 1, kBytes);
            Begin(memory, writer.version() + 1);
            return false;
          });
      if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
      ASSERT_EQ(result, Steps::kDone);
      ASSERT_EQ(said().look, static_cast<int>(SnapshotLook::kRead));
      const uint64_t version = said().version;
      ASSERT_TRUE(version == kBefore || version == kBefore + beside) << version;
      ASSERT_TRUE(IsVersion({said().value, kBytes}, version)) << version;
      first_was_enough |= at > 20 && interrupted != 0 && version == kBefore;
      if (interrupted == 0) {
        ASSERT_GT(at, 40u);
      }
    }
    EXPECT_TRUE(first_was_enough) << "a read that has ended needs no other";
  }
}

// One reads, having been interrupted in the midst by as many versions as leave its buffer alone.
TEST_F(SnapshotStepsTest, AReaderCopiesAnewOnlyWhenItsBufferMayHaveBeenWritten) {
  constexpr uint64_t kBefore = 6;
  uint64_t kept = 0;
  for (uint64_t at = 0, interrupted = 1; interrupted != 0; ++at) {
    const TestSnapshot memory(kGeometry);
    SnapshotWriter writer = memory.MakeWriter();
    for (uint64_t i = 0; i < kBefore; ++i) PublishNext(&writer, 1, kBytes);
    interrupted = 0;
    uint64_t steps = 0;
    const Steps result = StepThrough(
        [&] {
          const Mapping mapping = memory.data.MapReadable(), bell = memory.bell.MapWritable(),
                        saying = said_.MapWritable();
          const SnapshotReader reader(kGeometry, mapping.data(), TestSnapshot::Bell(bell));
          char value[kBytes];
          uint64_t version = 0;
          BeginSteps();
          reader.Read(value, &version);
          reinterpret_cast<Said*>(saying.data())->version = version;
          EndSteps();
        },
        [&] {
          if (steps++ < at) return true;
          interrupted = 1;
          for (uint32_t i = 0; i + 2 < kGeometry.buffers; ++i) PublishNext(&writer, 1, kBytes);
          Begin(memory, writer.version() + 1);
          return false;
        });
    if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
    ASSERT_EQ(result, Steps::kDone);
    // From the first look at the number on it is the old version, to the end.
    if (said().version == kBefore) {
      ++kept;
    } else {
      ASSERT_EQ(kept, 0u) << at;
    }
  }
  EXPECT_GT(kept, 20u);
}

// A hostile writer changes nothing but the number, for ever.
TEST_F(SnapshotStepsTest, AReaderGivesUpOnNumbersThatNeverStandStill) {
  const TestSnapshot memory(8);
  auto& latest = reinterpret_cast<SnapshotHeader*>(memory.data.writable())->latest;
  latest = 1;
  bool ended = false;
  const Steps result = StepThrough(
      [&] {
        const Mapping mapping = memory.data.MapReadable(), bell = memory.bell.MapWritable(),
                      saying = said_.MapWritable();
        const SnapshotReader reader(memory.geometry, mapping.data(), TestSnapshot::Bell(bell));
        uint64_t value = 0, version = 0;
        BeginSteps();
        const SnapshotLook look = reader.Read(&value, &version);
        reinterpret_cast<Said*>(saying.data())->look = static_cast<int>(look);
        reinterpret_cast<Said*>(saying.data())->ended = 1;
        EndSteps();
      },
      [&] {
        ended = said().ended != 0;
        latest += memory.geometry.buffers;
        return !ended;
      });
  if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
  EXPECT_EQ(result, Steps::kDone);
  EXPECT_TRUE(ended);
  EXPECT_EQ(said().look, static_cast<int>(SnapshotLook::kOvertaken));
}

}  // namespace
}  // namespace mailrail
