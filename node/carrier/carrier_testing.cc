#include "node/carrier/carrier_testing.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace mailrail {

uint64_t TestSeed() {
  const char* const given = std::getenv("MAILRAIL_TEST_SEED");
  uint64_t seed = 0;
  if (given == nullptr || !absl::SimpleAtoi(given, &seed)) seed = std::random_device{}();
  std::cerr << "seed " << seed << std::endl;
  return seed;
}

std::string Pattern(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  uint64_t word = seed * 0x9e3779b97f4a7c15 + size;
  for (size_t at = 0; at < size; at += 8) {
    word = word * 6364136223846793005 + 1442695040888963407;
    for (size_t i = at; i < size && i < at + 8; ++i) {
      bytes[i] = static_cast<char>(word >> (8 * (i - at)));
    }
  }
  return bytes;
}

TestMemory::TestMemory(size_t bytes) : bytes_(bytes), fd_(CreateMemory("test", bytes).value()) {}

Mapping TestMemory::Map(Access access) const { return Mapping::Map(fd_, bytes_, access).value(); }

TestDestination::TestDestination(size_t control_bytes)
    : control_memory(control_bytes),
      bell_memory(sizeof(BellWords)),
      gate_memory(sizeof(GateWord)),
      control_map(control_memory.Map()),
      bell_map(bell_memory.Map()),
      gate_map(gate_memory.Map()) {
  control()->magic = kControlMagic;
}

DestinationMemory TestDestination::ForSender() const {
  return {control_memory.Map(Access::kReadOnly), bell_memory.Map(Access::kReadOnly),
          gate_memory.Map()};
}

TestRoute::TestRoute(uint64_t id, TestNode* source, TestNode* target, const MailboxOptions& options,
                     bool known)
    : id_(id),
      source_(source),
      target_(target),
      options_(options),
      geometry_(RingGeometry::For(options.max_message_bytes)),
      sender_memory_(geometry_.memory_bytes()),
      source_memory_(geometry_.memory_bytes()),
      target_memory_(geometry_.memory_bytes()),
      receiver_memory_(geometry_.memory_bytes()) {
  auto link = std::make_shared<LinkMemory>(
      LinkMemory{geometry_, sender_memory_.Map(), source_memory_.Map(Access::kReadOnly)});
  sender_ = std::make_unique<OutgoingLane>("target", options, link, source->CarrierBell(outside_));
  receiver_ = std::make_unique<TestReceiver<InboxQueue>>(&inbox_);
  auto back = std::make_shared<LinkMemory>(
      LinkMemory{geometry_, receiver_memory_.Map(), target_memory_.Map(Access::kReadOnly)});
  receiver_->queue().Join(
      std::make_shared<IncomingRing>(id, ProcessId("alpha", 1, 1), true, std::move(back),
                                     /*by_agent=*/true),
      1);
  inbox_.control()->members_version = 1;
  if (known) target->AddTarget(this);
  source->AddSource(this);
}

OutboundLane TestRoute::Outbound(bool recover) const {
  OutboundLane lane;
  lane.id = id_;
  lane.peer_node = target_->name();
  lane.open.set_lane(id_);
  lane.memory = std::make_shared<LinkMemory>(
      LinkMemory{geometry_, source_memory_.Map(), sender_memory_.Map(Access::kReadOnly)});
  lane.recover = recover;
  lane.max_message_bytes = options_.max_message_bytes;
  lane.of_agent = true;
  return lane;
}

InboundLane TestRoute::Inbound(bool recover) const {
  auto link = std::make_shared<LinkMemory>(
      LinkMemory{geometry_, target_memory_.Map(), receiver_memory_.Map(Access::kReadOnly)});
  InboundLane lane;
  lane.peer_node = source_->name();
  lane.id = id_;
  lane.lane = std::make_shared<OutgoingLane>("inbox", options_, link, inbox_.ForSender());
  if (recover) {
    const absl::Status status = lane.lane->Recover();
    EXPECT_TRUE(status.ok()) << status;
  }
  return lane;
}

