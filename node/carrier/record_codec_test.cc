#include "node/carrier/record_codec.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

Record RecordOf(absl::string_view bytes, bool has_prefix = false) {
  Record record;
  record.data = bytes.data();
  record.length = static_cast<uint32_t>(bytes.size());
  record.has_prefix = has_prefix;
  return record;
}

// A prefix of so many bytes, which need to make no sense.
std::string PrefixOf(size_t bytes) {
  std::string prefix(bytes, 'p');
  prefix[0] = static_cast<char>(bytes & 0xff);
  prefix[1] = static_cast<char>(bytes >> 8);
  return prefix;
}

TEST(RecordCodecTest, UnpacksWhatWasPacked) {
  std::string packed;
  ASSERT_TRUE(PackRecord(RecordOf(""), &packed));
  ASSERT_TRUE(PackRecord(RecordOf("hello"), &packed));
  ASSERT_TRUE(PackRecord(RecordOf(PrefixOf(300) + "body", true), &packed));
  ASSERT_TRUE(PackRecord(RecordOf(PrefixOf(2), true), &packed));
  EXPECT_EQ(packed.size(), PackedBytes(RecordOf("")) + PackedBytes(RecordOf("hello")) +
                               2 * kPackedHeadBytes + 300 + 4 + 2);
  EXPECT_EQ(CountRecords(packed), 4u);

  absl::string_view rest = packed;
  Payload payload;
  ASSERT_TRUE(UnpackRecord(&rest, &payload));
  EXPECT_EQ(payload.size(), 0u);
  ASSERT_TRUE(UnpackRecord(&rest, &payload));
  EXPECT_EQ(payload.prefix, "");
  EXPECT_EQ(payload.body, "hello");
  ASSERT_TRUE(UnpackRecord(&rest, &payload));
  EXPECT_EQ(payload.prefix, PrefixOf(300));
  EXPECT_EQ(payload.body, "body");
  ASSERT_TRUE(UnpackRecord(&rest, &payload));
  EXPECT_EQ(payload.prefix, PrefixOf(2));
  EXPECT_EQ(payload.body, "");
  EXPECT_TRUE(rest.empty());
}

TEST(RecordCodecTest, DoesNotPackAPrefixThatIsNotWellFormed) {
  std::string packed = "before";
  for (const std::string& bytes : {std::string(), std::string("\5"), std::string("\0\0", 2),
                                   std::string("\1\0x", 3), std::string("\4\0x", 3)}) {
    EXPECT_FALSE(PackRecord(RecordOf(bytes, true), &packed));
    EXPECT_EQ(packed, "before");
  }
}

TEST(RecordCodecTest, RefusesEveryTruncation) {
  std::string packed;
  ASSERT_TRUE(PackRecord(RecordOf(PrefixOf(20) + "some body", true), &packed));
  for (size_t size = 1; size < packed.size(); ++size) {
    EXPECT_FALSE(CountRecords(absl::string_view(packed).substr(0, size)).has_value()) << size;
  }
}

TEST(RecordCodecTest, RefusesUnknownFlags) {
  std::string packed;
  ASSERT_TRUE(PackRecord(RecordOf("hello"), &packed));
  for (int bit = 1; bit < 32; ++bit) {
    std::string flagged = packed;
    flagged[4 + static_cast<size_t>(bit) / 8] |= static_cast<char>(1 << (bit % 8));
    EXPECT_FALSE(CountRecords(flagged).has_value()) << bit;
  }
}

TEST(RecordCodecTest, ReadsNoByteOutOfRangeWhateverItIsGiven) {
  std::mt19937_64 random(TestSeed());
  // The bytes end where the memory does.
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const memory =
      mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  char* const end = static_cast<char*>(memory) + page;
  ASSERT_EQ(mprotect(end, page, PROT_NONE), 0);
  int well_formed = 0;
  for (int i = 0; i < 300'000; ++i) {
    const size_t size = random() % 100;
    char* const bytes = end - size;
    for (size_t at = 0; at < size; ++at) {
      // Mostly small numbers, so that lengths are plausible.
      bytes[at] = static_cast<char>(random() % 4 == 0 ? random() : random() % 3);
    }
    // And mostly zeros where the high bytes of a head are.
    if (size >= 8 && random() % 2 == 0) {
      memset(bytes + 1, 0, 7);
      bytes[4] = static_cast<char>(random() % 2);
    }
    absl::string_view rest(bytes, size);
    const absl::string_view all = rest;
    Payload payload;
    while (UnpackRecord(&rest, &payload)) {
      ++well_formed;
      ASSERT_LE(payload.size() + kPackedHeadBytes, all.size());
      ASSERT_EQ(rest.data() + rest.size(), all.data() + all.size());
      std::string copy(payload.prefix);
      copy.append(payload.body.data(), payload.body.size());
    }
    CountRecords(all);
  }
  EXPECT_GT(well_formed, 1000);
  munmap(memory, 2 * page);
}

TEST(RecordCodecTest, SequenceNumbersAreComparedByTheirLowHalf) {
  EXPECT_EQ(SequenceDistance(5, 3), 2);
  EXPECT_EQ(SequenceDistance(3, 5), -2);
  EXPECT_EQ(SequenceDistance(uint64_t{1} << 32, 0xffffffff), 1);
  EXPECT_EQ(SequenceDistance(0, (uint64_t{7} << 32) + 1), -1);
}

}  // namespace
}  // namespace mailrail
