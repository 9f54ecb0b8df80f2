#include "core/message/prefix.h"

#include <cstdint>

#include "absl/status/statusor.h"

namespace mailrail {
namespace {

constexpr uint8_t kSenderField = 1;

uint8_t Byte(absl::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

}  // namespace

std::string EncodePrefix(const Prefix& prefix) {
  std::string bytes;
  if (!prefix.sender.has_value()) return bytes;
  const std::string sender = prefix.sender->ToString();
  const size_t size = 2 + 2 + sender.size();
  bytes.push_back(static_cast<char>(size & 0xff));
  bytes.push_back(static_cast<char>(size >> 8));
  bytes.push_back(static_cast<char>(kSenderField));
  bytes.push_back(static_cast<char>(sender.size()));
  return bytes + sender;
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
    }
    fields.remove_prefix(2 + value.size());
  }
  return true;
}

}  // namespace mailrail
