// Headers, and where answers are to go, come as they were sent, with bodies of each size, by each
// call and each way.
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using HeadersTest = ChannelTest;
using LargeHeadersTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(HeadersTest);
MAILRAIL_OVER_TRANSPORTS(LargeHeadersTest);

const std::vector<Header> kHeaders = {{"trace", "4711"}, {"kind", "order"}, {"trace", ""}};

TEST_P(HeadersTest, TheyComeAsTheyWereSentWithBodiesOfEachSize) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (const auto way : {party::SEND, party::BATCH, party::CLAIM, party::TRUNCATE}) {
    std::vector<Outgoing> messages;
    for (const size_t bytes : {8u, 40u, 64u, 90u, 96u, 500u, 4000u, 4080u, 5000u, 300000u}) {
      // Each priority has its own batch.
      messages.push_back({.number = messages.size() + 1,
                          .bytes = bytes,
                          .priority = static_cast<int>(messages.size()),
                          .headers = kHeaders,
                          .reply_to = "billing@beta"});
    }
    ASSERT_THAT(peer().Send(channel.sender, messages, Patience(), {.way = way}), IsOk());
    const ReceiveResult result = self().Receive(channel.receiver, messages.size());
    ASSERT_THAT(result, IsOk());
    for (const Received& message : result.messages) {
      EXPECT_TRUE(message.intact);
      EXPECT_EQ(message.bytes, messages[message.number - 1].bytes);
      EXPECT_EQ(message.sender, peer().id());
      EXPECT_EQ(message.headers, kHeaders);
      EXPECT_EQ(message.reply_to, "billing@beta");
    }
  }
}

TEST_P(HeadersTest, AMessageWithoutThemHasNone) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, Numbered(1)), IsOk());
  const ReceiveResult result = self().Receive(channel.receiver, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result.messages[0].headers, IsEmpty());
  EXPECT_THAT(result.messages[0].reply_to, IsEmpty());
}

TEST_P(LargeHeadersTest, AsManyAsThereMayBeAreSentAndMoreAreRefused) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = 10}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  // They are no part of what a mailbox limits.
  const Header largest = {"n", std::string(kMaxHeaderBytes - 1, 'x')};
  ASSERT_THAT(peer().Send(sender, {{.number = 1, .headers = {largest}}}), IsOk());
  const ReceiveResult result = self().Receive(receiver, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result.messages[0].headers, ElementsAre(largest));
  const Header larger = {"n", std::string(kMaxHeaderBytes, 'x')};
  EXPECT_THAT(peer().Send(sender, {{.number = 2, .headers = {larger}}}),
              HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(peer().Send(sender, {{.number = 3, .bytes = 11, .headers = {{"a", "b"}}}}),
              HasCode(StatusCode::kInvalidArgument));
}

TEST_P(LargeHeadersTest, TheFirstOfANameIsFound) {
  ASSERT_OK_AND_ASSIGN(sender, peer().Connect(self().id()));
  ASSERT_THAT(peer().Send(sender, {{.number = 1, .headers = kHeaders}}), IsOk());
  absl::StatusOr<Message> message = self().process().inbox().Receive(Patience());
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->header("trace"), "4711");
  EXPECT_EQ(message->header("nothing"), absl::nullopt);
}

}  // namespace
}  // namespace mailrail
