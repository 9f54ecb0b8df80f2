// What region.h and shared_value.h promise of regions and values that are read on another node.
#include <signal.h>

#include <thread>

#include "tests/conformance/own_cluster.h"
#include "tests/conformance/region_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

constexpr size_t kRegion = 1 << 20;

class RegionReplicaTest : public RegionTest {
 protected:
  // As the other node calls it.
  std::string far() const { return name_ + "@alpha"; }
};

INSTANTIATE_TEST_SUITE_P(, RegionReplicaTest, testing::Values(Transport::kTwoNodes), TransportName);

TEST_P(RegionReplicaTest, ItHasTheLastVersionAndThenEachNewerOne) {
  ASSERT_THAT(Create(self(), name_, kRegion), IsOk());
  ASSERT_THAT(PublishFilled(self(), name_, 1, kRegion), IsOk());
  ASSERT_THAT(Put(self(), name_, "not published"), IsOk());
  const Result opened = Open(peer(), far(), /*read_only=*/true);
  ASSERT_THAT(opened, IsOk());
  EXPECT_TRUE(opened.replica);
  EXPECT_EQ(opened.size, kRegion);
  Result read = Do(peer(), far(), Call::READ);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read.version, 1u);
  EXPECT_TRUE(read.bytes == Filled(1, kRegion));
  std::string expected = Filled(1, kRegion);
  for (uint64_t version = 2; version < 30; ++version) {
    // A part of it, anywhere.
    const std::string part = Filled(version, 8 * (1 + Random(2000)));
    const size_t at = Random(kRegion - part.size());
    expected.replace(at, part.size(), part);
    if (version == 2) {
      ASSERT_THAT(Put(self(), name_, expected.substr(0, 13)), IsOk());
    }
    ASSERT_THAT(Put(self(), name_, part, at), IsOk());
    ASSERT_EQ(Do(self(), name_, Call::PUBLISH).version, version);
    read = WaitNewer(peer(), far(), version - 1);
    ASSERT_THAT(read, IsOk());
    ASSERT_EQ(read.version, version);
    ASSERT_TRUE(read.bytes == expected) << "version " << version;
  }
}

TEST_P(RegionReplicaTest, VersionsAreWholeAndInOrderWhateverIsPassedOver) {
  ASSERT_THAT(Create(self(), name_, kRegion), IsOk());
  ASSERT_THAT(Open(peer(), far(), /*read_only=*/true), IsOk());
  EXPECT_THAT(Do(peer(), far(), Call::READ), HasCode(StatusCode::kNotFound));
  constexpr uint64_t kVersions = 300;
  std::thread writer([&] {
    for (uint64_t version = 1; version <= kVersions; ++version) {
      ASSERT_THAT(PublishFilled(self(), name_, version, kRegion), IsOk());
    }
  });
  for (uint64_t seen = 0; seen < kVersions;) {
    const Result read = WaitNewer(peer(), far(), seen);
    ASSERT_THAT(read, IsOk());
    ASSERT_GT(read.version, seen);
    ASSERT_TRUE(read.bytes == Filled(read.version, kRegion)) << "version " << read.version;
    seen = read.version;
  }
  writer.join();
}

TEST_P(RegionReplicaTest, AnOpenFindsItWithoutItsNode) {
  ASSERT_THAT(Create(self(), name_, kRegion), IsOk());
  ASSERT_THAT(PublishFilled(self(), name_, 1, kRegion), IsOk());
  const Result opened = Open(peer(), name_, /*read_only=*/true);
  ASSERT_THAT(opened, IsOk());
  EXPECT_TRUE(opened.replica);
  EXPECT_EQ(Do(peer(), name_, Call::READ).version, 1u);
  // One that is of that node goes before.
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  ASSERT_THAT(Create(peer(), name_, kPage), IsOk());
  EXPECT_FALSE(Open(peer(), name_, /*read_only=*/true).replica);
  EXPECT_TRUE(Open(peer(), far(), /*read_only=*/true).replica);
}

