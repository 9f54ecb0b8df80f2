// What region.h and shared_value.h promise of regions and values by name, on one node.
#include <thread>

#include "tests/conformance/own_cluster.h"
#include "tests/conformance/region_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class NamedRegionTest : public RegionTest {};

INSTANTIATE_TEST_SUITE_P(, NamedRegionTest,
                         testing::Values(Transport::kSameProcess, Transport::kTwoProcesses),
                         TransportName);

TEST_P(NamedRegionTest, WhatOneWritesOthersSee) {
  const Result created = Create(self(), name_, 10000);
  ASSERT_THAT(created, IsOk());
  EXPECT_EQ(created.size, 12288u) << "whole pages";
  EXPECT_FALSE(created.replica);
  ASSERT_THAT(Open(peer(), name_), IsOk());
  EXPECT_EQ(Get(peer(), name_, 100, 12188).bytes, std::string(100, '\0'));
  ASSERT_THAT(Put(self(), name_, "here", 12000), IsOk());
  EXPECT_EQ(Get(peer(), name_, 4, 12000).bytes, "here");
  ASSERT_THAT(Put(peer(), name_, "and back"), IsOk());
  EXPECT_EQ(Get(self(), name_, 8).bytes, "and back");
}

TEST_P(NamedRegionTest, WhoOpensItForReadingCannotWrite) {
  ASSERT_THAT(Create(self(), name_), IsOk());
  ASSERT_THAT(Open(peer(), name_, /*read_only=*/true), IsOk());
  ASSERT_THAT(Put(self(), name_, "written"), IsOk());
  EXPECT_EQ(Get(peer(), name_, 7).bytes, "written");
  EXPECT_THAT(Do(peer(), name_, Call::PUBLISH), HasCode(StatusCode::kPermissionDenied));
  absl::StatusOr<SharedRegion> reader =
      SharedRegion::Open(self().process(), name_, RegionAccess::kReadOnly);
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(reader->access(), RegionAccess::kReadOnly);
  EXPECT_EQ(reader->mutable_data(), nullptr);
  EXPECT_THAT(reader->Share(RegionAccess::kReadWrite), HasCode(StatusCode::kPermissionDenied));
}

TEST_P(NamedRegionTest, VersionsAreWholeAndInOrder) {
  constexpr size_t kBytes = 3 * kPage;
  ASSERT_THAT(Create(self(), name_, kBytes), IsOk());
  ASSERT_THAT(Open(peer(), name_, /*read_only=*/true), IsOk());
  EXPECT_THAT(Do(peer(), name_, Call::READ), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(WaitNewer(peer(), name_, 0, absl::Now() + absl::Milliseconds(30)),
              HasCode(StatusCode::kDeadlineExceeded));
  constexpr uint64_t kVersions = 300;
  std::thread writer([&] {
    for (uint64_t version = 1; version <= kVersions; ++version) {
      const Result published = PublishFilled(self(), name_, version, kBytes);
      ASSERT_THAT(published, IsOk());
      ASSERT_EQ(published.version, version);
    }
  });
  for (uint64_t seen = 0; seen < kVersions;) {
    const Result read = WaitNewer(peer(), name_, seen);
    ASSERT_THAT(read, IsOk());
    ASSERT_GT(read.version, seen);
    ASSERT_EQ(read.bytes, Filled(read.version, kBytes));
    seen = read.version;
  }
  writer.join();
  ASSERT_THAT(Put(self(), name_, "not published"), IsOk());
  EXPECT_EQ(Do(peer(), name_, Call::READ).bytes, Filled(kVersions, kBytes));
}

TEST_P(NamedRegionTest, AnyoneMayPublishNext) {
  ASSERT_THAT(Create(self(), name_), IsOk());
  ASSERT_THAT(Open(peer(), name_), IsOk());
  EXPECT_EQ(Do(self(), name_, Call::PUBLISH).version, 1u);
  EXPECT_EQ(Do(peer(), name_, Call::PUBLISH).version, 2u);
  EXPECT_EQ(Do(self(), name_, Call::PUBLISH).version, 3u);
  EXPECT_EQ(Do(peer(), name_, Call::READ).version, 3u);
}

TEST_P(NamedRegionTest, WhoWaitsIsWoken) {
  ASSERT_THAT(Create(self(), name_), IsOk());
  ASSERT_THAT(Open(peer(), name_), IsOk());
  std::future<Result> newer = BeginToWait(peer(), 0);
  ASSERT_THAT(PublishFilled(self(), name_, 1, kPage), IsOk());
  const Result read = newer.get();
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read.version, 1u);
}

