#include "core/base/name.h"

#include <gtest/gtest.h>

#include <string>

#include "mailrail/limits.h"

namespace mailrail {
namespace {

TEST(NameTest, TakesLettersDigitsAndPunctuationAfterALetter) {
  for (const char* name : {"orders", "a", "_dead", "A-1.b_c"}) {
    EXPECT_TRUE(CheckName("mailbox", name).ok()) << name;
  }
  EXPECT_TRUE(CheckName("mailbox", std::string(kMaxNameLength, 'x')).ok());
}

TEST(NameTest, RefusesWhatCouldBeAPidAPathOrATerminalTrick) {
  for (const char* name : {"", "4711", "-x", "a b", "a/b", "a\n", "\x1b[2J", "caf\xc3\xa9"}) {
    EXPECT_EQ(CheckName("mailbox", name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_FALSE(CheckName("mailbox", std::string(kMaxNameLength + 1, 'x')).ok());
}

TEST(NameTest, SplitsTheNodeOff) {
  const auto plain = ParseQualifiedName("mailbox", "orders");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->node, "");
  const auto qualified = ParseQualifiedName("mailbox", "orders@alpha");
  ASSERT_TRUE(qualified.ok());
  EXPECT_EQ(qualified->name, "orders");
  EXPECT_EQ(qualified->node, "alpha");
  EXPECT_EQ(qualified->ToString(), "orders@alpha");
}

TEST(NameTest, RefusesAnEmptyNodeOrASecondAt) {
  EXPECT_FALSE(ParseQualifiedName("mailbox", "orders@").ok());
  EXPECT_FALSE(ParseQualifiedName("mailbox", "@alpha").ok());
  EXPECT_FALSE(ParseQualifiedName("mailbox", "a@b@c").ok());
}

}  // namespace
}  // namespace mailrail
