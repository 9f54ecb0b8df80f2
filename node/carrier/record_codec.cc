#include "node/carrier/record_codec.h"

#include <bit>
#include <cstring>

#include "core/base/seeded_bug.h"

namespace mailrail {
namespace {

constexpr uint32_t kHasPrefix = 1;
constexpr size_t kPrefixLengthBytes = 2;

uint32_t LittleEndian(uint32_t value) {
  return std::endian::native == std::endian::little ? value : __builtin_bswap32(value);
}

uint32_t ReadNumber(absl::string_view bytes, size_t at) {
  uint32_t value;
  memcpy(&value, bytes.data() + at, sizeof(value));
  return LittleEndian(value);
}

size_t Byte(absl::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

// Where the body begins in a payload that begins with a prefix.
absl::optional<size_t> PrefixBytes(absl::string_view bytes) {
  if (bytes.size() < kPrefixLengthBytes) return absl::nullopt;
  const size_t length = Byte(bytes, 0) | Byte(bytes, 1) << 8;
  if (length < kPrefixLengthBytes || length > bytes.size()) return absl::nullopt;
  return length;
}

}  // namespace

bool PackRecord(const Record& record, std::string* packed) {
  const size_t before = packed->size();
  const uint32_t head[] = {LittleEndian(record.length),
                           LittleEndian(record.has_prefix ? kHasPrefix : 0)};
  static_assert(sizeof(head) == kPackedHeadBytes);
  packed->append(reinterpret_cast<const char*>(head), sizeof(head));
  packed->append(record.data, record.length);
  // The copy is checked: the sender could change the original.
  const absl::string_view copy = absl::string_view(*packed).substr(before + kPackedHeadBytes);
  if (!record.has_prefix || PrefixBytes(copy).has_value()) return true;
  packed->resize(before);
  return false;
}

bool UnpackRecord(absl::string_view* packed, Payload* payload) {
  if (packed->size() < kPackedHeadBytes) return false;
  const uint32_t length = ReadNumber(*packed, 0);
  const uint32_t flags = ReadNumber(*packed, 4);
  if ((flags & ~kHasPrefix) != 0) return false;
  if (packed->size() - kPackedHeadBytes < length && !SEEDED_BUG(RECORD_LENGTH_NOT_CHECKED)) {
    return false;
  }
  const absl::string_view bytes = packed->substr(kPackedHeadBytes, length);
  size_t prefix = 0;
  if (flags == kHasPrefix) {
    const absl::optional<size_t> found = PrefixBytes(bytes);
    if (!found.has_value()) return false;
    prefix = *found;
  }
  payload->prefix = bytes.substr(0, prefix);
  payload->body = bytes.substr(prefix);
  packed->remove_prefix(kPackedHeadBytes + length);
  return true;
}

absl::optional<uint64_t> CountRecords(absl::string_view packed) {
  uint64_t count = 0;
  Payload payload;
  for (; !packed.empty(); ++count) {
    if (!UnpackRecord(&packed, &payload)) return absl::nullopt;
  }
  return count;
}

}  // namespace mailrail
