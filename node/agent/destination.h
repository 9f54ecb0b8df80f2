#ifndef MAILRAIL_NODE_AGENT_DESTINATION_H_
#define MAILRAIL_NODE_AGENT_DESTINATION_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "core/mailbox/control_page.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"

namespace mailrail {

// The shared memory of one inbox or mailbox beside its lanes: the control page, which this agent
// writes, the bell, which its receivers write, and the gate, which everybody does.
//
// Move-only. One thread at a time.
class Destination {
 public:
  Destination() = default;

  // New memory; `name` shows in /proc/PID/maps. Behind the control page there may be more.
  static absl::StatusOr<Destination> Create(const std::string& name,
                                            size_t control_bytes = sizeof(ControlPage));
  // What an agent before this one created: control, bell, gate. REQUIRES: 3 descriptors.
  static absl::StatusOr<Destination> Adopt(std::vector<Fd> fds);

  // Descriptors to keep.
  std::vector<int> fds() const { return {control_.get(), bell_.get(), gate_.get()}; }

  // Descriptors for a receiver (control RO, bell RW, gate RW) and for a sender (control RO, bell
  // RO, gate RW).
  absl::StatusOr<std::vector<Fd>> GrantReceiver() const { return Grant(true); }
  absl::StatusOr<std::vector<Fd>> GrantSender() const { return Grant(false); }

  ControlPage* page() const { return reinterpret_cast<ControlPage*>(control_map_.data()); }
  uint32_t version() const { return page()->members_version.load(); }
  // The version after the change that is being announced.
  uint32_t next_version() const { return version() + 1; }
  // A version by which no receiver knows all lanes: of what is announced again, in any order.
  uint32_t past_version() const { return version() - 1; }
  // The change was announced to the receivers: from now on who looks must know of it.
  void BumpVersion();
  // No message is taken in from now on; receivers and senders find out.
  void Close(CloseReason reason);
  CloseReason reason() const { return static_cast<CloseReason>(page()->closed.load()); }
  bool closed() const { return reason() != CloseReason::kOpen; }
  // Has the receiver with this number be the one that may claim; 0: nobody may. True, and wakes all
  // receivers, when that was not so before.
  bool SetHolder(uint32_t number);
  // Has messages be assigned to the receivers with these numbers, and wakes all, if it was not so.
  void SetReceivers(const std::vector<uint32_t>& numbers);
  // Wakes all receivers.
  void Ring();

  // Mappings of its own for a part of the agent that sends to or receives from it.
  absl::StatusOr<Mapping> MapControl(size_t bytes = sizeof(ControlPage)) const;
  absl::StatusOr<Mapping> MapBell() const;
  absl::StatusOr<Mapping> MapGate() const;
  // All that a sender needs: this control page, with the bell and gate of `bell`, which is this or
  // what rings for it.
  absl::StatusOr<DestinationMemory> MapSender(const Destination& bell) const;
  Fd DuplicateGate() const { return gate_.Duplicate(); }

 private:
  absl::StatusOr<std::vector<Fd>> Grant(bool receiver) const;
  absl::Status Map();

  Fd control_;
  Fd bell_;
  Fd gate_;
  Mapping control_map_;
  Mapping gate_map_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_DESTINATION_H_
