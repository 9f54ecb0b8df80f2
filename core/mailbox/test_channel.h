// Channels made by hand, as an agent would make them, for tests of this layer.
#ifndef MAILRAIL_CORE_MAILBOX_TEST_CHANNEL_H_
#define MAILRAIL_CORE_MAILBOX_TEST_CHANNEL_H_

#include <memory>
#include <string>
#include <utility>

#include "core/mailbox/control_page.h"
#include "core/mailbox/inbox_queue.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/memory.h"

namespace mailrail {

// One destination, with senders' lanes and receivers' queues over it.
class TestChannel {
 public:
  explicit TestChannel(MailboxOptions options = {}) : options_(options) {
    control_ = CreateMemory("control", sizeof(ControlPage)).value();
    bell_ = CreateMemory("bell", sizeof(BellWords)).value();
    gate_ = CreateMemory("gate", sizeof(GateWord)).value();
    page_ = Map(control_, sizeof(ControlPage), Access::kReadWrite);
  }

  ControlPage& control() { return *reinterpret_cast<ControlPage*>(page_.data()); }
  // A mapping of it.
  std::shared_ptr<GateWord> gate() {
    const auto gate = std::make_shared<Mapping>(Map(gate_, sizeof(GateWord), Access::kReadWrite));
    return {gate, reinterpret_cast<GateWord*>(gate->data())};
  }
  void Close(CloseReason reason) { control().closed.store(static_cast<uint32_t>(reason)); }

  // A new sender's lane to a mailbox; `receivers` join it.
  std::shared_ptr<OutgoingLane> AddCells(std::initializer_list<ReceiveQueue*> receivers,
                                         uint32_t number = 100, bool by_agent = false) {
    const CellGeometry geometry =
        CellGeometry::For(options_.capacity_messages, options_.max_message_bytes);
    const Fd data = CreateMemory("data", geometry.data_bytes()).value();
    const Fd state = CreateMemory("state", geometry.state_bytes()).value();
    auto lane = std::make_shared<OutgoingLane>(
        "mailbox test", options_, geometry, Map(data, geometry.data_bytes(), Access::kReadWrite),
        Map(state, geometry.state_bytes(), Access::kReadWrite), number, Destination());
    const uint32_t version = control().members_version.load() + 1;
    for (ReceiveQueue* receiver : receivers) {
      receiver->Join(std::make_shared<IncomingCells>(
                         version, ProcessId("test", static_cast<int>(number), version), true,
                         std::make_shared<const CellMemory>(CellMemory{
                             geometry, Map(data, geometry.data_bytes(), Access::kReadOnly),
                             Map(state, geometry.state_bytes(), Access::kReadWrite)}),
                         by_agent),
                     version);
    }
    if (cells_++ > 0 && options_.order == MailboxOrder::kQueue) control().stamped.store(1);
    control().members_version.store(version);
    return lane;
  }

  DestinationMemory Destination() {
    return {Map(control_, sizeof(ControlPage), Access::kReadOnly),
            Map(bell_, sizeof(BellWords), Access::kReadOnly),
            Map(gate_, sizeof(GateWord), Access::kReadWrite)};
  }

  // A new link to an inbox.
  std::shared_ptr<OutgoingLane> AddRing(InboxQueue* inbox, const ProcessId& sender,
                                        bool by_agent = false, bool mute = false) {
    const RingGeometry geometry = RingGeometry::For(options_.max_message_bytes);
    last_ring_ = CreateMemory("own", geometry.memory_bytes()).value();
    const Fd peer = CreateMemory("peer", geometry.memory_bytes()).value();
    const auto map = [&](const Fd& own, const Fd& other) {
      return std::make_shared<LinkMemory>(
          LinkMemory{geometry, Map(own, geometry.memory_bytes(), Access::kReadWrite),
                     Map(other, geometry.memory_bytes(), Access::kReadOnly)});
    };
    auto lane = std::make_shared<OutgoingLane>("process test", options_, map(last_ring_, peer),
                                               Destination());
    const uint32_t version = control().members_version.load() + 1;
    last_link_ = map(peer, last_ring_);
    last_id_ = version;
    auto incoming =
        std::make_shared<IncomingRing>(last_id_, sender, true, last_link_, by_agent, mute);
    last_incoming = incoming;
    inbox->Join(std::move(incoming), version);
    control().members_version.store(version);
    return lane;
  }
  // The link that was added last, of `sender`, and mute, is heard from now on.
  void Unmute(InboxQueue* inbox, const ProcessId& sender) {
    const uint32_t version = control().members_version.load() + 1;
    inbox->Join(std::make_shared<IncomingRing>(last_id_, sender, true, last_link_), version);
    control().members_version.store(version);
  }

  // The inbox's end of the link that was added last.
  std::weak_ptr<IncomingLane> last_incoming;

  // The memory of the sender that was added last, as its broken self might write it.
  Mapping MapLastRing() {
    return Map(last_ring_, RingGeometry::For(options_.max_message_bytes).memory_bytes(),
               Access::kReadWrite);
  }

 private:
  static Mapping Map(const Fd& fd, size_t bytes, Access access) {
    return Mapping::Map(fd, bytes, access).value();
  }
  const MailboxOptions options_;
  Fd control_, bell_, gate_, last_ring_;
  std::shared_ptr<LinkMemory> last_link_;
  uint64_t last_id_ = 0;
  Mapping page_;
  int cells_ = 0;  // lanes
};

using Taken = ReceiveQueue::Taken;

inline absl::Status TrySend(OutgoingLane& lane, int priority, absl::string_view body) {
  return lane.Send(priority, {{}, body}, absl::InfinitePast());
}

// The body of the best message, or a word for what else there was.
inline std::string Receive(ReceiveQueue& queue, TestChannel& channel) {
  Message message;
  switch (queue.Take(channel.control(), nullptr, &message)) {
    case Taken::kMessage:
      return std::string(message.body());
    case Taken::kNothing:
      return "(nothing)";
    case Taken::kBehind:
      return "(behind)";
    case Taken::kCorrupt:
      return "(corrupt)";
    case Taken::kVoid:
      return "(void)";
  }
  return "";
}

// Leases a message; its body, or a word for what else there was.
inline std::string TakeLease(MailboxQueue& queue, TestChannel& channel, Lease* lease) {
  Message message;
  const Taken taken = queue.TakeLease(channel.control(), lease, &message);
  return taken == Taken::kMessage ? std::string(message.body()) : "(nothing)";
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_TEST_CHANNEL_H_
