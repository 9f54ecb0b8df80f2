// What the tests of this folder share. Each shows one thing that the README's table (whose numbers
// the tests name) or a public header promises, from one body over every transport:
//
//   self()   a process on node alpha: this one
//   peer()   the other side: also in this process, in a process beside it, or in one on node beta
#ifndef MAILRAIL_TESTS_CONFORMANCE_CONFORMANCE_H_
#define MAILRAIL_TESTS_CONFORMANCE_CONFORMANCE_H_

#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/ledger.h"
#include "tests/support/local_party.h"
#include "tests/support/party.h"

namespace mailrail {

enum class Transport { kSameProcess, kTwoProcesses, kTwoNodes };

// What a sender's messages go through to a receiver.
enum class Route { kInbox, kMailboxOfReceiver, kMailboxOfSender };

// A sender's handle and a receiver's, for one route; `mailbox` is empty for an inbox.
struct Channel {
  Handle sender = 0;
  Handle receiver = 0;
  std::string mailbox;
};

// The agents, and the parties of one test. Agents go on from test to test, until one fails.
class ConformanceFixture : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  static void TearDownTestSuite();

  virtual Transport transport() const = 0;
  bool across_nodes() const { return transport() == Transport::kTwoNodes; }
  // Whether peer() can be ended while it is in a call.
  bool peer_has_own_process() const { return transport() != Transport::kSameProcess; }

  LocalParty& self() { return *self_; }
  Party& peer() { return *peer_; }

  // More of them.
  std::unique_ptr<LocalParty> NewSelf();
  std::unique_ptr<Party> NewPeer();

  Cluster& cluster() { return *cluster_; }
  // Kills the agent of a node; its keeper starts another.
  void KillAgent(const std::string& node);
  // The node of peer().
  std::string peer_node() const { return across_nodes() ? "beta" : "alpha"; }
  Ledger& ledger() { return ledger_; }

  // A name that nothing in the cluster has.
  std::string NewName();

  // A random number from 0 to `below` - 1; the seed is printed when the test fails.
  size_t Random(size_t below) { return random_() % below; }
  std::mt19937& generator() { return random_; }

  // Runs `round`, which gives what was sent the time `travel` before it looks whether it came, and
  // returns whether one succeeds. On one node what was sent is there: it runs once, without a time.
  // Between nodes it runs with longer and longer times.
  bool OnceArrived(absl::FunctionRef<bool(absl::Duration travel)> round);

 private:
  Cluster* cluster_ = nullptr;
  bool agent_killed_ = false;
  Ledger ledger_;
  std::unique_ptr<LocalParty> self_;
  std::unique_ptr<Party> peer_;
  std::random_device::result_type seed_ = 0;
  std::mt19937 random_;
};

// A test over every transport.
class ConformanceTest : public ConformanceFixture, public testing::WithParamInterface<Transport> {
 protected:
  Transport transport() const override { return GetParam(); }
};

// A test over every transport and, on each, every route.
class ChannelTest : public ConformanceFixture,
                    public testing::WithParamInterface<std::tuple<Transport, Route>> {
 protected:
  Transport transport() const override { return std::get<0>(GetParam()); }
  Route route() const { return std::get<1>(GetParam()); }

  // Makes a way of this route from `sender` to `receiver`. `options` are a mailbox's.
  absl::StatusOr<Channel> Open(Party& sender, Party& receiver, const MailboxOptions& options = {});

  // From peer() to self().
  absl::StatusOr<Channel> Open(const MailboxOptions& options = {}) {
    return Open(peer(), self(), options);
  }
};

std::string TransportName(const testing::TestParamInfo<Transport>& info);
std::string ChannelName(const testing::TestParamInfo<std::tuple<Transport, Route>>& info);

#define MAILRAIL_OVER_TRANSPORTS(Suite)                                                         \
  INSTANTIATE_TEST_SUITE_P(                                                                     \
      , Suite,                                                                                  \
      testing::Values(Transport::kSameProcess, Transport::kTwoProcesses, Transport::kTwoNodes), \
      TransportName)

#define MAILRAIL_OVER_CHANNELS(Suite)                                                          \
  INSTANTIATE_TEST_SUITE_P(                                                                    \
      , Suite,                                                                                 \
      testing::Combine(                                                                        \
          testing::Values(Transport::kSameProcess, Transport::kTwoProcesses,                   \
                          Transport::kTwoNodes),                                               \
          testing::Values(Route::kInbox, Route::kMailboxOfReceiver, Route::kMailboxOfSender)), \
      ChannelName)

// `count` messages like this one, numbered from `first`.
std::vector<Outgoing> Numbered(size_t count, const Outgoing& like = {}, uint64_t first = 1);

// Expects that `received`, all from one sender, are the messages `sent`, each once and whole, and
// those of equal priority in this order: the first that it sent there.
void ExpectDelivered(const std::vector<Received>& received, const std::vector<Outgoing>& sent);

// The numbers of the messages, in their order.
std::vector<uint64_t> NumbersOf(const std::vector<Received>& received);
std::vector<uint64_t> NumbersOf(const std::vector<Outgoing>& sent);

// Those of one sender.
std::vector<Received> Of(const ProcessId& sender, const std::vector<Received>& received);

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}
inline const absl::Status& StatusOf(const SendResult& result) { return result.status; }
inline const absl::Status& StatusOf(const ReceiveResult& result) { return result.status; }

// Matchers of a Status, or what has one.
MATCHER(IsOk, "") {
  *result_listener << StatusOf(arg);
  return StatusOf(arg).ok();
}
MATCHER_P(HasCode, code, "has code " + absl::StatusCodeToString(code)) {
  *result_listener << StatusOf(arg);
  return StatusOf(arg).code() == code;
}

#define ASSERT_OK_AND_ASSIGN(variable, expression) \
  auto variable##_or = (expression);               \
  ASSERT_THAT(variable##_or, IsOk());              \
  auto& variable = *variable##_or

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_CONFORMANCE_H_