void TestRoute::AwaitPublished(int priority) {
  const Mapping memory = target_memory_.Map(Access::kReadOnly);
  const auto* const header = reinterpret_cast<const RingHeader*>(memory.data());
  const auto published = [&] { return (header->rings_in_use.load() >> priority & 1) != 0; };
  Parker parker(inbox_.bell(), inbox_.gate());
  while (!published()) {
    const FutexWord word = parker.Park();
    if (!published()) FutexWait(word.word, word.expected, kLookAgain);
    parker.Unpark(/*sole=*/true);
  }
}

TestFlood::TestFlood(TestRoute* route, uint64_t seed, size_t messages, size_t largest)
    : route_(route) {
  constexpr int kPriorities[] = {0, 5, 23, 24, 31};
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < messages; ++i) {
    const uint64_t kind = random() % 1000;
    const size_t limit = kind < 2    ? largest
                         : kind < 20 ? std::min<size_t>(largest, 70'000)
                                     : std::min<size_t>(largest, kind < 100 ? 5000 : 200);
    plan_.push_back({kPriorities[random() % std::size(kPriorities)], random() % (limit + 1)});
  }
  sender_ = std::thread([this] { Send(); });
  receiver_ = std::thread([this] { Receive(); });
}

void TestFlood::Send() {
  for (size_t i = 0; i < plan_.size(); ++i) {
    const std::string body = Pattern(i, plan_[i].size);
    const absl::Status status =
        route_->sender().Send(plan_[i].priority, {{}, body}, absl::InfiniteFuture());
    ASSERT_TRUE(status.ok()) << status;
  }
}

void TestFlood::Receive() {
  size_t next[kPriorityCount] = {};  // the place in the plan from which to look for it
  for (size_t i = 0; i < plan_.size(); ++i) {
    const Message message = route_->receiver().Receive();
    size_t& at = next[message.priority()];
    while (at < plan_.size() && plan_[at].priority != message.priority()) ++at;
    ASSERT_LT(at, plan_.size());
    ASSERT_TRUE(message.body() == Pattern(at, plan_[at].size)) << "message " << at;
    ++at;
    absl::MutexLock lock(&mu_);
    ++received_;
  }
}

void TestFlood::AwaitReceived(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return received_ >= count; };
  mu_.Await(absl::Condition(&enough));
}

void TestFlood::Finish() {
  if (sender_.joinable()) sender_.join();
  if (receiver_.joinable()) receiver_.join();
}

void TestEvents::Add(std::string event) {
  absl::MutexLock lock(&mu_);
  ++events_[std::move(event)];
}

void TestEvents::Await(const std::string& event, int count) {
  absl::MutexLock lock(&mu_);
  const auto told = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return events_[event] >= count; };
  mu_.Await(absl::Condition(&told));
}

int TestEvents::Count(const std::string& event) {
  absl::MutexLock lock(&mu_);
  return events_[event];
}

