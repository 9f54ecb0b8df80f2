#include "node/cli/browsed_rows.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail::cli {
namespace {

using nlohmann::json;
using State = BrowsedMessage::State;

const ProcessId kSender("alpha", 4711, 3);
const absl::Time kTime = absl::FromUnixMillis(1700000000123);

TEST(BrowsedRowsTest, MessagesAreATableOrAnArray) {
  const std::vector<BrowsedMessage> messages = {
      {.body = "short\n",
       .body_bytes = 6,
       .sender = kSender,
       .priority = 9,
       .sequence = 12,
       .attempts = 2,
       .state = State::kLeased,
       .leased_by = ProcessId("beta", 12, 1),
       .until = kTime},
      {.body = std::string(50, 'x'), .body_bytes = 70, .sender = kSender, .sequence = 1},
      {.sender = kSender, .sequence = 2, .state = State::kDelayed, .until = kTime}};
  EXPECT_EQ(FormatBrowsed("orders", messages, OutputFormat::kText),
            "PRIORITY  SEQUENCE  SENDER        ATTEMPTS  BYTES  "
            "STATE                                               BODY\n"
            "       9        12  4711.3@alpha         2      6  "
            "leased by 12.1@beta until 2023-11-14T22:13:20.123Z  short\\n\n"
            "       0         1  4711.3@alpha         0     70  "
            "waiting                                             "
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\n"
            "       0         2  4711.3@alpha         0      0  "
            "delayed until 2023-11-14T22:13:20.123Z              -\n");
  const json rows = json::parse(FormatBrowsed("orders", messages, OutputFormat::kJson));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["body"], "short\n");
  EXPECT_EQ(rows[0]["state"], "leased");
  EXPECT_EQ(rows[0]["leased_by"], "12.1@beta");
  EXPECT_EQ(rows[0]["until"], "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(rows[0]["mailbox"], "orders");
  EXPECT_EQ(rows[1]["body_bytes"], 70);
  EXPECT_FALSE(rows[1].contains("until"));
  EXPECT_EQ(json::parse(FormatBrowsed("orders", {}, OutputFormat::kJson)), json::array());
}

TEST(BrowsedRowsTest, APeekedMessageTellsAllOnOneLine) {
  const BrowsedMessage message = {.body = "body",
                                  .body_bytes = 4,
                                  .sender = kSender,
                                  .headers = {{"kind", "test"}},
                                  .reply_to = "answers",
                                  .dead_letter_reason = DeadLetterReason::kExpired,
                                  .dead_letter_mailbox = "jobs",
                                  .expires = kTime};
  EXPECT_EQ(FormatPeeked("dead", message, OutputFormat::kText), "body\n");
  EXPECT_EQ(FormatPeeked("dead", message, OutputFormat::kJson),
            "{\"body\":\"body\",\"body_bytes\":4,\"sender\":\"4711.3@alpha\",\"priority\":0,"
            "\"sequence\":0,\"attempts\":0,\"mailbox\":\"dead\",\"state\":\"waiting\","
            "\"expires\":\"2023-11-14T22:13:20.123Z\","
            "\"headers\":[{\"name\":\"kind\",\"value\":\"test\"}],\"reply_to\":\"answers\","
            "\"dead_letter\":{\"reason\":\"expired\",\"mailbox\":\"jobs\"}}\n");
}

TEST(BrowsedRowsTest, ABodyThatIsCutWithinACharacterIsTextAndBytesAreBase64) {
  BrowsedMessage message = {.body = "h\xc3", .body_bytes = 3};
  json row = json::parse(FormatPeeked("q", message, OutputFormat::kJson));
  EXPECT_EQ(row["body"], "h");
  EXPECT_FALSE(row.contains("encoding"));
  message.body_bytes = 2;
  row = json::parse(FormatPeeked("q", message, OutputFormat::kJson));
  EXPECT_EQ(row["body"], "aMM=");
  EXPECT_EQ(row["encoding"], "base64");
}

TEST(BrowsedRowsTest, WhatWasNotMovedIsTold) {
  EXPECT_EQ(FormatRedriven("dead", {.moved = 1}, OutputFormat::kText),
            "moved 1 message from dead\n");
  const Redriven left = {.moved = 2, .left = 3, .why = absl::NotFoundError("no mailbox")};
  EXPECT_EQ(FormatRedriven("dead", left, OutputFormat::kText),
            "moved 2 messages from dead; 3 left there: no mailbox\n");
  EXPECT_EQ(FormatRedriven("dead", left, OutputFormat::kJson),
            "{\"mailbox\":\"dead\",\"moved\":2,\"left\":3,\"why\":\"no mailbox\"}\n");
}

}  // namespace
}  // namespace mailrail::cli
