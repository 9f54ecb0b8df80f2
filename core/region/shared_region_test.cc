#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "core/lane/child_process.h"
#include "mailrail/region.h"

namespace mailrail {
namespace {

using absl::StatusCode;

// Whether the kernel lets `region`, mapped, become writable.
bool CanBeMadeWritable(const SharedRegion& region) {
  return mprotect(const_cast<char*>(region.data()), 1, PROT_READ | PROT_WRITE) == 0;
}

// Whether `body` exits with 0 in a forked child.
bool SucceedsInChild(const std::function<bool()>& body) {
  ChildProcess child([&] {
    if (!body()) _exit(1);
  });
  return child.WaitForChange() == 0;
}

SharedRegion FromShare(const SharedRegion& region, RegionAccess access) {
  const Fd shared(region.Share(access).value());
  return SharedRegion::FromDescriptor(shared.get()).value();
}

TEST(SharedRegionTest, AnonymousMemoryIsZeroAndRoundedUpToPages) {
  absl::StatusOr<SharedRegion> region = SharedRegion::CreateAnonymous(5000);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(region->size(), 8192u);
  EXPECT_EQ(region->access(), RegionAccess::kReadWrite);
  EXPECT_EQ(region->data(), region->mutable_data());
  EXPECT_EQ(std::string(region->data(), region->size()), std::string(8192, '\0'));
  EXPECT_TRUE(region->Flush().ok());
}

TEST(SharedRegionTest, WhatIsNotToBeHadIsRefused) {
  EXPECT_EQ(SharedRegion::CreateAnonymous(0).status().code(), StatusCode::kInvalidArgument);
  for (const size_t bytes : {size_t{1} << 60, ~size_t{0}}) {
    const absl::Status status = SharedRegion::CreateAnonymous(bytes).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
  }
}

TEST(SharedRegionTest, WhatOneWritesAnotherReads) {
  SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  SharedRegion other = FromShare(region, RegionAccess::kReadWrite);
  const SharedRegion reader = FromShare(region, RegionAccess::kReadOnly);
  ASSERT_NE(other.data(), region.data());
  std::strcpy(region.mutable_data(), "from one");
  EXPECT_STREQ(other.data(), "from one");
  std::strcpy(other.mutable_data(), "from the other");
  EXPECT_STREQ(region.data(), "from the other");
  EXPECT_STREQ(reader.data(), "from the other");
  EXPECT_EQ(other.size(), region.size());
}

TEST(SharedRegionTest, WhoMayOnlyReadCannotMakeItWritable) {
  SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  SharedRegion reader = FromShare(region, RegionAccess::kReadOnly);
  EXPECT_EQ(reader.access(), RegionAccess::kReadOnly);
  EXPECT_EQ(reader.mutable_data(), nullptr);
  EXPECT_FALSE(CanBeMadeWritable(reader));
  EXPECT_TRUE(CanBeMadeWritable(region));
  const Fd shared(region.Share(RegionAccess::kReadOnly).value());
  EXPECT_EQ(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, shared.get(), 0), MAP_FAILED);
  EXPECT_EQ(pwrite(shared.get(), "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(shared.get(), 0), -1);
}

TEST(SharedRegionTest, NobodyGivesMoreThanItHas) {
  const SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  const SharedRegion reader = FromShare(region, RegionAccess::kReadOnly);
  EXPECT_EQ(reader.Share(RegionAccess::kReadWrite).status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(FromShare(reader, RegionAccess::kReadOnly).access(), RegionAccess::kReadOnly);
}

TEST(SharedRegionTest, NobodyShrinksAnonymousMemory) {
  const SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  const Fd shared(region.Share(RegionAccess::kReadWrite).value());
  EXPECT_NE(ftruncate(shared.get(), 0), 0);
  EXPECT_NE(ftruncate(shared.get(), 8192), 0);
}

TEST(SharedRegionTest, ItStaysAsLongAsAnybodyHasIt) {
  absl::optional<SharedRegion> region = SharedRegion::CreateAnonymous(4096).value();
  std::strcpy(region->mutable_data(), "left");
  const SharedRegion other = FromShare(*region, RegionAccess::kReadOnly);
  region.reset();
  EXPECT_STREQ(other.data(), "left");
}

TEST(SharedRegionTest, AMovedRegionIsTheSameMemory) {
  SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  const char* const data = region.data();
  SharedRegion moved = std::move(region);
  EXPECT_EQ(moved.data(), data);
  region = SharedRegion::CreateAnonymous(4096).value();
  moved = std::move(region);
  EXPECT_NE(moved.data(), nullptr);
}

TEST(SharedRegionTest, AForkedChildTakesItByADescriptor) {
  SharedRegion region = SharedRegion::CreateAnonymous(4096).value();
  const Fd shared(region.Share(RegionAccess::kReadWrite).value());
  EXPECT_TRUE(SucceedsInChild([&] {
    if (region.data() != nullptr || region.mutable_data() != nullptr) return false;
    if (region.Flush().code() != StatusCode::kFailedPrecondition) return false;
    if (region.Share(RegionAccess::kReadOnly).status().code() != StatusCode::kFailedPrecondition) {
      return false;
    }
    SharedRegion mine = SharedRegion::FromDescriptor(shared.get()).value();
    std::strcpy(mine.mutable_data(), "from the child");
    return true;
  }));
  EXPECT_STREQ(region.data(), "from the child");
}

TEST(SharedRegionTest, ADescriptorOfNoRegionIsRefused) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const Fd reading(pipes[0]), writing(pipes[1]);
  const Fd open_ended(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open_ended.get(), 4096), 0);
  for (const int descriptor : {pipes[0], pipes[1], open_ended.get()}) {
    EXPECT_EQ(SharedRegion::FromDescriptor(descriptor).status().code(), StatusCode::kDataLoss);
  }
  EXPECT_FALSE(SharedRegion::FromDescriptor(-1).ok());
}

class MappedFileTest : public ::testing::Test {
 protected:
  MappedFileTest() {
    char made[] = "/tmp/mailrail-region-XXXXXX";
    Require(mkdtemp(made) != nullptr, "mkdtemp");
    folder_ = made;
    path_ = absl::StrCat(folder_, "/file");
  }
  ~MappedFileTest() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  absl::StatusOr<SharedRegion> Make(size_t bytes) {
    return SharedRegion::MapFile(path_, {.create = true, .bytes = bytes});
  }
  absl::Status Refused(const RegionFileOptions& options) {
    return SharedRegion::MapFile(path_, options).status();
  }
  struct stat Stat() {
    struct stat status {};
    Require(stat(path_.c_str(), &status) == 0, "stat");
    return status;
  }
  std::string Contents() {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder_, path_;
};

TEST_F(MappedFileTest, ANewFileHasTheSizeAndRoomForAllOfIt) {
  absl::StatusOr<SharedRegion> region = Make(100000);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(region->size(), 100000u);
  EXPECT_EQ(Stat().st_size, 100000);
  EXPECT_EQ(Stat().st_mode & 0777, 0600u);
  EXPECT_GE(Stat().st_blocks * 512, 100000) << "none of it is sparse";
}

TEST_F(MappedFileTest, WhatIsWrittenIsInTheFileAndStays) {
  {
    SharedRegion region = Make(10000).value();
    std::strcpy(region.mutable_data() + 9990, "the end");
    EXPECT_TRUE(region.Flush().ok());
    EXPECT_STREQ(Contents().c_str() + 9990, "the end");
  }
  const SharedRegion again =
      SharedRegion::MapFile(path_, {.access = RegionAccess::kReadOnly}).value();
  EXPECT_EQ(again.size(), 10000u);
  EXPECT_STREQ(again.data() + 9990, "the end");
}

TEST_F(MappedFileTest, WhatIsThereIsNotOverwritten) {
  std::ofstream(path_) << "before";
  SharedRegion region = Make(5000).value();
  EXPECT_STREQ(region.data(), "before");
  EXPECT_EQ(Stat().st_size, 5000) << "it has grown";
  const SharedRegion smaller = Make(6).value();
  EXPECT_EQ(smaller.size(), 6u);
  EXPECT_EQ(Stat().st_size, 5000) << "nothing shrinks it";
}

TEST_F(MappedFileTest, TwoThatMapItSeeEachOther) {
  SharedRegion one = Make(4096).value();
  EXPECT_TRUE(SucceedsInChild([&] {
    SharedRegion mine = SharedRegion::MapFile(path_).value();
    std::strcpy(mine.mutable_data(), "from the child");
    return true;
  }));
  EXPECT_STREQ(one.data(), "from the child");
}

TEST_F(MappedFileTest, WhoMayOnlyReadCannotMakeItWritable) {
  std::ofstream(path_) << "text";
  SharedRegion region = SharedRegion::MapFile(path_, {.access = RegionAccess::kReadOnly}).value();
  EXPECT_EQ(region.mutable_data(), nullptr);
  EXPECT_FALSE(CanBeMadeWritable(region));
  EXPECT_EQ(region.Share(RegionAccess::kReadWrite).status().code(), StatusCode::kPermissionDenied);
  EXPECT_TRUE(region.Flush().ok());
  EXPECT_EQ(Stat().st_size, 4) << "it is left as it was";
}

TEST_F(MappedFileTest, AFilesDescriptorIsNotTakenForMemoryThatNobodyShrinks) {
  const SharedRegion region = Make(4096).value();
  const Fd shared(region.Share(RegionAccess::kReadWrite).value());
  EXPECT_EQ(SharedRegion::FromDescriptor(shared.get()).status().code(), StatusCode::kDataLoss);
}

TEST_F(MappedFileTest, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(Refused({}).code(), StatusCode::kNotFound);
  EXPECT_EQ(Refused({.access = RegionAccess::kReadOnly, .create = true}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Refused({.create = true, .bytes = ~size_t{0}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Refused({}).code(), StatusCode::kNotFound) << "none was made";
  EXPECT_EQ(Refused({.create = true}).code(), StatusCode::kInvalidArgument) << "it is empty";
  EXPECT_EQ(Refused({.access = RegionAccess::kReadOnly, .bytes = 1}).code(), StatusCode::kDataLoss);
  const absl::Status status = Refused({.bytes = size_t{1} << 50});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
}

TEST_F(MappedFileTest, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(Refused({}).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(SharedRegion::MapFile(folder_).ok());
  EXPECT_EQ(SharedRegion::MapFile("/dev/null").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mailrail