void TestEvents::OnPeerUp(const std::string& node, uint64_t incarnation, const std::string&) {
  Add(absl::StrCat("up ", node, ".", incarnation));
}
void TestEvents::OnPeerDown(const std::string& node) { Add(absl::StrCat("down ", node)); }
void TestEvents::OnLaneState(uint64_t lane, absl::Status status, const proto::LaneState&) {
  Add(absl::StrCat("state ", lane, " ", absl::StatusCodeToString(status.code())));
}
void TestEvents::OnReceivers(uint64_t lane, uint32_t count) {
  Add(absl::StrCat("receivers ", lane, " ", count));
}
void TestEvents::OnReceipts(const std::string& node, const proto::Receipts& receipts) {
  for (const proto::Receipt& receipt : receipts.receipts()) {
    Add(absl::StrCat("receipt ", node, " ", receipts.lane(), " ", receipt.receipt(), " ",
                     receipt.outcome()));
  }
}
void TestEvents::OnLaneFinished(uint64_t lane) { Add(absl::StrCat("finished ", lane)); }
void TestEvents::OnLaneCorrupt(uint64_t lane) { Add(absl::StrCat("corrupt ", lane)); }
void TestEvents::OnLaneOpen(const std::string& node, uint64_t, const proto::LaneOpen& open) {
  Add(absl::StrCat("open ", node, " ", open.lane()));
  on_lane_open(node, open);
}
void TestEvents::OnLaneEnd(const std::string& node, uint64_t lane, uint32_t /*end_reason*/) {
  Add(absl::StrCat("end ", node, " ", lane));
}
void TestEvents::OnInboundClosed(const std::string& node, uint64_t lane, absl::Status why) {
  Add(absl::StrCat("closed ", node, " ", lane, " ", absl::StatusCodeToString(why.code())));
}
void TestEvents::OnRequest(const std::string& node, uint64_t, const proto::Request& request) {
  Add(absl::StrCat("request ", node, " ", request.id()));
}
void TestEvents::OnReply(const std::string& node, const proto::Reply& reply) {
  Add(absl::StrCat("reply ", node, " ", reply.id()));
}
void TestEvents::OnRequestsLost(const std::string& node) { Add(absl::StrCat("lost ", node)); }
void TestEvents::OnReceiverGone(const std::string& node, uint64_t key) {
  Add(absl::StrCat("gone ", node, " ", key));
}
void TestEvents::OnProxyGone(const std::string& node, uint64_t key) {
  Add(absl::StrCat("destroyed ", node, " ", key));
}
void TestEvents::OnProxyCheck(const std::string& node, uint64_t key) {
  Add(absl::StrCat("check ", node, " ", key));
}
void TestEvents::OnReceiverBehind(const std::string& node, uint64_t key) {
  Add(absl::StrCat("behind ", node, " ", key));
  if (on_receiver_behind) on_receiver_behind(key);
}
void TestEvents::OnReceiverCutOff(const std::string& node, uint64_t key) {
  Add(absl::StrCat("cut off ", node, " ", key));
}
void TestEvents::OnReceiverReached(const std::string& node, uint64_t key) {
  Add(absl::StrCat("reached ", node, " ", key));
  if (on_receiver_reached) on_receiver_reached(key);
}
void TestEvents::OnMessageDropped(uint64_t mailbox) { Add(absl::StrCat("dropped ", mailbox)); }
void TestEvents::OnInboundLook(const std::string& node, uint64_t lane) {
  Add(absl::StrCat("expires ", node, " ", lane));
}
void TestEvents::OnMessageReturned(uint64_t mailbox) { Add(absl::StrCat("returned ", mailbox)); }

class TestNode::Sessions : public SessionHandler {
 public:
  explicit Sessions(SessionHandler* next) : next_(next) {}

  void OnOpen(std::shared_ptr<Session> session) override {
    {
      absl::MutexLock lock(&mu_);
      sessions_[{session->session_class(), session->dialed()}] = session;
    }
    next_->OnOpen(std::move(session));
  }
  bool OnBatch(std::shared_ptr<Session> session, proto::Batch batch) override {
    return next_->OnBatch(std::move(session), std::move(batch));
  }
  void OnClose(std::shared_ptr<Session> session, absl::Status why) override {
    next_->OnClose(std::move(session), std::move(why));
  }
  void OnWritable(std::shared_ptr<Session> session) override {
    next_->OnWritable(std::move(session));
  }
  void OnPeerProblem(absl::string_view node, absl::Status why) override {
    next_->OnPeerProblem(node, std::move(why));
  }

  std::shared_ptr<Session> Find(proto::SessionClass session_class, bool dialed) {
    absl::MutexLock lock(&mu_);
    return sessions_[{session_class, dialed}];
  }

 private:
  SessionHandler* const next_;
  absl::Mutex mu_;
  std::map<std::pair<int, bool>, std::shared_ptr<Session>> sessions_ ABSL_GUARDED_BY(mu_);
};

