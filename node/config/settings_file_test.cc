#include "node/config/settings_file.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseSettings(text, "agent.yaml").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << status;
  return std::string(status.message());
}

TEST(SettingsFileTest, TextsAndMapsComeWithTheirLines) {
  const auto settings = ParseSettings(
      "# our node\nnode: alpha\npeers:\n  beta: 10.0.0.2:7400\n  gamma: '10.0.0.3:7400'\n",
      "agent.yaml");
  ASSERT_TRUE(settings.ok()) << settings.status();
  ASSERT_THAT(*settings, SizeIs(2));
  EXPECT_EQ((*settings)[0].key, "node");
  EXPECT_EQ((*settings)[0].text, "alpha");
  EXPECT_EQ((*settings)[0].line, 2);
  EXPECT_FALSE((*settings)[0].is_map);
  EXPECT_TRUE((*settings)[1].is_map);
  ASSERT_THAT((*settings)[1].entries, SizeIs(2));
  EXPECT_EQ((*settings)[1].entries[1].name, "gamma");
  EXPECT_EQ((*settings)[1].entries[1].text, "10.0.0.3:7400");
  EXPECT_EQ((*settings)[1].entries[1].line, 5);
}

TEST(SettingsFileTest, EmptyFileSetsNothing) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n"}) {
    const auto settings = ParseSettings(text, "agent.yaml");
    ASSERT_TRUE(settings.ok()) << settings.status();
    EXPECT_THAT(*settings, IsEmpty());
  }
}

TEST(SettingsFileTest, WrongShapesAreNamedWithTheirLine) {
  EXPECT_EQ(ErrorOf("node: a\nlisten: [1, 2]\n"),
            "agent.yaml:2: 'listen' must be one value, not a list");
  EXPECT_EQ(ErrorOf("node:\n"), "agent.yaml:1: 'node' has no value");
  EXPECT_EQ(ErrorOf("node: a\nnode: b\n"), "agent.yaml:2: key 'node' comes twice");
  EXPECT_EQ(ErrorOf("peers:\n  beta:\n    port: 1\n"),
            "agent.yaml:3: 'peers.beta' must be one value, not a map");
  EXPECT_THAT(ErrorOf("- node\n"), StartsWith("agent.yaml:1: "));
  EXPECT_THAT(ErrorOf("just words\n"), StartsWith("agent.yaml:1: "));
  EXPECT_THAT(ErrorOf("[a, b]: c\n"), StartsWith("agent.yaml:1: "));
  EXPECT_THAT(ErrorOf("node: a\n---\nnode: b\n"), HasSubstr("second document"));
}

TEST(SettingsFileTest, BrokenYamlIsAnErrorWithALine) {
  EXPECT_THAT(ErrorOf("node: alpha\n  listen: x\n"), StartsWith("agent.yaml:2: "));
  EXPECT_THAT(ErrorOf("node: [open\n"), StartsWith("agent.yaml:"));
  EXPECT_THAT(ErrorOf("node: *nowhere\n"), StartsWith("agent.yaml:1: "));
  EXPECT_THAT(ErrorOf("\tnode: a\n"), StartsWith("agent.yaml:1: "));
}

TEST(SettingsFileTest, FileThatCannotBeReadIsNamed) {
  for (const char* path : {"/nowhere/agent.yaml", "/"}) {
    const absl::Status status = ReadSettingsFile(path).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

}  // namespace
}  // namespace mailrail
