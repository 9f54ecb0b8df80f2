// Inboxes and mailboxes as an agent would make them, of which a copy of this process may go on with
// each part, and which can be made again what they were at one moment.
#ifndef MAILRAIL_TESTS_INSTRUCTION_CHANNEL_H_
#define MAILRAIL_TESTS_INSTRUCTION_CHANNEL_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "core/mailbox/control_page.h"
#include "core/mailbox/inbox_queue.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"

namespace mailrail {

// The two priorities that are used: one of them is urgent.
inline constexpr int kBulk = 5, kUrgent = 30;

// The numbers of those who receive from a mailbox.
inline constexpr uint32_t kVictim = 7, kOther = 8;

// How much of a slab is saved: all that is in use when a region begins.
inline constexpr size_t kSavedOfSlab = 32 << 10;

// Shared memory, and what was in it at one moment.
class SavedMemory {
 public:
  // Of what is before `end`, only `used` (offsets and sizes) is ever written; what comes after it
  // may be anything.
  SavedMemory(const std::string& name, size_t bytes, std::vector<std::pair<size_t, size_t>> used,
              size_t end);

  // A mapping that copies of this process have too.
  Mapping Map(Access access) const;
  void Save();
  void Restore();
  // What lies outside of `used` and before `end` is zero.
  bool OnlyUsedIsWritten() const;

 private:
  const size_t bytes_;
  const std::vector<std::pair<size_t, size_t>> used_;
  const size_t end_;
  Fd memory_;
  Mapping mapping_;
  std::string saved_;
};

// What inboxes and mailboxes have in common. One thread at a time.
class Channel {
 public:
  // All the room that bulk bodies have: a larger body has none, and one of this size has some only
  // when nothing else has.
  static constexpr size_t kMaxBytes = 56 << 10;

  explicit Channel(const MailboxOptions& options);
  virtual ~Channel() = default;

  // Makes a lane, of which the receivers do not know yet; returns its number, from 0. Join tells
  // them.
  virtual size_t NewSender() = 0;
  virtual void Join(size_t sender) = 0;
  size_t AddSender() {
    const size_t sender = NewSender();
    Join(sender);
    return sender;
  }
  // The agent says that there will be nothing more in a lane.
  void End(size_t sender);

  OutgoingLane& lane(size_t sender) { return *lanes_[sender]; }
  size_t senders() const { return lanes_.size(); }
  static ProcessId IdOf(size_t sender) {
    return ProcessId("test", static_cast<int>(100 + sender), 1);
  }
  // One of two more sending ends on the same memory, for one who takes it up: Recover it.
  OutgoingLane& spare_lane(size_t sender, size_t number) {
    return *spare_lanes_[2 * sender + number];
  }
  // Of those who live on.
  virtual ReceiveQueue& receiver() = 0;

  ControlPage& control() const { return *reinterpret_cast<ControlPage*>(control_map_.data()); }
  BellWords& bell() const { return *reinterpret_cast<BellWords*>(bell_map_.data()); }
  GateWord& gate() const { return *reinterpret_cast<GateWord*>(gate_map_.data()); }
  Parker NewParker() const { return Parker(&bell(), &gate()); }
  void Close(CloseReason reason) { control().closed.store(static_cast<uint32_t>(reason)); }

  void Save();
  void Restore();
  bool OnlyUsedIsWritten() const;

 protected:
  SavedMemory* NewMemory(const std::string& name, size_t bytes,
                         std::vector<std::pair<size_t, size_t>> used, size_t end);
  // All of it is saved.
  SavedMemory* NewMemory(const std::string& name, size_t bytes) {
    return NewMemory(name, bytes, {{0, bytes}}, bytes);
  }
  DestinationMemory ForSender() const;
  // The number of the next notice; `tell` gives it to whom it concerns.
  template <typename Tell>
  void Notify(const Tell& tell) {
    const uint32_t version = control().members_version.load() + 1;
    tell(version);
    control().members_version.store(version);
  }
  virtual void TellEnd(uint64_t lane, uint32_t version) = 0;
  virtual std::unique_ptr<OutgoingLane> MakeLane(size_t sender) const = 0;
  void MakeLanes(size_t sender);

  const MailboxOptions options_;

 private:
  std::vector<std::unique_ptr<SavedMemory>> memories_;
  std::vector<std::unique_ptr<OutgoingLane>> lanes_, spare_lanes_;
  SavedMemory* const control_;
  SavedMemory* const bell_;
  SavedMemory* const gate_;
  const Mapping control_map_, bell_map_, gate_map_;
};

// An inbox, and processes with links to it.
class InboxChannel : public Channel {
 public:
  // The smallest valid rings: 256 lines.
  static constexpr RingGeometry kGeometry = {
      .ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 16};

  InboxChannel();

  size_t NewSender() override;
  void Join(size_t sender) override;
  ReceiveQueue& receiver() override { return queue_; }

  InboxQueue& queue() { return queue_; }
  // Both memories of a link, as its two parties map them.
  const LinkMemory& sender_end(size_t sender) const { return *sender_ends_[sender]; }
  const LinkMemory& receiver_end(size_t sender) const { return *receiver_ends_[sender]; }

 private:
  std::unique_ptr<OutgoingLane> MakeLane(size_t sender) const override;
  void TellEnd(uint64_t lane, uint32_t version) override {
    queue_.End(lane, version, EndReason::kKilled);
  }

  InboxQueue queue_;
  std::vector<std::shared_ptr<LinkMemory>> sender_ends_, receiver_ends_;
};

// A mailbox, senders, and two receivers that compete: kVictim and kOther.
class MailboxChannel : public Channel {
 public:
  // The smallest lane: 16 slots for each priority.
  static constexpr CellGeometry kGeometry = {.slots = 16, .slab_bytes = 64 << 10};
  static constexpr uint32_t kCapacity = 13;

  MailboxChannel();

  size_t NewSender() override;
  void Join(size_t sender) override;
  ReceiveQueue& receiver() override { return others_; }

  MailboxQueue& victims() { return victims_; }
  MailboxQueue& others() { return others_; }
  // A receiver's look at a lane, which nobody has used.
  std::shared_ptr<IncomingCells> Incoming(size_t sender) const;
  // The agent's.
  CellReader& agents_reader(size_t sender) { return agents_lanes_[sender]->reader(); }

  // What the agent does when it finds that the victim, who received, is gone: first it says so.
  void DeclareGone();
  void ReleaseClaims();

 private:
  class VictimsAttachment : public Attachment {
   public:
    explicit VictimsAttachment(const ControlPage* page) { set_page(page); }
    void AskToLookAt(const OutgoingLane&) const override {}
    absl::Status Check() const override {
      return gone() ? absl::AbortedError("gone") : absl::OkStatus();
    }
  };
  struct Lane {
    SavedMemory* data = nullptr;
    SavedMemory* state = nullptr;
  };

  std::unique_ptr<OutgoingLane> MakeLane(size_t sender) const override;
  void TellEnd(uint64_t lane, uint32_t version) override;

  SavedMemory* const victims_page_;
  const Mapping victims_page_map_;
  VictimsAttachment attachment_;
  MailboxQueue victims_{kVictim, &attachment_};
  MailboxQueue others_{kOther};
  std::vector<Lane> memories_of_lanes_;
  std::vector<std::shared_ptr<IncomingCells>> agents_lanes_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_INSTRUCTION_CHANNEL_H_