TestNode::TestNode(std::string name, uint64_t bulk_window_bytes, uint64_t urgent_window_bytes)
    : name_(std::move(name)),
      bulk_window_bytes_(bulk_window_bytes),
      urgent_window_bytes_(urgent_window_bytes) {
  events_.on_lane_open = [this](const std::string& node, const proto::LaneOpen& open) {
    absl::MutexLock lock(&mu_);
    const auto found = targets_.find(open.lane());
    if (found != targets_.end()) {
      carrier_->AddInbound(found->second->Inbound(false));
    } else {
      carrier_->RefuseLane(node, open.lane(), absl::NotFoundError("no such target"),
                           /*for_good=*/false);
    }
  };
}

DestinationMemory TestNode::CarrierBell(const TestDestination& destination) const {
  return {destination.control_memory.Map(Access::kReadOnly),
          bell_.bell_memory.Map(Access::kReadOnly), bell_.gate_memory.Map()};
}

void TestNode::AddSource(TestRoute* route) {
  sources_[route->id()] = route;
  if (carrier_ != nullptr) carrier_->AddOutbound(route->Outbound(false));
}

void TestNode::AddTarget(TestRoute* route) {
  absl::MutexLock lock(&mu_);
  targets_[route->id()] = route;
}

void TestNode::StartCarrier() {
  Carrier::Options options;
  options.node = name_;
  options.bell = bell_.bell_memory.Map();
  options.gate = bell_.gate_memory.Map();
  options.bulk_window_bytes = bulk_window_bytes_;
  options.urgent_window_bytes = urgent_window_bytes_;
  options.log = [this](absl::string_view line) { std::cerr << name_ << ": " << line << std::endl; };
  carrier_ = Carrier::Start(std::move(options), &events_);
  for (const auto& [id, route] : sources_) {
    carrier_->AddOutbound(route->Outbound(started_before_));
  }
  absl::MutexLock lock(&mu_);
  for (const auto& [id, route] : targets_) {
    if (started_before_) carrier_->AddInbound(route->Inbound(true));
  }
  started_before_ = true;
  on_restart();
}

void TestNode::StartTransport() {
  PeerTransportOptions options;
  options.cluster_id = "test";
  options.node = name_;
  options.node_incarnation = incarnation;
  options.listen_address = address_;
  options.dial_back = false;
  options.peers = peers_;
  options.backoff_min = absl::Milliseconds(1);
  options.backoff_max = absl::Milliseconds(20);
  sessions_ = std::make_shared<Sessions>(carrier_.get());
  auto transport = PeerTransport::Start(std::move(options), sessions_.get());
  ASSERT_TRUE(transport.ok()) << transport.status();
  transport_ = *std::move(transport);
  address_ = absl::StrCat("127.0.0.1:", transport_->port());
}

void TestNode::Stop() {
  if (transport_ != nullptr) transport_->Shutdown(absl::InfinitePast());
  transport_.reset();
  if (carrier_ != nullptr) carrier_->Stop();
  carrier_.reset();
}

void TestNode::Dial(const std::string& name, const std::string& address) {
  peers_[name] = address;
  ASSERT_TRUE(transport_->AddPeer(name, address).ok());
}

bool TestNode::Cut(proto::SessionClass session_class, bool dialed) {
  const std::shared_ptr<Session> session = sessions_->Find(session_class, dialed);
  if (session == nullptr) return false;
  session->Close(absl::UnavailableError("cut by the test"));
  return true;
}

TwoTestNodes::TwoTestNodes(uint64_t bulk_window_bytes, uint64_t urgent_window_bytes)
    : alpha("alpha", bulk_window_bytes, urgent_window_bytes),
      beta("beta", bulk_window_bytes, urgent_window_bytes) {
  alpha.Start();
  beta.Start();
  alpha.Dial(beta);
  beta.Dial(alpha);
}

void TwoTestNodes::AwaitUp() {
  alpha.events().Await("up beta.1");
  beta.events().Await("up alpha.1");
}

}  // namespace mailrail
