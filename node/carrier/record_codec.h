// How messages are packed into proto::Data.records. Each is
//
//   length  4 bytes, little-endian: of the payload
//   flags   4 bytes, little-endian: bit 0: the payload begins with a prefix; all others are 0
//   payload
//
// and they follow each other without padding. A prefix (core/message/prefix.h) travels as it is.
#ifndef MAILRAIL_NODE_CARRIER_RECORD_CODEC_H_
#define MAILRAIL_NODE_CARRIER_RECORD_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/lane/record.h"
#include "core/message/prefix.h"

namespace mailrail {

inline constexpr size_t kPackedHeadBytes = 8;

// How many bytes a record takes when it is packed.
inline size_t PackedBytes(const Record& record) { return kPackedHeadBytes + record.length; }

// Appends one record, whose bytes are read once. False when it has a prefix that is not well-formed
// as far as its length goes; then `packed` is as it was.
bool PackRecord(const Record& record, std::string* packed);

// Takes the first record off `packed`, and shows it in place; false when it is not well-formed.
bool UnpackRecord(absl::string_view* packed, Payload* payload);

// How many records there are; nothing when one of them is not well-formed.
absl::optional<uint64_t> CountRecords(absl::string_view packed);

// How far sequence number `a` is after `b`. Of a sequence number only the low half is in shared
// memory for certain, so numbers are compared by it.
inline int32_t SequenceDistance(uint64_t a, uint64_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_RECORD_CODEC_H_
