#include "node/cli/rows.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/cli/progress.h"
#include "node/cli/table.h"

namespace mailrail::cli {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;

control::Listing TwoMailboxes() {
  control::Listing listing;
  control::MailboxRow* row = listing.add_mailboxes();
  row->set_name("orders");
  row->mutable_spec()->set_max_message_bytes(64 << 20);
  row->mutable_spec()->set_capacity_messages(16384);
  row->set_waiting(1234567);
  row = listing.add_mailboxes();
  row->set_name("q");
  row->mutable_spec()->set_max_message_bytes(100);
  row->mutable_spec()->set_fixed_size(true);
  row->mutable_spec()->set_when_full(proto::REJECT);
  row->set_sent(7);
  row->set_dropped(2);
  row->mutable_spec()->set_receive_policy(proto::EXCLUSIVE);
  row->mutable_spec()->set_order(proto::PER_SENDER);
  row->mutable_owner()->set_node("alpha");
  row->mutable_owner()->set_pid(4711);
  row->mutable_owner()->set_incarnation(3);
  return listing;
}

TEST(TableTest, ColumnsAreAligned) {
  Table table({{"NAME"}, {"COUNT", Table::Align::kRight}, {"NOTE"}});
  table.AddRow({"a", "1", ""});
  table.AddRow({"longer", "1000", "h\xc3\xb6"});
  EXPECT_EQ(table.ToString(),
            "NAME    COUNT  NOTE\n"
            "a           1  -\n"
            "longer   1000  h\xc3\xb6\n");
}

TEST(TableTest, ControlCharactersDoNotReachTheTerminal) {
  Table table({{"NAME"}});
  table.AddRow({"\033[31mred\n"});
  EXPECT_EQ(table.ToString(), "NAME\n\\x1b[31mred\\n\n");
}

TEST(RowsTest, AQueueIsALineForEachPropertyOrAnObjectOnOneLine) {
  const QueueRow row = {"/jobs", 10, 8192, 3};
  EXPECT_EQ(FormatQueue(row, OutputFormat::kText),
            "queue:             /jobs\n"
            "max_messages:      10\n"
            "max_message_bytes: 8192\n"
            "current_messages:  3\n");
  EXPECT_EQ(FormatQueue(row, OutputFormat::kJson),
            "{\"queue\":\"/jobs\",\"max_messages\":10,\"max_message_bytes\":8192,"
            "\"current_messages\":3}\n");
}

TEST(RowsTest, ABroadcastMailboxIsShownWithItsReceivers) {
  control::MailboxRow row;
  row.set_name("news");
  row.mutable_spec()->set_receive_policy(proto::BROADCAST);
  control::SubscriptionRow* const subscription = row.add_subscriptions();
  subscription->set_name("_news.12");
  subscription->mutable_receiver()->set_node("alpha");
  subscription->mutable_receiver()->set_pid(4711);
  subscription->mutable_receiver()->set_incarnation(3);
  subscription->set_waiting(5);
  subscription->set_dropped(2);
  const std::string text = FormatMailbox(row, OutputFormat::kText);
  EXPECT_NE(text.find("policy:            broadcast\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nRECEIVER      WAITING  LEASED  DROPPED  ITS MAILBOX\n"
                      "4711.3@alpha        5       0        2  _news.12\n"),
            std::string::npos)
      << text;
  const json parsed = json::parse(FormatMailbox(row, OutputFormat::kJson));
  EXPECT_EQ(parsed["subscriptions"][0]["receiver"], "4711.3@alpha");
  EXPECT_EQ(parsed["subscriptions"][0]["waiting"], 5);
}

TEST(RowsTest, MailboxesAreATableOrAnArray) {
  EXPECT_EQ(FormatMailboxes(TwoMailboxes(), OutputFormat::kText),
            "MAILBOX  WAITING  LEASED  SENT  DROPPED  SENDERS  RECEIVERS  MAX BYTES  WHEN FULL  "
            "POLICY     OWNER\n"
            "orders   1234567       0     0        0        0          0        64M  block      "
            "competing  -\n"
            "q              0       0     7        2        0          0        100  reject     "
            "exclusive  4711.3@alpha\n");
  const json rows = json::parse(FormatMailboxes(TwoMailboxes(), OutputFormat::kJson));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["mailbox"], "orders");
  EXPECT_EQ(rows[0]["waiting"], 1234567);
  EXPECT_EQ(rows[0]["max_message_bytes"], 64 << 20);
  EXPECT_EQ(rows[1]["fixed_size"], true);
  EXPECT_EQ(rows[1]["when_full"], "reject");
  EXPECT_EQ(rows[0]["policy"], "competing");
  EXPECT_EQ(rows[0]["owner"], "");
  EXPECT_EQ(rows[1]["policy"], "exclusive");
  EXPECT_EQ(rows[0]["order"], "queue");
  EXPECT_EQ(rows[1]["order"], "per-sender");
  EXPECT_EQ(rows[1]["owner"], "4711.3@alpha");
}