TEST_P(NamedRegionTest, WhoWaitsForOneThatIsDestroyedIsTold) {
  ASSERT_THAT(Create(self(), name_), IsOk());
  ASSERT_THAT(Open(peer(), name_), IsOk());
  ASSERT_THAT(PublishFilled(peer(), name_, 1, kPage), IsOk());
  std::future<Result> newer = BeginToWait(peer(), 1);
  ASSERT_THAT(Do(self(), name_, Call::DESTROY), IsOk());
  EXPECT_THAT(newer.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(Do(self(), name_, Call::PUBLISH), HasCode(StatusCode::kUnavailable));
  EXPECT_EQ(Do(peer(), name_, Call::READ).version, 1u) << "the last one stays";
  EXPECT_EQ(Get(peer(), name_, kPage).bytes, Filled(1, kPage)) << "and its memory";
  EXPECT_THAT(Do(self(), name_, Call::DESTROY), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(Open(self(), name_), HasCode(StatusCode::kNotFound));
  // Another of its name is none of its business.
  ASSERT_THAT(Create(self(), name_), IsOk());
  EXPECT_THAT(Do(self(), name_, Call::READ), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(WaitNewer(peer(), name_, 1), HasCode(StatusCode::kUnavailable));
}

TEST_P(NamedRegionTest, ItStaysUntilItIsDestroyedUnlessItIsTransient) {
  ASSERT_THAT(Create(peer(), name_), IsOk());
  ASSERT_THAT(Put(peer(), name_, "stays"), IsOk());
  Call transient = Of(Call::CREATE, name_ + "t");
  transient.set_size(kPage);
  transient.set_transient(true);
  ASSERT_THAT(peer().CallRegion(transient), IsOk());
  ASSERT_THAT(Open(self(), name_ + "t"), IsOk());
  peer().End();
  ASSERT_THAT(Open(self(), name_), IsOk());
  EXPECT_EQ(Get(self(), name_, 5).bytes, "stays");
  ASSERT_THAT(Open(self(), name_ + "t"), IsOk()) << "one has it open";
  ASSERT_THAT(Do(self(), name_ + "t", Call::CLOSE), IsOk());
  EXPECT_TRUE(Eventually([&] {
    const Result found = Open(self(), name_ + "t");
    if (found.status.ok()) Do(self(), name_ + "t", Call::CLOSE);
    return found.status.code() == StatusCode::kNotFound;
  }));
}

TEST_P(NamedRegionTest, WhatDoesNotFitIsRefused) {
  ASSERT_THAT(Create(self(), name_, 2 * kPage), IsOk());
  EXPECT_THAT(Create(peer(), name_, kPage), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Create(peer(), name_, kPage + 1), IsOk()) << "the same in pages";
  Call exclusive = Of(Call::CREATE, name_);
  exclusive.set_size(2 * kPage);
  exclusive.set_exclusive(true);
  EXPECT_THAT(peer().CallRegion(exclusive), HasCode(StatusCode::kAlreadyExists));
  EXPECT_THAT(Create(self(), name_ + "0", 0), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(Create(self(), "1" + name_), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(Create(self(), name_ + "L", size_t{1} << 50),
              HasCode(StatusCode::kResourceExhausted));
  EXPECT_THAT(Open(peer(), name_ + "@alpha"), IsOk()) << "the same in full";
  ASSERT_THAT(Create(self(), name_ + "B", SharedRegion::kLargestVersioned + 1), IsOk());
  EXPECT_THAT(Do(self(), name_ + "B", Call::PUBLISH), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(Do(self(), name_ + "B", Call::DESTROY), IsOk());
  EXPECT_THAT(Create(self(), name_ + "E", SharedRegion::kLargestVersioned), IsOk());
  EXPECT_EQ(Do(self(), name_ + "E", Call::PUBLISH).version, 1u);
  EXPECT_THAT(Do(self(), name_ + "E", Call::DESTROY), IsOk());
}

TEST_P(NamedRegionTest, AValueHasOneWriterAtATime) {
  ASSERT_THAT(Do(self(), name_, Call::CREATE_VALUE), IsOk());
  EXPECT_THAT(Do(peer(), name_, Call::CREATE_VALUE), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_VALUE), IsOk());
  EXPECT_THAT(Do(peer(), name_, Call::READ_VALUE), HasCode(StatusCode::kNotFound));
  for (uint64_t number = 1; number <= 50; ++number) {
    ASSERT_THAT(PublishValue(self(), name_, number), IsOk());
    const Result read = Do(peer(), name_, Call::READ_VALUE);
    EXPECT_EQ(read.version, number);
    EXPECT_EQ(read.size, number);
    EXPECT_TRUE(read.intact);
  }
  EXPECT_THAT(PublishValue(peer(), name_, 1), HasCode(StatusCode::kPermissionDenied));
  // The next goes on where that one was.
  ASSERT_THAT(Do(self(), name_, Call::CLOSE_VALUE), IsOk());
  std::future<Result> newer = BeginToWait(peer(), 50, Call::WAIT_NEWER_VALUE);
  ASSERT_TRUE(Eventually([&] { return Do(self(), name_, Call::CREATE_VALUE).status.ok(); }));
  ASSERT_THAT(PublishValue(self(), name_, 51), IsOk());
  EXPECT_EQ(newer.get().version, 51u);
}

TEST_P(NamedRegionTest, WhenTheWriterOfAValueDiesAnotherGoesOn) {
  ASSERT_THAT(Do(peer(), name_, Call::CREATE_VALUE), IsOk());
  ASSERT_THAT(PublishValue(peer(), name_, 1), IsOk());
  ASSERT_THAT(Do(self(), name_, Call::OPEN_VALUE), IsOk());
  peer().End();
  EXPECT_EQ(Do(self(), name_, Call::READ_VALUE).version, 1u);
  EXPECT_TRUE(Eventually([&] { return Do(self(), name_, Call::CREATE_VALUE).status.ok(); }));
  ASSERT_THAT(PublishValue(self(), name_, 2), IsOk());
  EXPECT_EQ(Do(self(), name_, Call::READ_VALUE).version, 2u);
}

TEST_P(NamedRegionTest, AValueIsOfOneSizeAndSchema) {
  Call create = Of(Call::CREATE_VALUE, name_);
  create.set_schema(7);
  ASSERT_THAT(self().CallRegion(create), IsOk());
  EXPECT_THAT(Do(peer(), name_, Call::OPEN_VALUE), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(SharedValue<uint64_t>::Open(self().process(), name_, 7),
              HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Open(peer(), name_), HasCode(StatusCode::kNotFound)) << "a region it is not";
  ASSERT_THAT(Do(peer(), name_, Call::DESTROY_VALUE), IsOk());
  EXPECT_THAT(PublishValue(self(), name_, 1), HasCode(StatusCode::kUnavailable));
}

// The agent is killed between, again and again.
class RegionsAfterARestartTest : public OwnClusterTest, public RegionCalls {
 protected:
  void Restart() {
    const pid_t proper = cluster().Proper("alpha");
    cluster().KillProper("alpha");
    ASSERT_TRUE(Eventually([&] { return cluster().Proper("alpha") != proper; }));
  }
};

INSTANTIATE_TEST_SUITE_P(, RegionsAfterARestartTest, testing::Values(Transport::kTwoProcesses),
                         TransportName);

TEST_P(RegionsAfterARestartTest, EverythingIsAsItWas) {
  const std::string name = "things";
  std::unique_ptr<Party> peer = NewPeer();
  ASSERT_THAT(Create(self(), name), IsOk());
  ASSERT_THAT(Do(*peer, name, Call::CREATE_VALUE), IsOk());
  ASSERT_THAT(PublishFilled(self(), name, 1, kPage), IsOk());
  for (uint64_t round = 1; round <= 3; ++round) {
    Restart();
    ASSERT_THAT(Open(*peer, name), IsOk());
    EXPECT_EQ(Get(*peer, name, kPage).bytes, Filled(round, kPage));
    EXPECT_EQ(PublishFilled(*peer, name, round + 1, kPage).version, round + 1);
    EXPECT_EQ(Do(self(), name, Call::READ).version, round + 1);
    EXPECT_THAT(Do(self(), name, Call::CREATE_VALUE), HasCode(StatusCode::kFailedPrecondition))
        << "the writer is who it was";
    EXPECT_THAT(PublishValue(*peer, name, round), IsOk());
  }
  EndWithoutAgent(peer.get());
  Result next;
  EXPECT_TRUE(Eventually([&] {
    next = Do(self(), name, Call::CREATE_VALUE);
    return next.status.ok();
  })) << next.status;
  EXPECT_EQ(Do(self(), name, Call::READ_VALUE).version, 3u);
  EXPECT_THAT(PublishValue(self(), name, 4), IsOk());
}

TEST_P(RegionsAfterARestartTest, WritersThatAreKilledWhilePublishingLeaveWholeVersions) {
  const std::string name = "killed";
  constexpr size_t kBytes = 64 * kPage;
  ASSERT_THAT(Create(self(), name, kBytes), IsOk());
  uint64_t last = 0;
  for (int kill = 0; kill < 8; ++kill) {
    std::unique_ptr<Party> writer = NewPeer();
    ASSERT_THAT(Open(*writer, name), IsOk());
    std::thread publishes([&writer, &name, next = last + 1]() mutable {
      while (PublishFilled(*writer, name, next, kBytes).status.ok()) ++next;
    });
    // Until it has got somewhere, for some versions.
    for (uint64_t seen = last; seen < last + 3 + static_cast<uint64_t>(kill);) {
      const Result read = WaitNewer(self(), name, seen);
      ASSERT_THAT(read, IsOk());
      ASSERT_EQ(read.bytes, Filled(read.version, kBytes));
      seen = read.version;
    }
    if (kill % 4 == 3) Restart();
    writer->End();
    publishes.join();
    const Result read = Do(self(), name, Call::READ);
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read.bytes, Filled(read.version, kBytes));
    EXPECT_GT(read.version, last);
    last = read.version;
  }
}

}  // namespace
}  // namespace mailrail
