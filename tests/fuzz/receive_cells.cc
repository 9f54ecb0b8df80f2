// A mailbox with two receivers and two lanes. The sender of one lane writes what the input says
// into the data and the states of its messages, between the calls of the receivers; the other is
// sound.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mailbox/mailbox_queue.h"
#include "tests/fuzz/lane_memory.h"
#include "tests/fuzz/two_senders.h"

namespace mailrail {
namespace {

using Taken = ReceiveQueue::Taken;

// So often a receiver finds something in a lane at most: each message is claimed once, and after
// that once more for each time that it was given back.
constexpr int kMostFinds = kPriorityCount * 100;

class ReceiveCells {
 public:
  explicit ReceiveCells(Input* input)
      : input_(input),
        kind_(input->Byte()),
        by_agent_(kind_ >= 0xc0),
        sound_(kSound, 5, destination_, kFuzzLimits),
        hostile_(kHostile, 6, destination_,
                 {.max_message_bytes = kTooManyBytes, .capacity_messages = 16}),
        hostile_memory_(hostile_.ReceiverMemory()),
        agents_reader_(kFuzzCells, hostile_memory_->data.data(), hostile_memory_->state.data()) {
    destination_.control().stamped.store(1);
    for (MailboxQueue& queue : receivers_) queue.set_limits(kFuzzLimits);
    Select();
    Join(kSound, sound_.ReceiverMemory(), false);
    Join(kHostile, hostile_memory_, by_agent_);
  }

  void Run() {
    while (!input_->empty()) Step();
    while (!leases_.empty()) Finish(MailboxQueue::Outcome::kReceived);
    for (size_t receiver = 0; receiver < 2; ++receiver) TakeAll(receiver);
    held_.Clear();
    for (size_t priority = 0; priority < kPriorityCount; ++priority) {
      for (const Sent& sent : sent_[priority]) {
        Promise(sent.received == 1, "all of the sound lane has come, once");
      }
    }
    Promise(sound_.sender->Drained(), "the room of the sound lane has come back");
    ReadFromTheStart();
  }

 private:
  struct Sent {
    std::string body;
    int received = 0;
  };
  struct OpenLease {
    size_t receiver;
    Lease lease;
  };

  // Who gets which message, and in what order.
  void Select() {
    ReceiverTable::Of(&destination_.control())->Write({7, 8});
    const auto distribution = static_cast<Distribution>(kind_ / 4 % 4 % 3);
    in_turn_ = distribution == Distribution::kRoundRobin;
    for (size_t i = 0; i < 2; ++i) {
      if (kind_ % 2 == 1) receivers_[i].set_order(MailboxOrder::kPerSender);
      // No mailbox has both: the next message in turn is another receiver's.
      if (kind_ / 2 % 2 == 1 && !in_turn_) receivers_[i].HoldOrder(nullptr);
      receivers_[i].Distribute(distribution, static_cast<uint32_t>(7 + i));
    }
  }

  void Join(const ProcessId& id, const std::shared_ptr<const CellMemory>& memory, bool by_agent) {
    const uint32_t version = destination_.control().members_version.load() + 1;
    const bool same_user = input_->Bool();
    for (MailboxQueue& queue : receivers_) {
      queue.Join(std::make_shared<IncomingCells>(version, id, same_user, memory, by_agent),
                 version);
    }
    destination_.control().members_version.store(version);
  }

  void Step() {
    switch (input_->Below(9)) {
      case 0:
        return SendSound();
      case 1:
        return SendHostile(input_, hostile_.sender.get());
      case 2:
        return SpoilCellData(input_, hostile_.data_map.data());
      case 3:
        return SpoilCellState(input_, hostile_.state_map.data());
      case 4:
      case 5:
        Take(input_->Below(2), nullptr);
        return;
      case 6:
        Take(input_->Below(2), input_->Bool() ? &kSound : &kHostile);
        return;
      case 7:
        return TakeLease(input_->Below(2));
      default:
        return Rest();
    }
  }

  void SendSound() {
    const int priority = AnyPriority(input_);
    std::vector<Sent>& sent = sent_[static_cast<size_t>(priority)];
    const std::string body = SoundBody(priority, sent.size(), input_->Below(6001));
    // It may find no room, as what the receivers hold is not given back yet.
    if (sound_.sender->Send(priority, {{}, body}, absl::InfinitePast()).ok()) {
      sent.push_back({body});
    }
  }

  void Rest() {
    switch (input_->Below(4)) {
      case 0:
        if (leases_.empty()) return;
        return Finish(static_cast<MailboxQueue::Outcome>(input_->Below(3)));
      case 1:  // the agent takes the claims of somebody away
        agents_reader_.ReleaseClaimsOf(input_->Below(12));
        agents_reader_.Count();
        return;
      case 2:
        receivers_[input_->Below(2)].MayHave(destination_.control());
        return;
      default:
        while (!held_.empty() && input_->Bool()) held_.LetGo();
    }
  }

