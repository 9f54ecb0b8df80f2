// What the tests of remote receivers share: a mailbox on one node (alpha), a receiver on another
// (beta).
#ifndef MAILRAIL_NODE_CARRIER_REMOTE_RECEIVER_TESTING_H_
#define MAILRAIL_NODE_CARRIER_REMOTE_RECEIVER_TESTING_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "node/carrier/carrier.h"
#include "node/carrier/carrier_testing.h"
#include "node/carrier/proxy_note.h"

namespace mailrail {

inline constexpr uint64_t kKey = 5;
inline constexpr uint64_t kMailbox = 6;
inline constexpr char kDropped[] = "dropped 6";
inline constexpr uint32_t kHomeNumber = 7;   // of the remote receiver, at home
inline constexpr uint32_t kLocalNumber = 9;  // of a receiver on the mailbox's node
inline constexpr uint32_t kProxyNumber = 2;  // of the carrier, as the sender of the private mailbox
inline constexpr size_t kLargest = 100'000;

// What the mailbox takes.
inline MailboxOptions Taking(size_t max_message_bytes) {
  MailboxOptions options;
  options.max_message_bytes = max_message_bytes;
  options.capacity_messages = 128;
  return options;
}

// A mailbox with one lane, and its memory.
class TestMailbox {
 public:
  explicit TestMailbox(uint64_t lane,
                       const CellGeometry& geometry = CellGeometry::For(128, kLargest))
      : destination(kProxyControlBytes),
        lane_(lane),
        geometry_(geometry),
        data_(geometry_.data_bytes()),
        state_(geometry_.state_bytes()) {
    destination.control()->members_version = 1;
  }

  std::shared_ptr<OutgoingLane> NewSender(uint32_t number, bool recover = false,
                                          size_t max_message_bytes = kLargest) {
    auto lane =
        std::make_shared<OutgoingLane>("mailbox", Taking(max_message_bytes), geometry_, data_.Map(),
                                       state_.Map(), number, destination.ForSender());
    if (recover) {
      const absl::Status status = lane->Recover();
      EXPECT_TRUE(status.ok()) << status;
    }
    return lane;
  }

  std::shared_ptr<IncomingCells> NewIncoming(bool of_agent = true) {
    auto memory = std::make_shared<CellMemory>(
        CellMemory{geometry_, data_.Map(Access::kReadOnly), state_.Map()});
    return std::make_shared<IncomingCells>(lane_, ProcessId("alpha", 42, 3), true, memory,
                                           of_agent);
  }

  // What is waiting, leased and so on.
  CellReader::Counts Count() { return NewIncoming()->reader().Count(); }

  TestDestination destination;

 private:
  const uint64_t lane_;
  const CellGeometry geometry_;
  TestMemory data_, state_;
};

class RemoteReceiverTest : public ::testing::Test {
 protected:
  explicit RemoteReceiverTest(bool by_hand = false,
                              const CellGeometry& inner_geometry = CellGeometry::For(128, kLargest))
      : mailbox(11),
        inner(22, inner_geometry),
        receiver(&inner.destination, kLocalNumber),
        local(&mailbox.destination, 8u),
        leases(by_hand) {
    nodes.AwaitUp();
    sender = mailbox.NewSender(1);
    receiver.queue().Join(inner.NewIncoming(), 1);
    local.queue().Join(mailbox.NewIncoming(), 1);
    OpenAtHome(1);
    AddProxy(false);
    // Before anything is wanted, which would be said again.
    beta.events().Await("check alpha 5");
    EXPECT_FALSE(receiver.TryReceive().has_value());  // takes over the lane
  }

  // Waits until a message is here; takes none.
  void AwaitDelivered() {
    while (!receiver.queue().MayHave(*inner.destination.control())) std::this_thread::yield();
  }

  void OpenAtHome(uint32_t joined_version, bool lane_of_agent = true) {
    RemoteReceiver remote;
    remote.key = kKey;
    remote.peer_node = "beta";
    home_queue = std::make_shared<MailboxQueue>(kHomeNumber);
    if (joined_version == 1) home_queue->Join(mailbox.NewIncoming(lane_of_agent), 1);
    remote.queue = home_queue;
    remote.mailbox = kMailbox;
    remote.options = Taking(home_takes);
    remote.options.cutoff = cutoff;
    remote.options.lease_time = lease_time;
    remote.leases = leases;
    remote.control = mailbox.destination.control_memory.Map();
    remote.bell = mailbox.destination.bell_memory.Map();
    remote.gate = mailbox.destination.gate_memory.Map();
    alpha.carrier().AddReceiver(std::move(remote));
  }

  void AddProxy(bool recover) {
    ReceiverProxy proxy;
    proxy.key = kKey;
    proxy.peer_node = "alpha";
    proxy.lane = inner.NewSender(kProxyNumber, recover);
    proxy.number = kProxyNumber;
    proxy.leases = leases;
    proxy.bell = inner.destination.bell_memory.Map();
    proxy.control = inner.destination.control_memory.Map();
    beta.carrier().AddProxy(std::move(proxy));
  }

  void Want(bool wanted) {
    if (wanted) ++asked;
    inner.destination.bell()->wanted = wanted ? asked : 0;
    RingGate(beta.carrier_gate());
  }

  // As a receiving process does.
  Message ReceiveRemotely() {
    Want(true);
    Message message = receiver.Receive();
    Want(false);
    return message;
  }

  void Send(int priority, absl::string_view body) {
    const absl::Status status = sender->Send(priority, {{}, body}, absl::InfiniteFuture());
    ASSERT_TRUE(status.ok()) << status;
  }

  TwoTestNodes nodes;
  TestNode& alpha = nodes.alpha;
  TestNode& beta = nodes.beta;
  TestMailbox mailbox;
  TestMailbox inner;  // the private mailbox that stands for it on beta
  TestReceiver<MailboxQueue> receiver;
  TestReceiver<MailboxQueue> local;  // another receiver of the mailbox, on its own node
  std::shared_ptr<OutgoingLane> sender;
  std::shared_ptr<MailboxQueue> home_queue;
  size_t home_takes = kLargest;
  uint32_t asked = 0;
  // Of what is opened from now on.
  absl::Duration cutoff = absl::Hours(1);
  absl::Duration lease_time = absl::Hours(1);
  bool leases;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_REMOTE_RECEIVER_TESTING_H_
