// What other nodes ask of this one's regions, and what they say of their own.
#include "node/agent/regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/region/snapshot_writer.h"
#include "node/agent/agent_testing.h"
#include "node/directory/embedded_directory.h"

namespace mailrail {
namespace {

using absl::StatusCode;

constexpr size_t kBlock = RegionFeeds::kBlock;
constexpr size_t kBytes = 100 * kBlock;

// Remembers what is asked, and answers what the test says.
class TestPeers : public PeerCaller {
 public:
  struct Asked {
    proto::Request request;
    Callback done;
  };
  void Call(const std::string&, proto::Request request, absl::Time, Callback done) override {
    asked.push_back({std::move(request), std::move(done)});
  }
  std::vector<std::string> Peers() const override { return {"beta"}; }
  std::vector<std::string> ConnectedPeers() const override { return {"beta"}; }

  // The last that was asked, which is not there any more.
  Asked Take() {
    Asked last = std::move(asked.back());
    asked.pop_back();
    return last;
  }
  std::vector<Asked> asked;
};

class RegionsTest : public ::testing::Test {
 protected:
  RegionsTest()
      : process_(AddTestProcess(&registry_)),
        regions_(Options(), &loop_, &registry_, &directory_, &peers_) {}

  Regions::Options Options() {
    Regions::Options options;
    options.max_bytes = 8 << 20;
    options.answer = [this](const std::string&, uint64_t id, const proto::Reply& reply) {
      answers_.emplace_back(id, reply);
    };
    options.log = [this](absl::string_view) { ++logged_; };
    return options;
  }

  absl::Status Open(const std::string& name, uint64_t bytes, bool writes = true) {
    control::OpenRegion open;
    open.set_name(name);
    open.mutable_spec()->set_bytes(bytes);
    open.set_writes(writes);
    open.set_create(writes);
    last_ = absl::UnknownError("not yet");
    regions_.Open(process_->number, ++last_request_, open, absl::Now() + absl::Minutes(1),
                  [this](absl::StatusOr<Regions::Opened> opened) { last_ = opened.status(); });
    return last_;
  }
  NamedRegion* Find(const std::string& name, const std::string& home = "") {
    return registry_.FindRegion(proto::RegionSpec::REGION, home, name);
  }
  void Publish(const std::string& name, const std::string& value) {
    NamedRegion* const region = Find(name);
    const Mapping data =
        Mapping::Map(region->versions, region->geometry().data_bytes(), Access::kReadWrite).value();
    const Mapping bell =
        Mapping::Map(region->bell, sizeof(SnapshotBell), Access::kReadWrite).value();
    SnapshotWriter writer(region->geometry(), data.data(),
                          reinterpret_cast<SnapshotBell*>(bell.data()));
    writer.Publish(value.data());
    regions_.Published(region->id);
  }
  proto::NextRegion Next(const std::string& name) {
    proto::NextRegion next;
    next.set_name(name);
    next.set_stamp(Find(name)->stamp);
    return next;
  }

  // Begins a replica of "far" of beta, whose questions are in peers_.
  void BeginReplica() {
    EXPECT_EQ(Open("far@beta", 0, /*writes=*/false).code(), StatusCode::kUnknown);
    TestPeers::Asked find = peers_.Take();
    ASSERT_TRUE(find.request.has_find_region());
    proto::Reply found;
    found.mutable_region()->set_stamp(77);
    found.mutable_region()->mutable_spec()->set_bytes(kBytes);
    find.done(found);
  }
  // Answers the last question.
  void Say(const proto::RegionChange& change) {
    proto::Reply reply;
    *reply.mutable_region_change() = change;
    peers_.Take().done(reply);
  }
  static proto::RegionChange Change(uint64_t version) {
    proto::RegionChange change;
    change.set_lineage(5);
    change.set_version(version);
    change.set_anew(true);
    change.add_blocks(3);
    change.set_bytes(std::string(kBlock, 'x'));
    return change;
  }
  uint64_t VersionHere() { return regions_.Describe(*Find("far", "beta")).version(); }

