#include "tests/conformance/conformance.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/worker_party.h"

namespace mailrail {
namespace {

// By whether it has one node or two. They are started when they are first asked for.
std::map<bool, std::unique_ptr<Cluster>>& Clusters() {
  static auto* const clusters = new std::map<bool, std::unique_ptr<Cluster>>;
  return *clusters;
}

absl::StatusOr<Cluster*> ClusterOf(bool two_nodes) {
  std::unique_ptr<Cluster>& cluster = Clusters()[two_nodes];
  if (cluster == nullptr) {
    std::vector<std::string> nodes = {"alpha"};
    if (two_nodes) nodes.push_back("beta");
    absl::StatusOr<std::unique_ptr<Cluster>> started = Cluster::Start(nodes);
    if (!started.ok()) return started.status();
    cluster = *std::move(started);
  }
  return cluster.get();
}

std::string NameOf(Transport transport) {
  switch (transport) {
    case Transport::kSameProcess:
      return "SameProcess";
    case Transport::kTwoProcesses:
      return "TwoProcesses";
    case Transport::kTwoNodes:
      return "TwoNodes";
  }
  return "";
}

std::string NameOf(Route route) {
  switch (route) {
    case Route::kInbox:
      return "Inbox";
    case Route::kMailboxOfReceiver:
      return "MailboxOfReceiver";
    case Route::kMailboxOfSender:
      return "MailboxOfSender";
  }
  return "";
}

}  // namespace

void ConformanceFixture::SetUp() {
  const std::random_device::result_type seed = std::random_device()();
  RecordProperty("seed", absl::StrCat(seed));
  random_.seed(seed);
  seed_ = seed;
  const absl::StatusOr<Cluster*> cluster = ClusterOf(across_nodes());
  ASSERT_THAT(cluster, IsOk());
  cluster_ = *cluster;
  self_ = NewSelf();
  peer_ = NewPeer();
  ASSERT_TRUE(self_ != nullptr && peer_ != nullptr);
}

void ConformanceFixture::TearDown() {
  peer_.reset();
  self_.reset();
  if (cluster_ != nullptr && !agent_killed_) {
    EXPECT_TRUE(cluster_->FirstAgentRuns("alpha")) << "the agent has died";
    EXPECT_TRUE(cluster_->FirstAgentRuns(peer_node())) << "the agent has died";
  }
  // The tests after this one are to see when an agent dies.
  if (agent_killed_) Clusters().clear();
  if (!HasFailure()) return;
  ADD_FAILURE() << "the seed was " << seed_;
  Clusters().clear();
}

void ConformanceFixture::KillAgent(const std::string& node) {
  agent_killed_ = true;
  cluster_->KillProper(node);
}

void ConformanceFixture::TearDownTestSuite() { Clusters().clear(); }

std::unique_ptr<LocalParty> ConformanceFixture::NewSelf() {
  absl::StatusOr<std::unique_ptr<LocalParty>> party =
      LocalParty::Attach(cluster_->Socket("alpha"), &ledger_);
  EXPECT_THAT(party, IsOk());
  return party.ok() ? *std::move(party) : nullptr;
}

std::unique_ptr<Party> ConformanceFixture::NewPeer() {
  if (!peer_has_own_process()) return NewSelf();
  absl::StatusOr<std::unique_ptr<WorkerParty>> party =
      WorkerParty::Start(cluster_->Socket(peer_node()), &ledger_);
  EXPECT_THAT(party, IsOk());
  return party.ok() ? *std::move(party) : nullptr;
}

std::string ConformanceFixture::NewName() {
  static int last = 0;
  return absl::StrCat("name", ++last);
}

bool ConformanceFixture::OnceArrived(absl::FunctionRef<bool(absl::Duration travel)> round) {
  if (!across_nodes()) return round(absl::ZeroDuration());
  for (absl::Duration travel = absl::Milliseconds(10); travel < absl::Seconds(20); travel *= 2) {
    if (round(travel)) return true;
    if (HasFatalFailure()) return false;
  }
  return false;
}

absl::StatusOr<Channel> ChannelTest::Open(Party& sender, Party& receiver,
                                          const MailboxOptions& options) {
  Channel channel;
  absl::StatusOr<Handle> to;
  if (route() == Route::kInbox) {
    channel.receiver = Party::kInbox;
    to = sender.Connect(receiver.id());
  } else {
    channel.mailbox = NewName();
    Party& owner = route() == Route::kMailboxOfReceiver ? receiver : sender;
    const absl::Status created = owner.CreateMailbox(channel.mailbox, options);
    if (!created.ok()) return created;
    const absl::StatusOr<Handle> from = receiver.OpenMailbox(channel.mailbox);
    if (!from.ok()) return from.status();
    channel.receiver = *from;
    to = sender.ConnectMailbox(channel.mailbox);
  }
  if (!to.ok()) return to.status();
  channel.sender = *to;
  return channel;
}

std::string TransportName(const testing::TestParamInfo<Transport>& info) {
  return NameOf(info.param);
}

std::string ChannelName(const testing::TestParamInfo<std::tuple<Transport, Route>>& info) {
  return NameOf(std::get<0>(info.param)) + NameOf(std::get<1>(info.param));
}

std::vector<Outgoing> Numbered(size_t count, const Outgoing& like, uint64_t first) {
  std::vector<Outgoing> messages(count, like);
  for (Outgoing& message : messages) message.number = first++;
  return messages;
}

void ExpectDelivered(const std::vector<Received>& received, const std::vector<Outgoing>& sent) {
  ASSERT_EQ(received.size(), sent.size());
  std::map<int, std::vector<Outgoing>> sent_at;
  for (const Outgoing& message : sent) sent_at[message.priority].push_back(message);
  std::map<int, size_t> taken;
  for (const Received& message : received) {
    const size_t index = taken[message.priority]++;
    ASSERT_LT(index, sent_at[message.priority].size()) << "too many at this priority";
    const Outgoing& expected = sent_at[message.priority][index];
    ASSERT_EQ(message.bytes, expected.bytes) << "message " << index << " of its priority";
    ASSERT_TRUE(message.intact) << "message " << index << " of its priority";
    // A short body has only a part of its number.
    if (message.bytes >= sizeof(message.number)) {
      ASSERT_EQ(message.number, expected.number);
    }
    ASSERT_EQ(message.sequence, index + 1);
    ASSERT_EQ(message.attempts, 0);
    ASSERT_EQ(message.sender, received.front().sender);
  }
}

std::vector<uint64_t> NumbersOf(const std::vector<Received>& received) {
  std::vector<uint64_t> numbers;
  for (const Received& message : received) numbers.push_back(message.number);
  return numbers;
}

std::vector<uint64_t> NumbersOf(const std::vector<Outgoing>& sent) {
  std::vector<uint64_t> numbers;
  for (const Outgoing& message : sent) numbers.push_back(message.number);
  return numbers;
}

std::vector<Received> Of(const ProcessId& sender, const std::vector<Received>& received) {
  std::vector<Received> messages;
  for (const Received& message : received) {
    if (message.sender == sender) messages.push_back(message);
  }
  return messages;
}

}  // namespace mailrail