TEST(RowsTest, OneMailboxIsLinesOrAnObject) {
  const control::MailboxRow row = TwoMailboxes().mailboxes(1);
  const std::string text = FormatMailbox(row, OutputFormat::kText);
  EXPECT_THAT(text, HasSubstr("mailbox:           q\n"));
  EXPECT_THAT(text, HasSubstr("capacity_messages: 0\n"));
  EXPECT_EQ(json::parse(FormatMailbox(row, OutputFormat::kJson))["sent"], 7);
}

TEST(RowsTest, EmptyListsAreAHeaderOrAnEmptyArray) {
  const control::Listing none;
  EXPECT_EQ(FormatProcesses(none, OutputFormat::kText),
            "PROCESS  NAMES  UID  LINKS  DROPPED  EXPIRED  PROGRAM\n");
  EXPECT_EQ(FormatProcesses(none, OutputFormat::kJson), "[]\n");
  EXPECT_EQ(FormatNodes(none, OutputFormat::kJson), "[]\n");
}

TEST(RowsTest, ProcessesCarryTheirIdWholeAndInParts) {
  control::Listing listing;
  control::ProcessRow* row = listing.add_processes();
  row->mutable_process()->set_node("alpha");
  row->mutable_process()->set_pid(4711);
  row->mutable_process()->set_incarnation(3);
  row->set_program("/bin/\xff");
  row->add_names("billing");
  row->set_dropped(11);
  row->set_expired(12);
  const json rows = json::parse(FormatProcesses(listing, OutputFormat::kJson));
  EXPECT_EQ(rows[0]["process"], "4711.3@alpha");
  EXPECT_EQ(rows[0]["pid"], 4711);
  EXPECT_EQ(rows[0]["names"], json::array({"billing"}));
  EXPECT_EQ(rows[0]["program"], "/bin/\xef\xbf\xbd");
  EXPECT_EQ(rows[0]["dropped"], 11);
  EXPECT_EQ(rows[0]["expired"], 12);
  EXPECT_THAT(FormatProcesses(listing, OutputFormat::kText),
              HasSubstr("LINKS  DROPPED  EXPIRED  PROGRAM\n4711.3@alpha  billing    0      0       "
                        "11       12  /bin/"));
}

TEST(RowsTest, IncarnationsOfNodesAreTextBecauseTheyAreTooLongForNumbers) {
  control::Listing listing;
  control::NodeRow* row = listing.add_nodes();
  row->set_node("alpha");
  row->set_incarnation(0xfedcba9876543210u);
  row->set_self(true);
  EXPECT_EQ(json::parse(FormatNodes(listing, OutputFormat::kJson))[0]["incarnation"],
            "fedcba9876543210");
  EXPECT_THAT(FormatNodes(listing, OutputFormat::kText), HasSubstr("this node"));
}

TEST(RowsTest, LinksNameTheirPeerOrTheirMailbox) {
  control::Listing listing;
  listing.add_links()->set_mailbox("orders@beta");
  control::LinkRow* row = listing.add_links();
  row->mutable_b()->set_node("beta");
  row->mutable_b()->set_pid(1);
  row->mutable_b()->set_incarnation(2);
  row->set_direction(control::INWARD);
  const json rows = json::parse(FormatLinks(listing, OutputFormat::kJson));
  EXPECT_EQ(rows[0]["peer"], "orders@beta");
  EXPECT_EQ(rows[0]["peer_is_mailbox"], true);
  EXPECT_EQ(rows[0]["direction"], "both");
  EXPECT_EQ(rows[1]["peer"], "1.2@beta");
  EXPECT_EQ(rows[1]["direction"], "from-peer");
  EXPECT_THAT(FormatLinks(listing, OutputFormat::kText), HasSubstr("from-peer"));
}

