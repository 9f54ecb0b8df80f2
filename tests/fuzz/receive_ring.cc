// An inbox with two lanes. The sender of one writes what the input says into its memory, between
// the calls of the receiver; the other is sound.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/lane/ring_reader.h"
#include "core/mailbox/inbox_queue.h"
#include "tests/fuzz/lane_memory.h"
#include "tests/fuzz/two_senders.h"

namespace mailrail {
namespace {

using Taken = ReceiveQueue::Taken;

// So many records stand in a lane at most, whatever its memory holds.
constexpr int kMostRecords = kPriorityCount * 256;

class ReceiveRing {
 public:
  explicit ReceiveRing(Input* input)
      : input_(input),
        by_agent_(input->Byte() >= 0xc0),
        sound_(kSound, destination_, kFuzzLimits),
        hostile_(kHostile, destination_, {.max_message_bytes = kTooManyBytes}),
        hostile_link_(hostile_.ReceiverLink()) {
    inbox_.set_limits(kFuzzLimits);
    Join(sound_.id, sound_.ReceiverLink(), false);
    Join(hostile_.id, hostile_link_, by_agent_);
  }

  void Run() {
    while (!input_->empty()) Step();
    TakeAll();
    held_.Clear();
    for (size_t priority = 0; priority < kPriorityCount; ++priority) {
      Promise(received_[priority] == sent_[priority].size(), "all of the sound lane has come");
    }
    inbox_.Flush();
    Promise(sound_.sender->Drained(), "the room of the sound lane has come back");
    ReadFromTheStart();
  }

 private:
  void Join(const ProcessId& id, std::shared_ptr<LinkMemory> link, bool by_agent) {
    const uint32_t version = destination_.control().members_version.load() + 1;
    const bool same_user = input_->Bool();
    inbox_.Join(std::make_shared<IncomingRing>(version, id, same_user, std::move(link), by_agent),
                version);
    destination_.control().members_version.store(version);
  }

  void Step() {
    switch (input_->Below(8)) {
      case 0:
        return SendSound();
      case 1:
        return SendHostile(input_, hostile_.sender.get());
      case 2:
      case 3:
        return SpoilRing(input_, hostile_.sender_map.data());
      case 4:
      case 5:
        Take(nullptr);
        return;
      case 6:
        Take(input_->Bool() ? &kSound : &kHostile);
        return;
      default:
        return Rest();
    }
  }

  void SendSound() {
    const int priority = AnyPriority(input_);
    std::vector<std::string>& sent = sent_[static_cast<size_t>(priority)];
    const std::string body = SoundBody(priority, sent.size(), input_->Below(6001));
    // It may find no room, as what the receiver holds is not given back yet.
    if (sound_.sender->Send(priority, {{}, body}, absl::InfinitePast()).ok()) sent.push_back(body);
  }

  // What a receiver does while it waits; and what it held is let go.
  void Rest() {
    if (input_->Bool()) inbox_.Flush();
    inbox_.MayHave(destination_.control());
    while (!held_.empty() && input_->Bool()) held_.LetGo();
  }

  Taken Take(const ProcessId* only_from) {
    Message message;
    const Taken taken = inbox_.Take(destination_.control(), only_from, &message);
    switch (taken) {
      case Taken::kMessage:
        Promise(only_from == nullptr || by_agent_ || message.sender() == *only_from,
                "a message is of whom it was asked of");
        Check(std::move(message));
        break;
      case Taken::kNothing:
        break;
      case Taken::kCorrupt:
        Promise(!closed_, "a lane is closed once");
        CheckClosed(inbox_);
        Promise(absl::IsUnavailable(hostile_.sender->closed_status()),
                "the sender of a closed lane finds out");
        closed_ = true;
        break;
      case Taken::kBehind:
      case Taken::kVoid:
        Promise(false, "nothing is behind or void");
    }
    return taken;
  }

  void Check(Message message) {
    Promise(message.body().size() <= kFuzzLimits.max_message_bytes, "a body is within the limits");
    if (message.sender() == kSound) {
      const auto priority = static_cast<size_t>(message.priority());
      Promise(received_[priority] < sent_[priority].size(), "what comes was sent");
      Promise(message.body() == sent_[priority][received_[priority]++],
              "the messages of the sound lane come whole, in order");
    } else {
      Promise(by_agent_ || message.sender() == kHostile, "a message names its sender");
      Promise(!closed_, "nothing comes from a closed lane");
      if (message.body().size() > 1024) CheckPlace(message.body());
    }
    held_.Hold(std::move(message));
  }

  // A body that is shown in place stands in its sender's slab.
  void CheckPlace(absl::string_view body) const {
    const Mapping& peer = hostile_link_->peer;
    if (!IsInside(peer, peer.size(), body.data(), body.size())) return;  // a copy
    Promise(IsInside(peer, kFuzzRing.memory_bytes(), body.data(), body.size()),
            "a body is inside its lane");
  }

  void TakeAll() {
    int taken = 0;
    while (Take(nullptr) != Taken::kNothing) {
      Promise(++taken <= 3 * kMostRecords, "a lane that does not change has an end");
    }
  }

  // As who takes the lane up after a reader that died.
  void ReadFromTheStart() const {
    RingReader reader(kFuzzRing, hostile_link_->own.data(), hostile_link_->peer.data());
    reader.Recover();
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      Record record;
      int records = 0;
      while (reader.Peek(priority, &record) == Look::kReady) {
        Promise(IsInside(hostile_link_->peer, kFuzzRing.memory_bytes(), record.data, record.length),
                "a record is inside its lane");
        Promise(++records <= kMostRecords, "a ring that does not change has an end");
        reader.Advance(priority, record);
        reader.Consume(priority, record);
        if (record.in_slab) reader.ReleaseCell(priority, record.cell, record.sequence);
      }
    }
    CountUnconsumed(hostile_link_->peer.data(), hostile_link_->own.data());
  }

  Input* const input_;
  const bool by_agent_;  // the lane that is spoilt: then prefixes are read
  FuzzDestination destination_;
  RingLane sound_, hostile_;
  const std::shared_ptr<LinkMemory> hostile_link_;
  InboxQueue inbox_;
  std::vector<std::string> sent_[kPriorityCount];
  size_t received_[kPriorityCount] = {};
  HeldMessages held_;
  bool closed_ = false;
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::ReceiveRing(&input).Run();
  return 0;
}
