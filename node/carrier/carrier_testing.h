// What the tests of the carrier share: nodes with real transports, and the shared memory of lanes
// and mailboxes, which outlives the carriers that are destroyed and made anew.
#ifndef MAILRAIL_NODE_CARRIER_CARRIER_TESTING_H_
#define MAILRAIL_NODE_CARRIER_CARRIER_TESTING_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "core/base/fd.h"
#include "core/mailbox/control_page.h"
#include "core/mailbox/inbox_queue.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"
#include "node/carrier/carrier.h"
#include "node/peer/transport.h"

namespace mailrail {

// A seed that is printed, or taken from MAILRAIL_TEST_SEED.
uint64_t TestSeed();

// `size` bytes, others for each seed.
std::string Pattern(uint64_t seed, size_t size);

// Shared memory that can be mapped again and again.
class TestMemory {
 public:
  explicit TestMemory(size_t bytes);
  Mapping Map(Access access = Access::kReadWrite) const;

 private:
  const size_t bytes_;
  const Fd fd_;
};

// What an inbox or a mailbox shares with its senders and receivers.
struct TestDestination {
  explicit TestDestination(size_t control_bytes = sizeof(ControlPage));
  DestinationMemory ForSender() const;
  ControlPage* control() const { return reinterpret_cast<ControlPage*>(control_map.data()); }
  BellWords* bell() const { return reinterpret_cast<BellWords*>(bell_map.data()); }
  GateWord* gate() const { return reinterpret_cast<GateWord*>(gate_map.data()); }
  void Close(CloseReason reason) { control()->closed = static_cast<uint32_t>(reason); }

  TestMemory control_memory, bell_memory, gate_memory;
  Mapping control_map, bell_map, gate_map;
};

// A queue and its bell, as a receiving process has them.
template <typename Queue>
class TestReceiver {
 public:
  template <typename... Args>
  explicit TestReceiver(const TestDestination* destination, Args... args)
      : queue_(args...),
        destination_(destination),
        parker_(destination->bell(), destination->gate()) {}

  Queue& queue() { return queue_; }

  // What is there now.
  absl::optional<Message> TryReceive() {
    Message message;
    if (queue_.Take(*destination_->control(), nullptr, &message) != ReceiveQueue::Taken::kMessage) {
      return absl::nullopt;
    }
    return message;
  }

  // Waits without a limit.
  Message Receive() {
    while (true) {
      if (absl::optional<Message> message = TryReceive()) return *std::move(message);
      queue_.Flush();
      const FutexWord word = parker_.Park();
      absl::optional<Message> message = TryReceive();
      if (!message.has_value()) FutexWait(word.word, word.expected, kLookAgain);
      parker_.Unpark(/*sole=*/true);
      if (message.has_value()) return *std::move(message);
    }
  }

 private:
  Queue queue_;
  const TestDestination* const destination_;
  Parker parker_;
};

class TestNode;

// A lane from a process on one node to the inbox of a process on another, all its memory, and the
// two processes' ends. The target's node refuses it unless `known`.
class TestRoute {
 public:
  TestRoute(uint64_t id, TestNode* source, TestNode* target, const MailboxOptions& options,
            bool known = true);

  uint64_t id() const { return id_; }
  OutgoingLane& sender() { return *sender_; }
  TestReceiver<InboxQueue>& receiver() { return *receiver_; }
  TestDestination& inbox() { return inbox_; }
  // The sender's memory, writable.
  Mapping SenderMemory() const { return sender_memory_.Map(); }
  const RingGeometry& geometry() const { return geometry_; }

  // Waits until a message of this priority has come to the inbox; takes none.
  void AwaitPublished(int priority);

  // What the agents hand to their carriers.
  OutboundLane Outbound(bool recover) const;
  InboundLane Inbound(bool recover) const;

 private:
  const uint64_t id_;
  TestNode* const source_;
  TestNode* const target_;
  const MailboxOptions options_;
  const RingGeometry geometry_;
  TestMemory sender_memory_, source_memory_, target_memory_, receiver_memory_;
  TestDestination outside_;  // what the sender sees of its destination
  TestDestination inbox_;
  std::unique_ptr<OutgoingLane> sender_;
  std::unique_ptr<TestReceiver<InboxQueue>> receiver_;
};

// A session that keeps what is written. Thread-compatible.
class FakeSession : public Session {
 public:
  FakeSession(proto::SessionClass session_class, bool dialed, uint64_t incarnation = 1)
      : class_(session_class), dialed_(dialed), incarnation_(incarnation) {}

  const std::string& peer_node() const override { return node_; }
  uint64_t peer_incarnation() const override { return incarnation_; }
  const std::string& peer_address() const override { return address_; }
  proto::SessionClass session_class() const override { return class_; }
  bool dialed() const override { return dialed_; }
  void Write(std::vector<proto::Frame> more) override {
    for (proto::Frame& frame : more) frames.push_back(std::move(frame));
  }
  size_t queued_bytes() const override { return queued; }
  void ReadOn() override { ++reads; }
  void Close(absl::Status why) override { closed = std::move(why); }

  std::vector<proto::Frame> frames;
  size_t queued = 0;
  std::atomic<int> reads = 0;  // how often ReadOn() was called
  absl::Status closed;

 private:
  const proto::SessionClass class_;
  const bool dialed_;
  const uint64_t incarnation_;
  const std::string node_ = "peer";
  const std::string address_;
};

// A flow of messages of random sizes and priorities through a route: one thread sends them, one
// receives them and checks that none is lost, doubled, changed or overtaken by one of its priority.
class TestFlood {
 public:
  TestFlood(TestRoute* route, uint64_t seed, size_t messages, size_t largest);
  ~TestFlood() { Finish(); }