TEST_P(RegionReplicaTest, ItCannotBeWritten) {
  ASSERT_THAT(Create(self(), name_, kPage), IsOk());
  for (const std::string& name : {name_, far()}) {
    const Result opened = Open(peer(), name);
    EXPECT_THAT(opened, HasCode(StatusCode::kPermissionDenied));
    EXPECT_THAT(std::string(opened.status.message()), testing::HasSubstr("alpha"));
  }
  EXPECT_THAT(Create(peer(), far(), kPage), HasCode(StatusCode::kPermissionDenied));
  EXPECT_THAT(Do(peer(), far(), Call::DESTROY), HasCode(StatusCode::kPermissionDenied));
  ASSERT_THAT(Open(peer(), far(), /*read_only=*/true), IsOk());
  EXPECT_THAT(Do(peer(), far(), Call::PUBLISH), HasCode(StatusCode::kPermissionDenied));
  EXPECT_THAT(Open(peer(), name_ + "x", /*read_only=*/true), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(Open(peer(), name_ + "x@alpha", /*read_only=*/true), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(Open(peer(), name_ + "@nowhere", /*read_only=*/true), HasCode(StatusCode::kNotFound));
  ASSERT_THAT(Create(self(), name_ + "B", SharedRegion::kLargestVersioned + 1), IsOk());
  EXPECT_THAT(Open(peer(), name_ + "B", /*read_only=*/true),
              HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(Do(self(), name_ + "B", Call::DESTROY), IsOk());
}

TEST_P(RegionReplicaTest, ReadersAreToldOfItsEndAfterTheLastVersion) {
  ASSERT_THAT(Create(self(), name_, kRegion), IsOk());
  ASSERT_THAT(Open(peer(), far(), /*read_only=*/true), IsOk());
  std::future<Result> newer =
      std::async(std::launch::async, [this] { return WaitNewer(peer(), far(), 0); });
  ASSERT_TRUE(Eventually([&] { return peer().Asleep() > 0; }));
  ASSERT_THAT(PublishFilled(self(), name_, 1, kRegion), IsOk());
  ASSERT_THAT(Do(self(), name_, Call::DESTROY), IsOk());
  const Result last = newer.get();
  ASSERT_THAT(last, IsOk());
  EXPECT_TRUE(last.bytes == Filled(1, kRegion));
  EXPECT_THAT(WaitNewer(peer(), far(), 1), HasCode(StatusCode::kUnavailable));
  EXPECT_EQ(Do(peer(), far(), Call::READ).version, 1u) << "the last one stays";
  // Another of its name is to be opened anew.
  ASSERT_THAT(Create(self(), name_, kPage), IsOk());
  ASSERT_THAT(PublishFilled(self(), name_, 1, kPage), IsOk());
  EXPECT_THAT(WaitNewer(peer(), far(), 1), HasCode(StatusCode::kUnavailable));
  ASSERT_EQ(Open(peer(), far(), /*read_only=*/true).size, kPage);
  EXPECT_EQ(Do(peer(), far(), Call::READ).bytes, Filled(1, kPage));
}

TEST_P(RegionReplicaTest, AValueIsReadFarAwayToo) {
  ASSERT_THAT(Do(self(), name_, Call::CREATE_VALUE), IsOk());
  ASSERT_THAT(PublishValue(self(), name_, 1), IsOk());
  ASSERT_THAT(Do(peer(), far(), Call::OPEN_VALUE), IsOk());
  EXPECT_THAT(Do(peer(), far(), Call::CREATE_VALUE), HasCode(StatusCode::kPermissionDenied));
  constexpr uint64_t kVersions = 2000;
  std::thread writer([&] {
    for (uint64_t number = 2; number <= kVersions; ++number) {
      ASSERT_THAT(PublishValue(self(), name_, number), IsOk());
    }
  });
  for (uint64_t seen = 0; seen < kVersions;) {
    const Result read = WaitNewer(peer(), far(), seen, Patience(), Call::WAIT_NEWER_VALUE);
    ASSERT_THAT(read, IsOk());
    ASSERT_GT(read.version, seen);
    ASSERT_TRUE(read.intact);
    ASSERT_EQ(read.size, read.version);
    seen = read.version;
  }
  writer.join();
}

TEST_P(RegionReplicaTest, AllReadersOfANodeShareOne) {
  ASSERT_THAT(Create(self(), name_, kRegion), IsOk());
  std::unique_ptr<Party> another = NewPeer();
  ASSERT_THAT(Open(peer(), far(), /*read_only=*/true), IsOk());
  ASSERT_THAT(Open(*another, far(), /*read_only=*/true), IsOk());
  ASSERT_THAT(PublishFilled(self(), name_, 1, kRegion), IsOk());
  EXPECT_EQ(WaitNewer(peer(), far(), 0).version, 1u);
  EXPECT_EQ(WaitNewer(*another, far(), 0).version, 1u);
  // It goes with the last of them, whose end may be its death.
  ASSERT_THAT(Do(peer(), far(), Call::CLOSE), IsOk());
  ASSERT_THAT(PublishFilled(self(), name_, 2, kRegion), IsOk());
  EXPECT_EQ(WaitNewer(*another, far(), 1).version, 2u);
  another->End();
  ASSERT_THAT(PublishFilled(self(), name_, 3, kRegion), IsOk());
  ASSERT_THAT(Open(peer(), far(), /*read_only=*/true), IsOk());
  EXPECT_EQ(WaitNewer(peer(), far(), 2).version, 3u);
}

// Agents are killed, and one is away for a while.
class ReplicasAfterARestartTest : public OwnClusterTest, public RegionCalls {
 protected:
  void Restart(const std::string& node) {
    const pid_t proper = cluster().Proper(node);
    cluster().KillProper(node);
    ASSERT_TRUE(Eventually([&] { return cluster().Proper(node) != proper; }));
  }
};

INSTANTIATE_TEST_SUITE_P(, ReplicasAfterARestartTest, testing::Values(Transport::kTwoNodes),
                         TransportName);

TEST_P(ReplicasAfterARestartTest, TheyGoOnWhicheverAgentIsKilled) {
  const std::string name = "kept", far = "kept@alpha";
  std::unique_ptr<Party> peer = NewPeer();
  ASSERT_THAT(Create(self(), name, kRegion), IsOk());
  ASSERT_THAT(Open(*peer, far, /*read_only=*/true), IsOk());
  uint64_t version = 0;
  for (const std::string node : {"alpha", "beta", "alpha", "beta"}) {
    ++version;
    ASSERT_EQ(PublishFilled(self(), name, version, kRegion).version, version);
    ASSERT_EQ(WaitNewer(*peer, far, version - 1).version, version);
    Restart(node);
    EXPECT_TRUE(Do(*peer, far, Call::READ).bytes == Filled(version, kRegion));
  }
  // In the midst of versions, too.
  std::thread writer([&] {
    for (uint64_t next = version + 1; next <= 400; ++next) {
      ASSERT_THAT(PublishFilled(self(), name, next, kRegion), IsOk());
    }
  });
  uint64_t seen = version;
  for (int round = 0; seen < 400; ++round) {
    const Result read = WaitNewer(*peer, far, seen);
    ASSERT_THAT(read, IsOk());
    ASSERT_TRUE(read.bytes == Filled(read.version, kRegion)) << "version " << read.version;
    ASSERT_GT(read.version, seen);
    seen = read.version;
    if (round == 3) Restart("alpha");
    if (round == 6) Restart("beta");
  }
  writer.join();
}

TEST_P(ReplicasAfterARestartTest, WhileHomeIsAwayTheLastVersionStays) {
  const std::string name = "away", far = "away@alpha";
  std::unique_ptr<Party> peer = NewPeer();
  ASSERT_THAT(Create(self(), name, kRegion), IsOk());
  ASSERT_THAT(PublishFilled(self(), name, 1, kRegion), IsOk());
  ASSERT_THAT(Open(*peer, far, /*read_only=*/true), IsOk());
  kill(cluster().Proper("alpha"), SIGSTOP);
  ASSERT_THAT(PublishFilled(self(), name, 2, kRegion), IsOk());
  EXPECT_THAT(WaitNewer(*peer, far, 1, absl::Now() + absl::Milliseconds(100)),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_EQ(Do(*peer, far, Call::READ).version, 1u);
  std::unique_ptr<Party> another = NewPeer();
  EXPECT_THAT(Open(*another, far, /*read_only=*/true), IsOk()) << "it is there";
  kill(cluster().Proper("alpha"), SIGCONT);
  EXPECT_EQ(WaitNewer(*peer, far, 1).version, 2u);
}

}  // namespace
}  // namespace mailrail
