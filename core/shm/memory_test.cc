#include "core/shm/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

TEST(MemoryTest, WhatOneMappingWritesAnotherReads) {
  absl::StatusOr<Fd> memory = CreateMemory("test", 10000);
  ASSERT_TRUE(memory.ok()) << memory.status();
  absl::StatusOr<Fd> readable = OpenReadOnly(*memory);
  ASSERT_TRUE(readable.ok()) << readable.status();
  absl::StatusOr<Mapping> writer = Mapping::Map(*memory, 10000, Access::kReadWrite);
  absl::StatusOr<Mapping> reader = Mapping::Map(*readable, 10000, Access::kReadOnly);
  ASSERT_TRUE(writer.ok() && reader.ok());
  writer->data()[9999] = 'x';
  EXPECT_EQ(reader->data()[9999], 'x');
}

TEST(MemoryTest, AReadOnlyDescriptorCannotBeMappedForWriting) {
  absl::StatusOr<Fd> memory = CreateMemory("test", 4096);
  absl::StatusOr<Fd> readable = OpenReadOnly(*memory);
  ASSERT_TRUE(readable.ok());
  EXPECT_FALSE(Mapping::Map(*readable, 4096, Access::kReadWrite).ok());
}

TEST(MemoryTest, MemoryThatSeveralWriteCannotBeSealedByOneOfThem) {
  absl::StatusOr<Fd> memory = CreateMemory("test", 4096);
  ASSERT_TRUE(memory.ok()) << memory.status();
  for (const int seal : {F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, F_SEAL_SEAL}) {
    EXPECT_NE(fcntl(memory->get(), F_ADD_SEALS, seal), 0) << seal;
  }
  EXPECT_EQ(SealAgainstWriting(*memory).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(Mapping::Map(*memory, 4096, Access::kReadWrite).ok());
}

TEST(MemoryTest, ASealedMemoryKeepsItsWriterAndRefusesEveryOther) {
  absl::StatusOr<Fd> memory = CreateMemory("test", 4096, MoreSeals::kAllowed);
  absl::StatusOr<Mapping> writer = Mapping::Map(*memory, 4096, Access::kReadWrite);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(SealAgainstWriting(*memory).ok());
  EXPECT_FALSE(Mapping::Map(*memory, 4096, Access::kReadWrite).ok());
  EXPECT_EQ(pwrite(memory->get(), "x", 1, 0), -1);
  const Fd reopened(open(absl::StrCat("/proc/self/fd/", memory->get()).c_str(), O_RDWR));
  if (reopened.valid()) {
    EXPECT_FALSE(Mapping::Map(reopened, 4096, Access::kReadWrite).ok());
  }
  writer->data()[0] = 'y';
  EXPECT_TRUE(Mapping::Map(*memory, 4096, Access::kReadOnly).ok());
}

TEST(MemoryTest, SizeCannotBeChanged) {
  absl::StatusOr<Fd> memory = CreateMemory("test", 4096);
  EXPECT_NE(ftruncate(memory->get(), 0), 0);
  EXPECT_NE(ftruncate(memory->get(), 1 << 20), 0);
}

TEST(MemoryTest, MemoryThatCouldShrinkOrIsTooSmallIsNotMapped) {
  const Fd open_ended(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open_ended.get(), 4096), 0);
  EXPECT_EQ(Mapping::Map(open_ended, 4096, Access::kReadOnly).status().code(),
            absl::StatusCode::kDataLoss);
  absl::StatusOr<Fd> small = CreateMemory("small", 4096);
  EXPECT_EQ(Mapping::Map(*small, 4097, Access::kReadOnly).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace mailrail
