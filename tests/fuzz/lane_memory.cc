#include "tests/fuzz/lane_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace mailrail {
namespace {

// More than a slot number of 16 bits could be away.
constexpr size_t kGuardBytes = size_t{16} << 20;
constexpr size_t kPage = 4096;

constexpr int kPriorities[] = {0, 12, 24, 31};

void Store(char* at, uint64_t word) {
  reinterpret_cast<SharedAtomic<uint64_t>*>(at)->store(word, std::memory_order_relaxed);
}

// A record's head that is nearly right.
void WriteHead(Input* input, char* line) {
  const auto kind = static_cast<RecordKind>(input->Below(5));
  const bool has_prefix = input->Byte() >= 0xe0;
  const auto length = static_cast<uint32_t>(input->Number()) & 0xfffffff;
  const uint64_t sequence = input->Number();
  if (kind == RecordKind::kSlab) {
    Store(line + 16, input->Number());
    Store(line + 24, input->Number());
  }
  Store(line, PackHead(kind, has_prefix, length, sequence));
}

// A message that is nearly right, with its entry.
void WriteMessage(Input* input, char* data, int priority, uint32_t index) {
  auto* const header = reinterpret_cast<CellHeader*>(data);
  header->rings_in_use.fetch_or(uint32_t{1} << priority);
  Slot& slot = reinterpret_cast<Slot*>(data + kFuzzCells.slot_offset(priority))[index];
  const uint64_t position = input->Bool() ? 1 + input->Below(4) : input->Number();
  slot.sequence = position;
  slot.stamp = input->Number();
  slot.length = static_cast<uint32_t>(input->Number());
  slot.flags = input->Below(4);
  slot.slab_at = input->Number();
  Store(data + kFuzzCells.order_offset(priority) +
            size_t{8} * (position & (kFuzzCells.order_entries() - 1)),
        OrderEntry{position & 0xffffffffffff, index}.Pack());
}

}  // namespace

GuardedMemory::GuardedMemory(size_t bytes)
    : bytes_(bytes), fd_(CreateMemory("fuzz", bytes + kGuardBytes).value()) {
  Promise(bytes % kPage == 0, "whole pages");
}

Mapping GuardedMemory::Map(Access access) const {
  Mapping mapping = Mapping::Map(fd_, bytes_ + kGuardBytes, access).value();
  Promise(mprotect(mapping.data() + bytes_, kGuardBytes, PROT_NONE) == 0, "guarded memory");
  return mapping;
}

bool IsInside(const Mapping& memory, size_t bytes, const char* at, size_t length) {
  const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(memory.data());
  return offset <= bytes && length <= bytes - offset;
}

FuzzDestination::FuzzDestination()
    : control_(kPage),
      bell_(kPage),
      gate_(kPage),
      control_map_(control_.Map(Access::kReadWrite)),
      bell_map_(bell_.Map(Access::kReadWrite)),
      gate_map_(gate_.Map(Access::kReadWrite)) {
  control().magic = kControlMagic;
}

DestinationMemory FuzzDestination::ForSender() const {
  return {control_.Map(Access::kReadOnly), bell_.Map(Access::kReadOnly),
          gate_.Map(Access::kReadWrite)};
}

RingLane::RingLane(const ProcessId& sender_id, const FuzzDestination& destination,
                   const MailboxOptions& own_limits)
    : id(sender_id),
      sender(std::make_shared<OutgoingLane>("inbox", own_limits, SenderLink(),
                                            destination.ForSender())) {}

std::shared_ptr<LinkMemory> RingLane::SenderLink() const {
  return std::make_shared<LinkMemory>(LinkMemory{kFuzzRing, sender_memory.Map(Access::kReadWrite),
                                                 receiver_memory.Map(Access::kReadOnly)});
}

std::shared_ptr<LinkMemory> RingLane::ReceiverLink() const {
  return std::make_shared<LinkMemory>(LinkMemory{kFuzzRing, receiver_memory.Map(Access::kReadWrite),
                                                 sender_memory.Map(Access::kReadOnly)});
}

CellLane::CellLane(const ProcessId& sender_id, uint32_t number, const FuzzDestination& destination,
                   const MailboxOptions& own_limits)
    : id(sender_id),
      sender(std::make_shared<OutgoingLane>(
          "mailbox", own_limits, kFuzzCells, data.Map(Access::kReadWrite),
          state.Map(Access::kReadWrite), number, destination.ForSender())) {}

std::shared_ptr<const CellMemory> CellLane::ReceiverMemory() const {
  return std::make_shared<const CellMemory>(
      CellMemory{kFuzzCells, data.Map(Access::kReadOnly), state.Map(Access::kReadWrite)});
}

