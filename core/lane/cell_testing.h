// What the tests of the mailbox lane share.
#ifndef MAILRAIL_CORE_LANE_CELL_TESTING_H_
#define MAILRAIL_CORE_LANE_CELL_TESTING_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/lane/cell_reader.h"
#include "core/lane/cell_writer.h"
#include "core/lane/lane_testing.h"

namespace mailrail {

// The smallest lane: 16 slots for each priority.
inline constexpr CellGeometry kSmallCells = {.slots = 16, .slab_bytes = 64 << 10};

// The memory of a mailbox lane, mapped once for the sender and once for all receivers.
// ThreadSanitizer knows memory by its address: under it both are one mapping.
struct CellLane {
  explicit CellLane(const CellGeometry& shape, uint32_t messages = 16)
      : geometry(shape),
        capacity(messages),
        data(shape.data_bytes()),
        state(shape.state_bytes()),
        other_state(state.MapWritable()) {
    Require(shape.Valid(), "a valid geometry");
  }

  CellWriter NewWriter() const {
    return CellWriter(geometry, capacity, data.writable(), state.writable());
  }
  CellReader NewReader() const {
#ifdef __SANITIZE_THREAD__
    return CellReader(geometry, data.seen_by_other(), state.writable());
#else
    return CellReader(geometry, data.seen_by_other(), other_state.data());
#endif
  }

  CellGeometry geometry;
  uint32_t capacity;
  TwiceMapped data;
  TwiceMapped state;
  Mapping other_state;
};

// Sends a payload where it belongs: in a slot, or in the slab. False when there is no room.
inline bool Send(CellWriter* writer, int priority, const Payload& payload, uint64_t stamp,
                 size_t max_inline = Slot::kInlineBytes, const CellOptions& options = {}) {
  if (payload.size() <= max_inline) {
    return writer->Append(priority, payload, stamp, Publication::kFenced, options);
  }
  const absl::optional<SlabRoom> room =
      writer->Allocate(payload.size(), priority >= kUrgentPriority);
  if (!room.has_value()) return false;
  payload.prefix.copy(room->data, payload.prefix.size());
  payload.body.copy(room->data + payload.prefix.size(), payload.body.size());
  if (writer->AppendSlab(priority, *room, static_cast<uint32_t>(payload.size()),
                         !payload.prefix.empty(), stamp, options)) {
    return true;
  }
  writer->Free(*room);
  return false;
}

// A claimed message.
struct Leased {
  CellHead head;
  Record record;

  absl::string_view body() const { return {record.data, record.length}; }
};

// Claims the next message, or finds none. A lane that is not well-formed ends the test.
inline absl::optional<Leased> Lease(CellReader* reader, int priority, uint32_t owner) {
  Leased leased;
  for (;;) {
    const Look look = reader->Peek(priority, &leased.head);
    Require(look != Look::kCorrupt, "a well-formed lane");
    if (look == Look::kEmpty) return absl::nullopt;
    if (reader->Claim(priority, leased.head, owner)) break;
  }
  Require(reader->Read(priority, leased.head, &leased.record) == Look::kReady,
          "a well-formed message");
  return leased;
}

// Claims, copies and finishes the next message, or finds none.
inline absl::optional<std::string> Receive(CellReader* reader, int priority, uint32_t owner) {
  const absl::optional<Leased> leased = Lease(reader, priority, owner);
  if (!leased.has_value()) return absl::nullopt;
  std::string body(leased->body());
  Require(reader->Take(priority, leased->head.slot, leased->head.position, owner, false),
          "what one holds one can take");
  return body;
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_TESTING_H_