  // Waits until that many were received.
  void AwaitReceived(size_t count);
  // Waits for all.
  void Finish();

 private:
  struct Planned {
    int priority;
    size_t size;
  };

  void Send();
  void Receive();

  TestRoute* const route_;
  std::vector<Planned> plan_;
  absl::Mutex mu_;
  size_t received_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread sender_;
  std::thread receiver_;
};

// What the carriers of a node told. Thread-safe.
class TestEvents : public CarrierEvents {
 public:
  // Answer for the agent; called on the carrier's thread.
  std::function<void(const std::string& node, const proto::LaneOpen& open)> on_lane_open;
  std::function<void(uint64_t key)> on_receiver_behind;
  std::function<void(uint64_t key)> on_receiver_reached;

  void OnPeerUp(const std::string& node, uint64_t incarnation, const std::string&) override;
  void OnPeerDown(const std::string& node) override;
  void OnPeerProblem(const std::string&, absl::Status) override {}
  void OnLaneState(uint64_t lane, absl::Status status, const proto::LaneState& state) override;
  void OnReceivers(uint64_t lane, uint32_t count) override;
  void OnReceipts(const std::string& node, const proto::Receipts& receipts) override;
  void OnLaneFinished(uint64_t lane) override;
  void OnLaneCorrupt(uint64_t lane) override;
  void OnLaneOpen(const std::string& node, uint64_t, const proto::LaneOpen& open) override;
  void OnLaneEnd(const std::string& node, uint64_t lane, uint32_t end_reason) override;
  void OnInboundClosed(const std::string& node, uint64_t lane, absl::Status why) override;
  void OnRequest(const std::string& node, uint64_t, const proto::Request& request) override;
  void OnReply(const std::string& node, const proto::Reply& reply) override;
  void OnRequestsLost(const std::string& node) override;
  void OnReceiverGone(const std::string& node, uint64_t key) override;
  void OnProxyGone(const std::string& node, uint64_t key) override;
  void OnProxyCheck(const std::string& node, uint64_t key) override;
  void OnReceiverBehind(const std::string& node, uint64_t key) override;
  void OnReceiverCutOff(const std::string& node, uint64_t key) override;
  void OnReceiverReached(const std::string& node, uint64_t key) override;
  void OnMessageDropped(uint64_t mailbox) override;
  void OnInboundLook(const std::string& node, uint64_t lane) override;
  void OnMessageReturned(uint64_t mailbox) override;

  // Waits until the event has been told `count` times: "up beta.1", "state 7 OK", "end alpha 7".
  void Await(const std::string& event, int count = 1);
  int Count(const std::string& event);

 private:
  void Add(std::string event);

  absl::Mutex mu_;
  std::map<std::string, int> events_ ABSL_GUARDED_BY(mu_);
};

// A node: transport, carrier, and as much of an agent as tells the carrier what it asks for.
class TestNode {
 public:
  explicit TestNode(std::string name, uint64_t bulk_window_bytes = uint64_t{1} << 20,
                    uint64_t urgent_window_bytes = uint64_t{256} << 10);
  ~TestNode() { Stop(); }

  const std::string& name() const { return name_; }
  // Where it listens, once it was started.
  const std::string& address() const { return address_; }
  TestEvents& events() { return events_; }
  Carrier& carrier() { return *carrier_; }
  GateWord* carrier_gate() const { return bell_.gate(); }
  // The carrier's bell, as a sender's destination.
  DestinationMemory CarrierBell(const TestDestination& destination) const;

  // Starts the carrier, with all that the one before it had, and the transport, at the port that it
  // had before, if it had one.
  void Start() { StartCarrier(), StartTransport(); }
  void StartCarrier();
  void StartTransport();
  void Stop();
  void Dial(const TestNode& other) { Dial(other.name_, other.address_); }
  void Dial(const std::string& name, const std::string& address);

  // Ends a session as a broken connection would; false when there is none.
  bool Cut(proto::SessionClass session_class, bool dialed);

  // Lanes that are handed to the carrier, and to each one that follows it.
  void AddSource(TestRoute* route);
  void AddTarget(TestRoute* route);
  // Called after StartCarrier, to add what else the carrier has.
  std::function<void()> on_restart = [] {};

  uint64_t incarnation = 1;

 private:
  // Passes everything on to the carrier, and keeps the sessions.
  class Sessions;

  const std::string name_;
  const uint64_t bulk_window_bytes_, urgent_window_bytes_;
  TestDestination bell_;
  TestEvents events_;
  std::map<std::string, std::string> peers_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<Carrier> carrier_;
  std::shared_ptr<Sessions> sessions_;
  std::unique_ptr<PeerTransport> transport_;
  bool started_before_ = false;
  std::map<uint64_t, TestRoute*> sources_;

  absl::Mutex mu_;
  std::map<uint64_t, TestRoute*> targets_ ABSL_GUARDED_BY(mu_);
};

// Two nodes, alpha and beta, that dial each other.
struct TwoTestNodes {
  explicit TwoTestNodes(uint64_t bulk_window_bytes = uint64_t{1} << 20,
                        uint64_t urgent_window_bytes = uint64_t{256} << 10);
  // Waits until both have their sessions.
  void AwaitUp();

  TestNode alpha, beta;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_CARRIER_TESTING_H_
