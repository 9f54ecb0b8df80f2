#include "core/process/object_table.h"

#include <gtest/gtest.h>

#include <memory>

namespace mailrail::internal {
namespace {

constexpr uint64_t kId = 7;

class ObjectTableTest : public ::testing::Test {
 protected:
  // As granted by the agent, as the `open_id`th open.
  std::shared_ptr<OpenedObject> Add(uint64_t open_id) {
    control::ObjectGrant grant;
    grant.set_object_id(kId);
    grant.set_open_id(open_id);
    return table_.Add(grant, [] { return std::make_shared<OpenedObject>(); }).value();
  }
  // The open_id that is told; 0: nothing is.
  static uint64_t Told(const ObjectTable::Closed& closed) {
    if (closed.empty()) return 0;
    EXPECT_EQ(closed.size(), 1u);
    EXPECT_EQ(closed[0].object_id(), kId);
    return closed[0].open_id();
  }

  ObjectTable table_;
};

TEST_F(ObjectTableTest, AllHandlesShareOneUntilTheLastGoes) {
  table_.BeginOpening();
  const std::shared_ptr<OpenedObject> first = Add(1);
  EXPECT_EQ(Told(table_.EndOpening()), 0u);
  table_.BeginOpening();
  EXPECT_EQ(Add(2), first);
  EXPECT_EQ(Told(table_.EndOpening()), 0u);
  EXPECT_EQ(Told(table_.Remove(kId, *first)), 2u) << "the last open";
  EXPECT_EQ(Told(table_.Remove(kId, *first)), 0u) << "once";
}

// Two threads open it; the one that was answered later is through, and lets go of it, before the
// other has its answer.
TEST_F(ObjectTableTest, WhatIsBeingOpenedIsNotClosed) {
  table_.BeginOpening();
  table_.BeginOpening();
  std::shared_ptr<OpenedObject> later = Add(6);
  EXPECT_EQ(Told(table_.EndOpening()), 0u);
  EXPECT_EQ(Told(table_.Remove(kId, *later)), 0u) << "somebody opens something";
  later.reset();
  const std::shared_ptr<OpenedObject> earlier = Add(5);
  EXPECT_EQ(Told(table_.EndOpening()), 0u) << "it is open again";
  EXPECT_EQ(Told(table_.Remove(kId, *earlier)), 6u) << "what the agent knows as the last open";
}

TEST_F(ObjectTableTest, WhatWentWhileAnotherWasOpenedIsClosedAfterIt) {
  table_.BeginOpening();
  const std::shared_ptr<OpenedObject> object = Add(1);
  EXPECT_EQ(Told(table_.EndOpening()), 0u);
  table_.BeginOpening();
  EXPECT_EQ(Told(table_.Remove(kId, *object)), 0u);
  EXPECT_EQ(Told(table_.EndOpening()), 1u);
}

TEST_F(ObjectTableTest, WhatWasGrantedAndCannotBeMadeIsClosed) {
  table_.BeginOpening();
  control::ObjectGrant grant;
  grant.set_object_id(kId);
  grant.set_open_id(3);
  EXPECT_FALSE(table_
                   .Add(grant,
                        []() -> absl::StatusOr<std::shared_ptr<OpenedObject>> {
                          return absl::ResourceExhaustedError("no mappings");
                        })
                   .ok());
  EXPECT_EQ(Told(table_.EndOpening()), 3u);
}

}  // namespace
}  // namespace mailrail::internal
