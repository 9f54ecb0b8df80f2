// Bad input: each is a clear error with the right code, and nothing comes of it.
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using BadInputTest = ConformanceTest;
using BadMessageTest = ChannelTest;

MAILRAIL_OVER_TRANSPORTS(BadInputTest);
MAILRAIL_OVER_CHANNELS(BadMessageTest);

constexpr auto kInvalidArgument = absl::StatusCode::kInvalidArgument;

// Every error says what was wrong.
template <typename Result>
void ExpectError(const Result& result, absl::StatusCode code, const std::string& what) {
  EXPECT_THAT(result, HasCode(code)) << what;
  EXPECT_FALSE(StatusOf(result).message().empty()) << what;
}

TEST_P(BadMessageTest, APriorityOutOfRangeIsRefused) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (const int priority : {-1, kPriorityCount, kPriorityCount + 1, 255, 256, -256,
                             std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
    for (const party::Way way : {party::SEND, party::BATCH, party::CLAIM}) {
      ExpectError(peer().Send(channel.sender, {{.priority = priority}}, Patience(), {.way = way}),
                  kInvalidArgument, absl::StrCat("priority ", priority));
    }
  }
  ASSERT_THAT(peer().Send(channel.sender, {{.priority = kMaxPriority}}), IsOk());
  ExpectDelivered(self().Receive(channel.receiver, 1).messages, {{.priority = kMaxPriority}});
}

TEST_P(BadMessageTest, AMessageThatIsTooLargeIsRefused) {
  constexpr size_t kLarge = std::numeric_limits<size_t>::max();
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Sender& sender = self().sender(channel.sender);
  for (const size_t bytes : {sender.max_message_bytes() + 1, size_t{1} << 32, kLarge / 2, kLarge}) {
    ExpectError(sender.Claim(bytes, {}, Patience()), kInvalidArgument, absl::StrCat(bytes));
  }
  ASSERT_THAT(self().Send(channel.sender, {{.number = 1}}), IsOk());
  ExpectDelivered(peer().Receive(channel.receiver, 1).messages, Numbered(1));
}

TEST_P(BadMessageTest, ABatchWithABadMessageIsRefusedAsAWhole) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  const std::string large(self().sender(channel.sender).max_message_bytes() + 1, 'x');
  ExpectError(self().sender(channel.sender).SendBatch({"a", large, "b"}, {}, Patience()),
              kInvalidArgument, "a batch");
  ASSERT_THAT(self().Send(channel.sender, {{.number = 1}}), IsOk());
  ExpectDelivered(peer().Receive(channel.receiver, 1).messages, Numbered(1));
}

TEST_P(BadInputTest, AnEmptyBatchSendsNothing) {
  ASSERT_OK_AND_ASSIGN(handle, self().Connect(peer().id()));
  const absl::StatusOr<size_t> sent = self().sender(handle).SendBatch({}, {}, Patience());
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(*sent, 0u);
}

TEST_P(BadInputTest, MalformedNamesAreRefused) {
  const std::string bad[] = {"",
                             "@",
                             "@alpha",
                             "a b",
                             "a/b",
                             "a\n",
                             "a@",
                             "a@b@c",
                             "a@-",
                             "-a",
                             ".a",
                             "12a",
                             "a,b",
                             "a\xc3\xa4",
                             std::string("a\0b", 3),
                             std::string(64, 'a'),
                             std::string(5000, 'a'),
                             std::string(100000, 'a'),
                             "4711.",
                             ".3",
                             "4711.3.2",
                             "4711.x@alpha",
                             "-4711",
                             "99999999999999999999"};
  for (const std::string& name : bad) {
    ExpectError(self().RegisterName(name), kInvalidArgument, name);
    ExpectError(self().Resolve(name), kInvalidArgument, name);
    ExpectError(self().Connect(name), kInvalidArgument, name);
    ExpectError(self().ConnectMailbox(name), kInvalidArgument, name);
    ExpectError(self().OpenMailbox(name), kInvalidArgument, name);
    ExpectError(self().CreateMailbox(name), kInvalidArgument, name);
    ExpectError(self().DestroyMailbox(name), kInvalidArgument, name);
  }
  // A pid is no name, and a name that is registered or created has no node: it is this one.
  for (const std::string name : {"4711", "4711.3", "4711@alpha", "a@beta"}) {
    ExpectError(self().RegisterName(name), kInvalidArgument, name);
    ExpectError(self().CreateMailbox(name), kInvalidArgument, name);
  }
  ExpectError(self().RegisterName("_a"), kInvalidArgument, "_a");
}

TEST_P(BadInputTest, TheLongestNamesAreTaken) {
  std::string name = NewName() + ".A-Z_09";
  name.resize(kMaxNameLength, 'z');
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  EXPECT_THAT(self().Resolve(name), IsOk());
  name[0] = '_';
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  EXPECT_THAT(self().OpenMailbox(absl::StrCat(name, "@", peer_node())), IsOk());
  EXPECT_THAT(self().DestroyMailbox(name), IsOk());
}

TEST_P(BadInputTest, MailboxOptionsOutOfRangeAreRefused) {
  const std::string name = NewName();
  ExpectError(peer().CreateMailbox(name, {.max_message_bytes = kLargestMaxMessageBytes + 1}),
              kInvalidArgument, "too large");
  ExpectError(peer().CreateMailbox(name, {.max_message_bytes = std::numeric_limits<size_t>::max()}),
              kInvalidArgument, "too large");
  ExpectError(peer().CreateMailbox(name, {.capacity_messages = 0}), kInvalidArgument, "none");
  ExpectError(peer().CreateMailbox(name, {.capacity_messages = kLargestCapacityMessages + 1}),
              kInvalidArgument, "too many");
  EXPECT_THAT(self().OpenMailbox(name), HasCode(absl::StatusCode::kNotFound));
  ExpectError(peer().CreateMailbox(name, {.policy = static_cast<ReceivePolicy>(4)}),
              kInvalidArgument, "no policy");
  EXPECT_THAT(peer().CreateMailbox(name, {.capacity_messages = kLargestCapacityMessages}), IsOk());
  EXPECT_THAT(peer().CreateMailbox(NewName(), {.capacity_messages = 1}), IsOk());
}

TEST_P(BadInputTest, ReceiveFromIsForInboxes) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ExpectError(self().receiver(receiver).ReceiveFrom(peer().id(), Patience()),
              absl::StatusCode::kFailedPrecondition, "a mailbox");
}

TEST_P(BadInputTest, ReceiveFromAStrangerIsUnavailable) {
  for (const ProcessId& stranger :
       {ProcessId("alpha", 2147483647, 9), ProcessId("nowhere", 1, 1), ProcessId()}) {
    ExpectError(self().process().inbox().ReceiveFrom(stranger, Patience()),
                absl::StatusCode::kUnavailable, stranger.ToString());
  }
}

TEST_P(BadInputTest, WithoutAnAgentAttachSaysSo) {
  for (const std::string socket :
       {"/tmp/mailrail-no-such-folder/agent.sock", "/dev/null", "/tmp"}) {
    ExpectError(LocalParty::Attach(socket, nullptr), absl::StatusCode::kUnavailable, socket);
  }
  const std::string endless(500, 'x');
  EXPECT_FALSE(LocalParty::Attach("/tmp/" + endless, nullptr).ok());
}

}  // namespace
}  // namespace mailrail