int AnyPriority(Input* input) { return kPriorities[input->Below(4)]; }

void ChangeWord(Input* input, char* at) {
  auto* const word = reinterpret_cast<SharedAtomic<uint64_t>*>(at);
  switch (input->Below(5)) {
    case 0:
      word->store(input->Number());
      break;
    case 1:
      word->store(word->load() + input->Number() - 2);
      break;
    case 2:
      word->store(word->load() ^ uint64_t{1} << input->Below(64));
      break;
    case 3:  // each half by itself
      word->store(input->Number() << 32 | static_cast<uint32_t>(input->Number()));
      break;
    default:
      word->store(0);
  }
}

void SpoilRing(Input* input, char* memory) {
  char* const ring = memory + kFuzzRing.ring_offset(AnyPriority(input));
  // Inputs are short: most of what they send stands at the beginning.
  char* const line = ring + size_t{kLine} * input->Below(input->Bool() ? 16 : 256);
  switch (input->Below(6)) {
    case 0:
      return WriteHead(input, line);
    case 1:
      return ChangeWord(input, line);
    case 2:
      return ChangeWord(input, line + size_t{8} * input->Below(8));
    case 3:
      return ChangeWord(input, memory + size_t{128} * input->Below(sizeof(RingHeader) / 128));
    case 4:
      return ChangeWord(
          input, memory + kFuzzRing.cell_offset() + size_t{8} * input->Below(3 * kFuzzRing.cells));
    default:
      return ChangeWord(input, memory + kFuzzRing.slab_offset() + size_t{8} * input->Below(8192));
  }
}

void SpoilRingReceiver(Input* input, char* memory) {
  switch (input->Below(4)) {
    case 0:
    case 1:
      return ChangeWord(input,
                        memory + 4096 + size_t{128} * static_cast<size_t>(AnyPriority(input)));
    case 2:
      return ChangeWord(
          input, memory + kFuzzRing.done_offset() + size_t{8} * input->Below(kFuzzRing.cells));
    default:
      return ChangeWord(input, memory + size_t{8} * input->Below(sizeof(RingHeader) / 8));
  }
}

void SpoilCellData(Input* input, char* data) {
  const int priority = AnyPriority(input);
  const uint32_t index = input->Below(kFuzzCells.slots);
  char* const slot = data + kFuzzCells.slot_offset(priority) + sizeof(Slot) * index;
  switch (input->Below(8)) {
    case 0:
      return ChangeWord(input, data + kFuzzCells.order_offset(priority) +
                                   size_t{8} * input->Below(kFuzzCells.order_entries()));
    case 1:  // an entry that is nearly right
      Store(data + kFuzzCells.order_offset(priority) +
                size_t{8} * input->Below(kFuzzCells.order_entries()),
            OrderEntry{input->Number() & 0xffffffffffff, static_cast<uint32_t>(input->Below(20))}
                .Pack());
      return;
    case 2:
      return ChangeWord(input, slot);
    case 3:  // length and flags
      return ChangeWord(input, slot + offsetof(Slot, length));
    case 4:
      return ChangeWord(input, slot + offsetof(Slot, slab_at));
    case 5:
    case 6:
      return WriteMessage(input, data, priority, index);
    default:
      return ChangeWord(input, data + size_t{128} * input->Below(sizeof(CellHeader) / 128));
  }
}

void SpoilCellState(Input* input, char* state) {
  char* const cell = state + kFuzzCells.state_offset(AnyPriority(input)) +
                     size_t{8} * input->Below(kFuzzCells.slots);
  switch (input->Below(4)) {
    case 0:
      return ChangeWord(input, cell);
    case 1:
    case 2: {
      const auto sequence = static_cast<uint32_t>(input->Number());
      const uint32_t owner = 6 + input->Below(4);
      const uint32_t attempts = input->Below(kMaxAttempts + 1);
      return Store(
          cell, CellState{sequence, owner, attempts, static_cast<Phase>(input->Below(6))}.Pack());
    }
    default:
      return ChangeWord(input, state + size_t{128} * input->Below(sizeof(StateHeader) / 128));
  }
}

std::string SoundBody(int priority, uint64_t number, size_t size) {
  std::string body(std::max<size_t>(size, 16), '\0');
  uint64_t word = number * kPriorityCount + static_cast<uint64_t>(priority);
  for (size_t at = 0; at < body.size(); at += sizeof(word)) {
    memcpy(body.data() + at, &word, std::min(sizeof(word), body.size() - at));
    word = word * 6364136223846793005 + 1442695040888963407;
  }
  return body;
}

}  // namespace mailrail