  Vault vault_{nullptr};
  Loop loop_;
  Registry registry_{"alpha", 1, &vault_, [](absl::string_view) {}};
  TestPeers peers_;
  EmbeddedDirectory directory_{&peers_};
  std::vector<std::pair<uint64_t, proto::Reply>> answers_;
  int logged_ = 0;
  uint64_t last_request_ = 0;
  absl::Status last_ = absl::UnknownError("not yet");
  LocalProcess* const process_;
  Regions regions_;
};

TEST_F(RegionsTest, AllTogetherKeepToTheLimit) {
  EXPECT_EQ(Open("much", 9 << 20).code(), StatusCode::kResourceExhausted);
  // Each takes five times its bytes, and a little.
  EXPECT_TRUE(Open("one", 1 << 20).ok());
  EXPECT_EQ(Open("two", 1 << 20).code(), StatusCode::kResourceExhausted);
  control::DestroyRegion destroy;
  destroy.set_name("one");
  EXPECT_TRUE(regions_.Destroy(destroy).ok());
  EXPECT_TRUE(Open("two", 1 << 20).ok());
}

TEST_F(RegionsTest, ARequestThatIsRepeatedOpensNothingMore) {
  ASSERT_TRUE(Open("r", kBytes).ok());
  --last_request_;
  ASSERT_TRUE(Open("r", kBytes).ok());
  EXPECT_EQ(Find("r")->opens.size(), 1u);
  ASSERT_TRUE(Open("r", kBytes).ok());
  EXPECT_EQ(Find("r")->opens.size(), 2u);
  regions_.OnProcessGone(process_->number);
  EXPECT_TRUE(Find("r")->opens.empty());
}

TEST_F(RegionsTest, AnotherNodeIsToldWhatHasChangedInParts) {
  ASSERT_TRUE(Open("r", kBytes).ok());
  proto::NextRegion next = Next("r");
  regions_.feeds().Next("beta", 1, next);
  ASSERT_EQ(answers_.size(), 1u) << "that there is none yet";
  EXPECT_EQ(answers_[0].second.region_change().version(), 0u);
  next.set_lineage(answers_[0].second.region_change().lineage());
  regions_.feeds().Next("beta", 2, next);
  EXPECT_EQ(answers_.size(), 1u);
  EXPECT_NE(Find("r")->words().tell.load(), 0u);
  std::string value(kBytes, 'a');
  Publish("r", value);
  size_t bytes = 0;
  // A newer one does not come between the parts.
  for (uint64_t id = 3; answers_.back().second.region_change().version() != 2; ++id) {
    const proto::RegionChange& part = answers_.back().second.region_change();
    ASSERT_EQ(part.version(), 1u);
    EXPECT_LE(part.bytes().size(), RegionFeeds::kPartBytes);
    bytes += part.bytes().size();
    next.set_target(part.version());
    next.set_next_block(part.next_block());
    if (part.next_block() == 0) next.set_version(1);
    value[50 * kBlock] = 'b';
    if (id == 3) Publish("r", value);
    regions_.feeds().Next("beta", id, next);
  }
  EXPECT_EQ(bytes, kBytes);
  const proto::RegionChange& newer = answers_.back().second.region_change();
  ASSERT_EQ(newer.blocks_size(), 1) << "the block that has changed";
  EXPECT_EQ(newer.blocks(0), 50u);
  EXPECT_EQ(newer.bytes(), value.substr(50 * kBlock, kBlock));
  next.set_stamp(next.stamp() + 1);
  regions_.feeds().Next("beta", 100, next);
  EXPECT_EQ(answers_.back().second.status().code(), static_cast<int>(StatusCode::kNotFound));
}

TEST_F(RegionsTest, AReplicaPublishesWhatIsWhole) {
  BeginReplica();
  proto::RegionChange part = Change(9);
  part.set_next_block(4);
  Say(part);
  EXPECT_EQ(last_.code(), StatusCode::kUnknown) << "the open waits";
  EXPECT_EQ(VersionHere(), 0u);
  EXPECT_EQ(peers_.asked.back().request.next_region().next_block(), 4u);
  part = Change(9);
  part.set_anew(false);
  part.set_blocks(0, 99);
  Say(part);
  EXPECT_TRUE(last_.ok()) << last_;
  EXPECT_EQ(VersionHere(), 9u);
  // An older one is none, though home says so.
  Say(Change(8));
  EXPECT_EQ(VersionHere(), 9u);
  EXPECT_EQ(logged_, 0);
  // Its end.
  peers_.Take().done(absl::NotFoundError("gone"));
  EXPECT_EQ(Find("far", "beta"), nullptr);
}

TEST_F(RegionsTest, AReplicaDoesNotBelieveWhatCannotBe) {
  BeginReplica();
  std::vector<proto::RegionChange> wrong(8, Change(1));
  wrong[0].set_version(kSnapshotVersionsEnd);
  wrong[1].set_anew(false);
  wrong[2].set_blocks(0, 100);
  wrong[3].set_bytes(std::string(kBlock - 1, 'x'));
  wrong[4].set_bytes(std::string(kBlock + 1, 'x'));
  wrong[5].add_blocks(3);
  wrong[5].set_bytes(std::string(2 * kBlock, 'x'));
  wrong[6].set_next_block(3);
  wrong[7].set_next_block(100);
  for (size_t i = 0; i < wrong.size(); ++i) {
    Say(wrong[i]);
    EXPECT_EQ(logged_, static_cast<int>(i) + 1);
    EXPECT_EQ(VersionHere(), 0u) << i;
    // It asks once more, later, from the beginning.
    while (peers_.asked.empty()) loop_.RunOnce();
    EXPECT_EQ(peers_.asked.back().request.next_region().lineage(), 0u);
  }
  Say(Change(1));
  EXPECT_EQ(VersionHere(), 1u);
}

TEST_F(RegionsTest, AReplicaGoesWithItsLastReader) {
  BeginReplica();
  Say(Change(1));
  ASSERT_TRUE(last_.ok());
  ASSERT_NE(Find("far", "beta"), nullptr);
  regions_.OnProcessGone(process_->number);
  EXPECT_EQ(Find("far", "beta"), nullptr);
  EXPECT_TRUE(peers_.asked.back().request.has_forget_region());
}

}  // namespace
}  // namespace mailrail
