#include "core/message/prefix.h"

#include <cstdint>

#include "absl/status/statusor.h"

namespace mailrail {
namespace {

constexpr uint8_t kSenderField = 1;
constexpr uint8_t kSequenceField = 2;
constexpr uint8_t kAttemptsField = 3;
constexpr uint8_t kDeadLetterField = 4;  // the reason (1 byte), the name of the mailbox

uint8_t Byte(absl::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

}  // namespace

std::string EncodePrefix(const Prefix& prefix) {
  std::string fields;
  const auto add = [&fields](uint8_t type, absl::string_view value) {
    fields.push_back(static_cast<char>(type));
    fields.push_back(static_cast<char>(value.size()));
    fields.append(value.data(), value.size());
  };
  if (prefix.sender.has_value()) add(kSenderField, prefix.sender->ToString());
  if (prefix.sequence != 0) {
    char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(prefix.sequence >> (8 * i));
    add(kSequenceField, {bytes, 8});
  }
  if (prefix.attempts != 0) {
    const char byte = static_cast<char>(prefix.attempts);
    add(kAttemptsField, {&byte, 1});
  }
  if (prefix.dead_letter_reason != DeadLetterReason::kNone) {
    add(kDeadLetterField,
        std::string(1, static_cast<char>(prefix.dead_letter_reason)) + prefix.dead_letter_mailbox);
  }
  if (fields.empty()) return fields;
  const size_t size = 2 + fields.size();
  const char head[2] = {static_cast<char>(size & 0xff), static_cast<char>(size >> 8)};
  return std::string(head, 2) + fields;
}

bool DecodePrefix(absl::string_view* payload, Prefix* prefix) {
  if (payload->size() < 2) return false;
  const size_t size = Byte(*payload, 0) | static_cast<size_t>(Byte(*payload, 1)) << 8;
  if (size < 2 || size > payload->size()) return false;
  absl::string_view fields = payload->substr(2, size - 2);
  payload->remove_prefix(size);
  while (!fields.empty()) {
    if (fields.size() < 2 || fields.size() - 2 < Byte(fields, 1)) return false;
    const absl::string_view value = fields.substr(2, Byte(fields, 1));
    if (Byte(fields, 0) == kSenderField) {
      absl::StatusOr<ProcessId> sender = ProcessId::Parse(value);
      if (!sender.ok()) return false;
      prefix->sender = *sender;
    } else if (Byte(fields, 0) == kSequenceField && value.size() == 8) {
      prefix->sequence = 0;
      for (size_t i = 0; i < 8; ++i) prefix->sequence |= uint64_t{Byte(value, i)} << (8 * i);
    } else if (Byte(fields, 0) == kAttemptsField && value.size() == 1) {
      prefix->attempts = Byte(value, 0);
    } else if (Byte(fields, 0) == kDeadLetterField && !value.empty()) {
      prefix->dead_letter_reason = static_cast<DeadLetterReason>(Byte(value, 0));
      prefix->dead_letter_mailbox = std::string(value.substr(1));
    }
    fields.remove_prefix(2 + value.size());
  }
  return true;
}

}  // namespace mailrail
