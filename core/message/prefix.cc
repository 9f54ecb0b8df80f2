#include "core/message/prefix.h"

#include <cstdint>

#include "absl/status/statusor.h"

namespace mailrail {
namespace {

constexpr uint8_t kSenderField = 1;
constexpr uint8_t kSequenceField = 2;
constexpr uint8_t kAttemptsField = 3;
constexpr uint8_t kDeadLetterField = 4;  // the reason (1 byte), the name of the mailbox
constexpr uint8_t kExpiresField = 5;     // 8 bytes, little-endian
constexpr uint8_t kCallField = 6;        // 8 bytes, little-endian
constexpr uint8_t kDueField = 7;         // 8 bytes, little-endian
constexpr uint8_t kReceiptField = 9;     // 8 bytes, little-endian
constexpr uint8_t kReplyToField = 128;
constexpr uint8_t kHeaderField = 129;  // the length of the name (2 bytes), the name, the value
constexpr uint8_t kKeyField = 130;

// Types from here on have lengths of two bytes.
constexpr uint8_t kFirstLongField = 128;

std::string TwoBytes(size_t number) {
  const char bytes[2] = {static_cast<char>(number & 0xff), static_cast<char>(number >> 8)};
  return std::string(bytes, 2);
}

uint8_t Byte(absl::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

// The first two of at least as many bytes.
size_t NumberAt(absl::string_view bytes, size_t at) {
  return Byte(bytes, at) | static_cast<size_t>(Byte(bytes, at + 1)) << 8;
}

std::string EightBytes(uint64_t number) {
  char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(number >> (8 * i));
  return std::string(bytes, 8);
}

uint64_t EightBytesAt(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number |= uint64_t{Byte(bytes, i)} << (8 * i);
  return number;
}

bool DecodeHeader(absl::string_view value, std::vector<Header>* headers) {
  if (value.size() < 2 || value.size() - 2 < NumberAt(value, 0)) return false;
  const size_t name = NumberAt(value, 0);
  headers->push_back({std::string(value.substr(2, name)), std::string(value.substr(2 + name))});
  return true;
}

}  // namespace

std::string EncodePrefix(const Prefix& prefix) {
  std::string fields;
  const auto add = [&fields](uint8_t type, absl::string_view value) {
    fields.push_back(static_cast<char>(type));
    if (type >= kFirstLongField) {
      fields.append(TwoBytes(value.size()));
    } else {
      fields.push_back(static_cast<char>(value.size()));
    }
    fields.append(value.data(), value.size());
  };
  if (prefix.sender.has_value()) add(kSenderField, prefix.sender->ToString());
  if (prefix.sequence != 0) add(kSequenceField, EightBytes(prefix.sequence));
  if (prefix.attempts != 0) {
    const char byte = static_cast<char>(prefix.attempts);
    add(kAttemptsField, {&byte, 1});
  }
  if (prefix.dead_letter_reason != DeadLetterReason::kNone) {
    add(kDeadLetterField,
        std::string(1, static_cast<char>(prefix.dead_letter_reason)) + prefix.dead_letter_mailbox);
  }
  if (prefix.expires_ns != 0)
    add(kExpiresField, EightBytes(static_cast<uint64_t>(prefix.expires_ns)));
  if (prefix.due_ns != 0) add(kDueField, EightBytes(static_cast<uint64_t>(prefix.due_ns)));
  if (prefix.call != 0) add(kCallField, EightBytes(prefix.call));
  if (prefix.receipt != 0) add(kReceiptField, EightBytes(prefix.receipt));
  if (!prefix.reply_to.empty()) add(kReplyToField, prefix.reply_to);
  if (!prefix.key.empty()) add(kKeyField, prefix.key);
  for (const Header& header : prefix.headers) {
    add(kHeaderField, TwoBytes(header.name.size()) + header.name + header.value);
  }
  if (fields.empty()) return fields;
  return TwoBytes(2 + fields.size()) + fields;
}

bool DecodePrefix(absl::string_view* payload, Prefix* prefix) {
  if (payload->size() < 2) return false;
  const size_t size = NumberAt(*payload, 0);
  if (size < 2 || size > payload->size()) return false;
  absl::string_view fields = payload->substr(2, size - 2);
  payload->remove_prefix(size);
  while (!fields.empty()) {
    const uint8_t type = Byte(fields, 0);
    const size_t head = type >= kFirstLongField ? 3 : 2;
    if (fields.size() < head) return false;
    const size_t length = head == 3 ? NumberAt(fields, 1) : Byte(fields, 1);
    if (fields.size() - head < length) return false;
    const absl::string_view value = fields.substr(head, length);
    fields.remove_prefix(head + length);
    if (type == kSenderField) {
      absl::StatusOr<ProcessId> sender = ProcessId::Parse(value);
      if (!sender.ok()) return false;
      prefix->sender = *sender;
    } else if (type == kSequenceField && value.size() == 8) {
      prefix->sequence = EightBytesAt(value);
    } else if (type == kExpiresField && value.size() == 8) {
      prefix->expires_ns = static_cast<int64_t>(EightBytesAt(value));
    } else if (type == kDueField && value.size() == 8) {
      prefix->due_ns = static_cast<int64_t>(EightBytesAt(value));
    } else if (type == kCallField && value.size() == 8) {
      prefix->call = EightBytesAt(value);
    } else if (type == kReceiptField && value.size() == 8) {
      prefix->receipt = EightBytesAt(value);
    } else if (type == kAttemptsField && value.size() == 1) {
      prefix->attempts = Byte(value, 0);
    } else if (type == kDeadLetterField && !value.empty()) {
      prefix->dead_letter_reason = static_cast<DeadLetterReason>(Byte(value, 0));
      prefix->dead_letter_mailbox = std::string(value.substr(1));
    } else if (type == kReplyToField) {
      prefix->reply_to = std::string(value);
    } else if (type == kKeyField) {
      prefix->key = std::string(value);
    } else if (type == kHeaderField && !DecodeHeader(value, &prefix->headers)) {
      return false;
    }
  }
  return true;
}

uint32_t KeyHash(absl::string_view key) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : key) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  hash = (hash ^ hash >> 16) & 0xffff;
  return hash == 0 ? 1 : static_cast<uint32_t>(hash);
}

