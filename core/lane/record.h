#ifndef MAILRAIL_CORE_LANE_RECORD_H_
#define MAILRAIL_CORE_LANE_RECORD_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/shm/publication.h"

namespace mailrail {

// What a look at a lane found.
enum class Look {
  kEmpty,
  kReady,
  kCorrupt,  // not well-formed: the sender's fault; close the lane
};

// The bytes of one message to be sent: an optional prefix (core/message/prefix.h) and the body.
struct Payload {
  absl::string_view prefix;
  absl::string_view body;

  size_t size() const { return prefix.size() + body.size(); }
};

// One message as it stands in a lane: every field was copied out of shared memory and checked, so
// that [data, data + length) is inside the mapping whatever the sender does. The bytes themselves
// the sender could still change.
struct Record {
  const char* data = nullptr;
  uint32_t length = 0;
  bool has_prefix = false;
  bool in_slab = false;   // else small, to be copied out
  uint32_t cell = 0;      // of the slab room (ring lanes) or the slot (cell lanes)
  uint64_t sequence = 0;  // counts the messages of the lane at this priority from 1
  uint64_t stamp = 0;     // core/shm/stamp.h
  uint32_t end_line = 0;  // ring lanes: where the next record begins
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RECORD_H_
