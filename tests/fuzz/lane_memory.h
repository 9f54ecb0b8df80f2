// Shared memory for the targets that play both ends of a lane, and how an input changes it.
#ifndef MAILRAIL_TESTS_FUZZ_LANE_MEMORY_H_
#define MAILRAIL_TESTS_FUZZ_LANE_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "core/lane/cell_layout.h"
#include "core/lane/ring_layout.h"
#include "core/mailbox/control_page.h"
#include "core/mailbox/incoming_lane.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"
#include "mailrail/mailbox.h"
#include "mailrail/process_id.h"
#include "tests/fuzz/input.h"

namespace mailrail {

// What a party of a lane could read by a number that was not checked: after its end each mapping
// has pages that no access survives.
class GuardedMemory {
 public:
  // REQUIRES: `bytes` are whole pages.
  explicit GuardedMemory(size_t bytes);

  Mapping Map(Access access) const;
  size_t size() const { return bytes_; }

 private:
  const size_t bytes_;
  Fd fd_;
};

// Whether [at, at + length) is within the first `bytes` of `memory`.
bool IsInside(const Mapping& memory, size_t bytes, const char* at, size_t length);

// What a receiver shares with its senders.
class FuzzDestination {
 public:
  FuzzDestination();

  ControlPage& control() { return *reinterpret_cast<ControlPage*>(control_map_.data()); }
  BellWords& bell() { return *reinterpret_cast<BellWords*>(bell_map_.data()); }
  GateWord& gate() { return *reinterpret_cast<GateWord*>(gate_map_.data()); }
  DestinationMemory ForSender() const;

 private:
  const GuardedMemory control_, bell_, gate_;
  const Mapping control_map_, bell_map_, gate_map_;
};

// The smallest rings, so that inputs go round them: 256 lines each, of which a record takes up to
// 64.
inline constexpr RingGeometry kFuzzRing = {
    .ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 16};
inline constexpr CellGeometry kFuzzCells = {.slots = 16, .slab_bytes = 64 << 10};

// What the receivers of the targets take, and the largest body that the senders that misbehave
// send.
inline const MailboxOptions kFuzzLimits = {.max_message_bytes = 6000, .capacity_messages = 16};
inline constexpr size_t kTooManyBytes = 9000;

// A ring lane: both ends, and the sender's memory to be spoilt.
struct RingLane {
  // `own_limits`: what its sender thinks that may be sent.
  RingLane(const ProcessId& id, const FuzzDestination& destination,
           const MailboxOptions& own_limits);

  std::shared_ptr<LinkMemory> SenderLink() const;
  std::shared_ptr<LinkMemory> ReceiverLink() const;

  const ProcessId id;
  const GuardedMemory sender_memory{kFuzzRing.memory_bytes()};
  const GuardedMemory receiver_memory{kFuzzRing.memory_bytes()};
  const Mapping sender_map{sender_memory.Map(Access::kReadWrite)};
  const Mapping receiver_map{receiver_memory.Map(Access::kReadWrite)};
  std::shared_ptr<OutgoingLane> sender;
};

// A cell lane, likewise.
struct CellLane {
  CellLane(const ProcessId& id, uint32_t number, const FuzzDestination& destination,
           const MailboxOptions& own_limits);

  std::shared_ptr<const CellMemory> ReceiverMemory() const;

  const ProcessId id;
  const GuardedMemory data{kFuzzCells.data_bytes()};
  const GuardedMemory state{kFuzzCells.state_bytes()};
  const Mapping data_map{data.Map(Access::kReadWrite)};
  const Mapping state_map{state.Map(Access::kReadWrite)};
  std::shared_ptr<OutgoingLane> sender;
};

// One of four priorities, two of them urgent.
int AnyPriority(Input* input);

// Changes one of the words at which the reader of a lane looks, as the input says.
void SpoilRing(Input* input, char* sender_memory);
void SpoilRingReceiver(Input* input, char* receiver_memory);
void SpoilCellData(Input* input, char* data);
void SpoilCellState(Input* input, char* state);
// The word at `at`.
void ChangeWord(Input* input, char* at);

// The body of a sound sender's message number `number`: 16 bytes or more, each of which depends on
// the number and on its place.
std::string SoundBody(int priority, uint64_t number, size_t size);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FUZZ_LANE_MEMORY_H_