  Taken Take(size_t receiver, const ProcessId* only_from) {
    Message message;
    MailboxQueue& queue = receivers_[receiver];
    const Taken taken = queue.Take(destination_.control(), only_from, &message);
    if (taken == Taken::kMessage) {
      Promise(only_from == nullptr || by_agent_ || message.sender() == *only_from,
              "a message is of whom it was asked of");
      Check(receiver, std::move(message));
    }
    CheckClosing(receiver, taken);
    return taken;
  }

  void CheckClosing(size_t receiver, Taken taken) {
    Promise(taken != Taken::kBehind && taken != Taken::kVoid, "nothing is behind or void");
    if (taken != Taken::kCorrupt) return;
    Promise(!closed_[receiver], "a lane is closed once");
    CheckClosed(receivers_[receiver]);
    closed_[receiver] = true;
  }

  // The message of the sound lane whose body this is: it has come.
  void CountSound(int priority, absl::string_view body) {
    uint64_t word = 0;
    Promise(body.size() >= sizeof(word), "a sound body has its number");
    memcpy(&word, body.data(), sizeof(word));
    std::vector<Sent>& sent = sent_[static_cast<size_t>(priority)];
    const uint64_t number = word / kPriorityCount;
    Promise(number < sent.size() && sent[number].body == body,
            "the messages of the sound lane come whole");
    Promise(++sent[number].received == 1, "a message comes once");
    // What was given back goes first, whatever came meanwhile; and who has the one before may be
    // slower.
    if (returned_ || in_turn_) return;
    for (size_t before = 0; before < number; ++before) {
      Promise(sent[before].received == 1 || IsLeased(priority, before + 1),
              "the messages of the sound lane come in order");
    }
  }
  bool IsLeased(int priority, uint64_t sequence) const {
    for (const OpenLease& open : leases_) {
      if (open.lease.lane->sender() == kSound && open.lease.priority == priority &&
          open.lease.sequence == sequence) {
        return true;
      }
    }
    return false;
  }

  void Check(size_t receiver, Message message) {
    Promise(message.body().size() <= kFuzzLimits.max_message_bytes, "a body is within the limits");
    if (message.sender() == kSound) {
      CountSound(message.priority(), message.body());
    } else {
      Promise(by_agent_ || message.sender() == kHostile, "a message names its sender");
      Promise(!closed_[receiver], "nothing comes from a closed lane");
      const Mapping& data = hostile_memory_->data;
      const absl::string_view body = message.body();
      // Else it is a copy.
      if (IsInside(data, data.size(), body.data(), body.size()))
        CheckInside(body.data(), body.size());
    }
    held_.Hold(std::move(message));
  }
  void CheckInside(const char* at, size_t length) const {
    Promise(IsInside(hostile_memory_->data, kFuzzCells.data_bytes(), at, length),
            "a body is inside its lane");
  }

  void TakeLease(size_t receiver) {
    Lease lease;
    const Taken taken = receivers_[receiver].TakeLease(destination_.control(), &lease);
    CheckClosing(receiver, taken);
    if (taken != Taken::kMessage) return;
    if (lease.lane->sender() == kHostile) CheckInside(lease.record.data, lease.record.length);
    leases_.push_back({receiver, std::move(lease)});
  }

  void Finish(MailboxQueue::Outcome outcome) {
    const OpenLease open = std::move(leases_.front());
    leases_.pop_front();
    const Lease& lease = open.lease;
    const bool sound = lease.lane->sender() == kSound;
    if (sound && outcome == MailboxQueue::Outcome::kReceived) {
      CountSound(lease.priority, {lease.record.data, lease.record.length});
    }
    const bool held = receivers_[open.receiver].Finish(lease, outcome);
    if (sound) Promise(held, "a lease of the sound lane is not taken away");
    if (sound && outcome != MailboxQueue::Outcome::kReceived) returned_ = true;
  }

  void TakeAll(size_t receiver) {
    int taken = 0;
    while (Take(receiver, nullptr) != Taken::kNothing) {
      Promise(++taken <= kMostFinds, "a lane that does not change has an end");
    }
  }

  // As the agent after a death: what is held, and how much there is.
  void ReadFromTheStart() {
    for (const uint32_t number : {7u, 8u}) {
      MailboxQueue queue(number);
      queue.Join(std::make_shared<IncomingCells>(1, kHostile, true, hostile_memory_, by_agent_), 1);
      for (const Lease& lease : queue.HeldLeases()) {
        CheckInside(lease.record.data, lease.record.length);
      }
    }
    agents_reader_.Count();
    agents_reader_.ReleaseClaimsIf([](uint32_t owner) { return owner % 2 == 0; });
  }

  Input* const input_;
  const uint32_t kind_;
  const bool by_agent_;  // the lane that is spoilt: then prefixes are read
  FuzzDestination destination_;
  CellLane sound_, hostile_;
  const std::shared_ptr<const CellMemory> hostile_memory_;
  CellReader agents_reader_;  // of the lane that is spoilt
  MailboxQueue receivers_[2] = {MailboxQueue(7), MailboxQueue(8)};
  std::vector<Sent> sent_[kPriorityCount];
  HeldMessages held_;
  std::deque<OpenLease> leases_;
  bool in_turn_ = false;
  bool returned_ = false;  // something of the sound lane was given back
  bool closed_[2] = {};
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::ReceiveCells(&input).Run();
  return 0;
}
