// Packets between an agent and its keeper. Every packet has the same layout, integers
// little-endian:
//
//   u8 kind, u32 number, u32 length of key, key, u32 length of value, value
//
// A request is answered by exactly one reply, and the next request is sent after that, so that at
// most one record's descriptors are in flight. Descriptors travel beside kPut and kRecord alone.
#ifndef MAILRAIL_NODE_KEEPER_CODEC_H_
#define MAILRAIL_NODE_KEEPER_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mailrail {

// Limits of one kept record.
inline constexpr size_t kMaxKeptKeyBytes = 1024;
inline constexpr size_t kMaxKeptValueBytes = 32 * 1024;
inline constexpr size_t kMaxKeptFds = 16;

enum class KeeperPacketKind : uint8_t {
  // Requests.
  kPut = 1,       // key, value, descriptors
  kPutValue = 2,  // key, value; the record's descriptors stay
  kDrop = 3,      // key
  kNext = 4,      // key: the first record after it is asked for; empty: the first of all
  kLeave = 5,     // number: the agent is about to exit with this code
  // Replies.
  kDone = 64,    // number: a status code; value: the error's text
  kRecord = 65,  // key, value, descriptors
  kEnd = 66,     // there is no record after the key
};

// One packet, less its descriptors. `key` and `value` are not owned.
struct KeeperPacket {
  KeeperPacketKind kind;
  uint32_t number = 0;
  absl::string_view key = {};
  absl::string_view value = {};
};

// REQUIRES: `key` and `value` are within the limits.
std::string EncodeKeeperPacket(const KeeperPacket& packet);

// The result points into `bytes`. kInvalidArgument for anything but one whole packet within the
// limits.
absl::StatusOr<KeeperPacket> DecodeKeeperPacket(absl::string_view bytes);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_CODEC_H_
