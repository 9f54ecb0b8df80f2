// What may stand before the body of a message in a lane.
//
// A prefix is its own length (2 bytes, little-endian, these included), then fields: type (1 byte),
// length (1 byte; of types from 128 on 2 bytes, little-endian), bytes. Unknown types are skipped,
// so that later versions may add some.
#ifndef MAILRAIL_CORE_MESSAGE_PREFIX_H_
#define MAILRAIL_CORE_MESSAGE_PREFIX_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

struct Prefix {
  // Who sent the message, when it is not the lane's owner: one-shot senders share a lane of the
  // agent's.
  absl::optional<ProcessId> sender = {};

  // Its sequence number in the mailbox of another node, and how often it was handed out before,
  // when it comes through a private mailbox of the receiver's agent. 0: the lane says it.
  uint64_t sequence = 0;
  uint8_t attempts = 0;

  // Of a dead letter: why it is one, and the mailbox that it was sent to.
  DeadLetterReason dead_letter_reason = DeadLetterReason::kNone;
  std::string dead_letter_mailbox = "";

  // What any sender may say.
  // When it expires, by MonotonicTime of this host; between hosts: how many nanoseconds are left.
  // 0: never.
  int64_t expires_ns = 0;
  // Before when it is not to be received, likewise: on the way to another node alone, since a cell
  // says it itself. 0: at once.
  int64_t due_ns = 0;
  std::vector<Header> headers = {};
  std::string reply_to = "";
  std::string key = "";
  // Of a request: what its answer is to say too, so that its caller knows it; of an answer: that.
  // 0: it is neither.
  uint64_t call = 0;
  // Its sender is to be told of its end, by this number. 0: it is not.
  uint64_t receipt = 0;

  // Whether it says what only an agent may say.
  bool NeedsAgent() const {
    return sender.has_value() || sequence != 0 || attempts != 0 ||
           dead_letter_reason != DeadLetterReason::kNone;
  }
  // Whether it says what a Message has no place of its own for.
  bool HasExtras() const {
    return dead_letter_reason != DeadLetterReason::kNone || !headers.empty() || !reply_to.empty() ||
           !key.empty() || call != 0;
  }
};

// A prefix is no longer than this.
inline constexpr size_t kLargestPrefixBytes = 0xffff;

// Empty when nothing is set.
std::string EncodePrefix(const Prefix& prefix);

// Reads the prefix at the front of `payload` and takes it off; false when it is not well-formed.
bool DecodePrefix(absl::string_view* payload, Prefix* prefix);

// A hash of a key, in 16 bits; never 0.
uint32_t KeyHash(absl::string_view key);
// The hash of the key in the prefix at the front of `payload`; 0: it has none.
uint32_t KeyHashIn(absl::string_view payload);

// Adds `nanoseconds` to when the message expires and is due whose prefix this is, if it says so;
// the results are never 0. REQUIRES: it is well-formed.
void ShiftTimes(char* prefix, int64_t nanoseconds);

// Whether the payload begins with a prefix that says that it has expired by `now_ns`. It may be in
// memory that its sender may change.
bool HasExpired(absl::string_view payload, int64_t now_ns);

// As DecodePrefix where the payload is in memory that its sender may change meanwhile.
bool DecodeCopyOfPrefix(absl::string_view* payload, Prefix* prefix);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MESSAGE_PREFIX_H_
