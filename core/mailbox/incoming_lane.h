#ifndef MAILRAIL_CORE_MAILBOX_INCOMING_LANE_H_
#define MAILRAIL_CORE_MAILBOX_INCOMING_LANE_H_

#include <cstdint>
#include <memory>

#include "core/base/fork.h"
#include "core/lane/cell_reader.h"
#include "core/lane/ring_reader.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/memory.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

// One sender's lane, as a receiver sees it. Owned by its queue, and by the views of its messages.
class IncomingLane : public internal::HeldRoom {
 public:
  IncomingLane(uint64_t id, const ProcessId& sender, bool same_user, bool by_agent)
      : id_(id),
        sender_(sender),
        same_user_(same_user),
        by_agent_(by_agent),
        fork_generation_(ForkGeneration()) {}

  // In a forked child, which has no such memory, nothing: the room is the parent's.
  void Release(int priority, uint32_t cell, uint64_t sequence) final {
    if (fork_generation_ == ForkGeneration()) GiveBack(priority, cell, sequence);
  }

  uint64_t id() const { return id_; }
  const ProcessId& sender() const { return sender_; }
  // Large bodies are shown in place; else they are copied first, since the sender could change
  // them while they are read.
  bool same_user() const { return same_user_; }
  // The agent writes this lane. Prefixes, which name senders, are well-formed in its lanes alone.
  bool by_agent() const { return by_agent_; }

 private:
  virtual void GiveBack(int priority, uint32_t cell, uint64_t sequence) = 0;

  const uint64_t id_;
  const ProcessId sender_;
  const bool same_user_;
  const bool by_agent_;
  const uint32_t fork_generation_;
};

class IncomingRing : public IncomingLane {
 public:
  // `mute`: its sender may send nothing, so whatever it writes is no message.
  IncomingRing(uint64_t id, const ProcessId& sender, bool same_user,
               std::shared_ptr<LinkMemory> link, bool by_agent = false, bool mute = false);
  RingReader& reader() { return reader_; }
  bool mute() const { return mute_; }

 private:
  void GiveBack(int priority, uint32_t cell, uint64_t sequence) override {
    reader_.ReleaseCell(priority, cell, sequence);
  }

  const std::shared_ptr<LinkMemory> link_;
  const bool mute_;
  RingReader reader_;
};

// Both memories of a cell lane, as a receiver maps them. The receivers of one process share it.
struct CellMemory {
  CellGeometry geometry;
  Mapping data;   // read-only
  Mapping state;  // read-write
};

class IncomingCells : public IncomingLane {
 public:
  IncomingCells(uint64_t id, const ProcessId& sender, bool same_user,
                std::shared_ptr<const CellMemory> memory, bool by_agent = false);
  CellReader& reader() { return reader_; }

 private:
  void GiveBack(int priority, uint32_t cell, uint64_t sequence) override {
    reader_.Done(priority, cell, sequence);
  }

  const std::shared_ptr<const CellMemory> memory_;
  CellReader reader_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_INCOMING_LANE_H_
