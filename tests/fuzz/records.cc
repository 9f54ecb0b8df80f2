// What stands before a body in a lane, and how messages are packed on their way to another node.
// What is read well and written again is the same.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/message/prefix.h"
#include "node/carrier/record_codec.h"
#include "tests/fuzz/input.h"

namespace mailrail {
namespace {

void ReadPrefix(absl::string_view bytes) {
  Prefix prefix;
  absl::string_view rest = bytes;
  if (!DecodePrefix(&rest, &prefix)) return;
  Promise(rest.size() <= bytes.size(), "a prefix is in front of the body");
  const std::string encoded = EncodePrefix(prefix);
  if (encoded.empty()) return;
  Prefix again;
  absl::string_view written = encoded;
  Promise(DecodePrefix(&written, &again) && written.empty() && again.sender == prefix.sender &&
              again.sequence == prefix.sequence && again.attempts == prefix.attempts,
          "a prefix that is written is the same");
}

void ReadRecords(absl::string_view packed) {
  const absl::optional<uint64_t> count = CountRecords(packed);
  uint64_t unpacked = 0;
  size_t bytes = 0;
  Payload payload;
  absl::string_view rest = packed;
  while (!rest.empty() && UnpackRecord(&rest, &payload)) {
    ++unpacked;
    bytes += kPackedHeadBytes + payload.size();
    Promise(bytes + rest.size() == packed.size(), "records follow each other without a gap");
    const std::string joined = absl::StrCat(payload.prefix, payload.body);
    Record record;
    record.data = joined.data();
    record.length = static_cast<uint32_t>(joined.size());
    record.has_prefix = !payload.prefix.empty();
    std::string again;
    Promise(PackRecord(record, &again), "what was unpacked is packed again");
    Promise(again == packed.substr(bytes - again.size(), again.size()),
            "a record that is packed again is the same");
  }
  Promise(count.has_value() == rest.empty(), "records are counted when all of them can be read");
  if (count.has_value()) Promise(*count == unpacked, "each record is counted once");
}

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  if (input.Bool()) {
    mailrail::ReadPrefix(input.Rest());
  } else {
    mailrail::ReadRecords(input.Rest());
  }
  return 0;
}