TEST(RowsTest, MessagesAreLinesOrObjectsOnOneLine) {
  ReceivedMessage message;
  message.body = "h\xc3\xb6 \"x\"\n";
  message.sender = "4711.3@alpha";
  message.priority = 31;
  message.sequence = 9;
  message.mailbox = "orders";
  EXPECT_EQ(FormatMessage(message, OutputFormat::kText), "h\xc3\xb6 \"x\"\n\n");
  const std::string line = FormatMessage(message, OutputFormat::kJson);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const json object = json::parse(line);
  EXPECT_EQ(object["body"], std::string(message.body));
  EXPECT_EQ(object["sender"], "4711.3@alpha");
  EXPECT_EQ(object["priority"], 31);
  EXPECT_EQ(object["sequence"], 9);
  EXPECT_EQ(object["redelivered"], false);
  EXPECT_EQ(object["mailbox"], "orders");
  EXPECT_FALSE(object.contains("encoding"));
}

TEST(RowsTest, BodiesThatAreNotUtf8AreBase64) {
  ReceivedMessage message;
  message.body = absl::string_view("\xff\x00\x01", 3);
  const json object = json::parse(FormatMessage(message, OutputFormat::kJson));
  EXPECT_EQ(object["body"], "/wAB");
  EXPECT_EQ(object["encoding"], "base64");
}

TEST(RowsTest, Utf8IsToldFromWhatIsNot) {
  for (const char* text :
       {"", "plain", "\xc3\xb6", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf8", "\xff", "\xe2\x82", "a\xc3("}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(RowsTest, PingsAreALineEachAndASummary) {
  const PingAnswer fast{"node beta", 400000, 200000};
  const PingAnswer slow{"node beta", 2000000, 1000000};
  EXPECT_THAT(FormatPing(fast, OutputFormat::kText), HasSubstr("node beta: 0.400 ms"));
  EXPECT_EQ(json::parse(FormatPing(fast, OutputFormat::kJson))["round_trip_ns"], 400000);
  EXPECT_EQ(FormatPingSummary({slow, fast, fast}, OutputFormat::kText),
            "3 answers: least 0.400 ms, median 0.400 ms, most 2.000 ms\n");
  EXPECT_EQ(FormatPingSummary({slow}, OutputFormat::kJson), "");
}

TEST(RowsTest, VersionSaysWhetherAnAgentAnswers) {
  EXPECT_EQ(FormatVersion("1.0", "", "/a", OutputFormat::kText),
            "mailrail 1.0\nno agent answers at /a\n");
  EXPECT_EQ(FormatVersion("1.0", "2.0", "/a", OutputFormat::kText),
            "mailrail 1.0\nagent 2.0 at /a\n");
  EXPECT_EQ(json::parse(FormatVersion("1.0", "", "/a", OutputFormat::kJson))["agent"], nullptr);
  EXPECT_EQ(json::parse(FormatVersion("1.0", "2.0", "/a", OutputFormat::kJson))["agent"], "2.0");
}

TEST(RowsTest, CountsReadWell) {
  EXPECT_EQ(FormatPurged("q", 1, OutputFormat::kText), "purged 1 message from q\n");
  EXPECT_EQ(json::parse(FormatPurged("q", 5, OutputFormat::kJson))["purged"], 5);
  EXPECT_EQ(FormatRate(1000, 2000000, absl::Seconds(2)),
            "1000 messages, 2000000 bytes in 2.0 s: 500 messages/s, 1.00 MB/s");
}

TEST(RowsTest, AnEndSaysUnderWhichNameItWasWatchedAndWhatItIs) {
  const EndedRow ended = {"billing", {Ended::Kind::kProcess, "4711.3@alpha"}, EndReason::kKilled};
  EXPECT_EQ(FormatEnded(ended, OutputFormat::kText), "billing: process 4711.3@alpha killed\n");
  EXPECT_EQ(json::parse(FormatEnded(ended, OutputFormat::kJson)), json({{"name", "billing"},
                                                                        {"kind", "process"},
                                                                        {"ended", "4711.3@alpha"},
                                                                        {"reason", "killed"}}));
  EXPECT_EQ(FormatEnded({"q", {Ended::Kind::kMailbox, "q@beta"}, EndReason::kDestroyed},
                        OutputFormat::kText),
            "q: mailbox q@beta destroyed\n");
  EXPECT_EQ(FormatEnded({"beta", {Ended::Kind::kNode, "beta"}, EndReason::kUnreachable},
                        OutputFormat::kText),
            "beta: node beta unreachable\n");
}

}  // namespace
}  // namespace mailrail::cli
