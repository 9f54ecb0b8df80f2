// What the tests of the ring lane share.
#ifndef MAILRAIL_CORE_LANE_RING_TESTING_H_
#define MAILRAIL_CORE_LANE_RING_TESTING_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/lane/lane_testing.h"
#include "core/lane/ring_reader.h"
#include "core/lane/ring_writer.h"
#include "core/shm/reserve.h"

namespace mailrail {

// The smallest valid rings: 256 lines, of which the largest record takes 64.
inline constexpr RingGeometry kSmallRing = {
    .ring_bytes = 16384, .slab_bytes = 64 << 10, .cells = 16};

// The memories of a link's two parties. A lane runs from one to the other. ThreadSanitizer knows
// memory by its address: under it each is one mapping.
struct Link {
  explicit Link(const RingGeometry& shape)
      : geometry(shape), sender(shape.memory_bytes()), receiver(shape.memory_bytes()) {
    Require(shape.Valid(), "a valid geometry");
  }

  RingWriter NewWriter() const {
    return RingWriter(geometry, sender.writable(), receiver.seen_by_other());
  }
  RingReader NewReader() const {
    return RingReader(geometry, receiver.writable(), sender.seen_by_other());
  }

  RingGeometry geometry;
  TwiceMapped sender;
  TwiceMapped receiver;
};

// Never has more than the first page of a ring, and all of the rest.
class OnePageOfEachRing : public Reserve {
 public:
  OnePageOfEachRing(const RingGeometry& geometry, char* own) : geometry_(geometry), own_(own) {}

  bool Take(char* at, size_t bytes) override {
    const auto offset = static_cast<size_t>(at - own_);
    if (offset < geometry_.ring_offset(0) || offset >= geometry_.slab_offset()) return true;
    return (offset - geometry_.ring_offset(0)) % geometry_.ring_bytes == 0 && bytes <= 4096;
  }
  bool Count(size_t) override { return true; }
  bool Provide(char*, size_t) override { return true; }
  void Force(char*, size_t) override {}
  std::string Why() const override { return "one page is enough"; }

 private:
  const RingGeometry geometry_;
  char* const own_;
};

// Sends a payload where it belongs: in the ring, or in the slab. False when there is no room.
inline bool Send(RingWriter* writer, int priority, const Payload& payload, uint64_t stamp) {
  if (payload.size() <= kMaxInlineRecord) return writer->Append(priority, payload, stamp);
  const absl::optional<SlabRoom> room =
      writer->Allocate(payload.size(), priority >= kUrgentPriority);
  if (!room.has_value()) return false;
  payload.prefix.copy(room->data, payload.prefix.size());
  payload.body.copy(room->data + payload.prefix.size(), payload.body.size());
  if (writer->AppendSlab(priority, *room, static_cast<uint32_t>(payload.size()),
                         !payload.prefix.empty(), stamp)) {
    return true;
  }
  writer->Free(*room);
  return false;
}

// Receives one message, copies it and gives its room back, without telling the sender.
inline absl::optional<std::string> Receive(RingReader* reader, int priority,
                                           Record* record = nullptr) {
  Record own;
  if (record == nullptr) record = &own;
  if (reader->Peek(priority, record) != Look::kReady) return absl::nullopt;
  reader->Advance(priority, *record);
  std::string payload(record->data, record->length);
  reader->Consume(priority, *record);
  if (record->in_slab) reader->ReleaseCell(priority, record->cell, record->sequence);
  return payload;
}

// Sends and receives one small message, so that the next record begins a line later.
inline void MoveOneLine(RingWriter* writer, RingReader* reader, int priority) {
  Require(writer->Append(priority, {{}, "x"}, 0), "room for a line");
  Require(Receive(reader, priority) == "x", "a line");
  reader->Flush();
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_TESTING_H_