uint32_t KeyHashIn(absl::string_view payload) {
  if (payload.size() < 2) return 0;
  const size_t size = NumberAt(payload, 0);
  if (size < 2 || size > payload.size()) return 0;
  absl::string_view fields = payload.substr(2, size - 2);
  while (!fields.empty()) {
    const uint8_t type = Byte(fields, 0);
    const size_t head = type >= kFirstLongField ? 3 : 2;
    if (fields.size() < head) return 0;
    const size_t length = head == 3 ? NumberAt(fields, 1) : Byte(fields, 1);
    if (fields.size() - head < length) return 0;
    if (type == kKeyField) return KeyHash(fields.substr(head, length));
    fields.remove_prefix(head + length);
  }
  return 0;
}

void ShiftTimes(char* prefix, int64_t nanoseconds) {
  absl::string_view fields(prefix, NumberAt({prefix, 2}, 0));
  fields.remove_prefix(2);
  while (!fields.empty()) {
    const bool is_long = Byte(fields, 0) >= kFirstLongField;
    const size_t length = is_long ? NumberAt(fields, 1) : Byte(fields, 1);
    const absl::string_view value = fields.substr(is_long ? 3 : 2, length);
    const uint8_t type = Byte(fields, 0);
    if ((type == kExpiresField || type == kDueField) && length == 8) {
      // Numbers that others have made up may overflow, which is no harm but theirs.
      const uint64_t shifted = EightBytesAt(value) + static_cast<uint64_t>(nanoseconds);
      EightBytes(shifted == 0 ? 1 : shifted).copy(prefix + (value.data() - prefix), 8);
    }
    fields.remove_prefix((is_long ? 3 : 2) + length);
  }
}

bool HasExpired(absl::string_view payload, int64_t now_ns) {
  Prefix prefix;
  return DecodeCopyOfPrefix(&payload, &prefix) && prefix.expires_ns != 0 &&
         prefix.expires_ns <= now_ns;
}

bool DecodeCopyOfPrefix(absl::string_view* payload, Prefix* prefix) {
  if (payload->size() < 2) return false;
  const size_t size = NumberAt(*payload, 0);
  if (size > payload->size()) return false;
  // It may say another length by now: then it is not well-formed, or does not end where it should.
  const std::string copy(payload->substr(0, size));
  absl::string_view rest = copy;
  if (!DecodePrefix(&rest, prefix) || !rest.empty()) return false;
  payload->remove_prefix(size);
  return true;
}

}  // namespace mailrail
