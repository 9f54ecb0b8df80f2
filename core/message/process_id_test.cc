#include "mailrail/process_id.h"

#include <gtest/gtest.h>

namespace mailrail {
namespace {

TEST(ProcessIdTest, TextFormIsReadBack) {
  const ProcessId id("alpha", 4711, 3);
  EXPECT_EQ(id.ToString(), "4711.3@alpha");
  const absl::StatusOr<ProcessId> parsed = ProcessId::Parse("4711.3@alpha");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, id);
}

TEST(ProcessIdTest, ShortFormsLeaveTheRestOpen) {
  EXPECT_EQ(*ProcessId::Parse("4711"), ProcessId("", 4711, 0));
  EXPECT_EQ(*ProcessId::Parse("4711@beta"), ProcessId("beta", 4711, 0));
  EXPECT_EQ(*ProcessId::Parse("4711.9"), ProcessId("", 4711, 9));
  EXPECT_EQ(ProcessId("", 4711, 9).ToString(), "4711.9");
  EXPECT_EQ(ProcessId().node(), "");
}

TEST(ProcessIdTest, WhatIsNoIdIsRefused) {
  for (const char* text : {"", "@alpha", "x", "-1", "+1", " 1", "0", "1.0", "1.@a", "1@", "1@a@b",
                           "99999999999", "1.-2", "1.2.3"}) {
    EXPECT_EQ(ProcessId::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ProcessIdTest, IncarnationsOfOnePidDiffer) {
  EXPECT_NE(ProcessId("alpha", 4711, 1), ProcessId("alpha", 4711, 2));
  EXPECT_NE(ProcessId("alpha", 4711, 1), ProcessId("beta", 4711, 1));
}

}  // namespace
}  // namespace mailrail
