// Sizes, durations and modes as people write them on a command line, in the environment, in a file.
// What cannot be read is kInvalidArgument, with an example of what can.
#ifndef MAILRAIL_NODE_CONFIG_UNITS_H_
#define MAILRAIL_NODE_CONFIG_UNITS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace mailrail {

// A whole number from `min` to `max`, in decimal digits.
absl::StatusOr<uint64_t> ReadNumber(absl::string_view text, uint64_t min, uint64_t max);

// How many of something, at least one.
absl::StatusOr<uint64_t> ReadCount(absl::string_view text);

// Bytes: "4096", "64K", "4M", "1G", and "64KiB" for the same; K is 1024.
absl::StatusOr<uint64_t> ReadSize(absl::string_view text);

// "250ms", "10s", "1m30s", "inf"; a bare number is in seconds. Never negative.
absl::StatusOr<absl::Duration> ReadDuration(absl::string_view text);

// Permissions of a file, in octal digits: "0660".
absl::StatusOr<uint32_t> ReadMode(absl::string_view text);

// "HOST:PORT", "[::1]:PORT"; returned as it is. The port may be 0 if `any_port`.
absl::StatusOr<std::string> ReadAddress(absl::string_view text, bool any_port);

// "64K" where that is exact, else the number of bytes.
std::string FormatSize(uint64_t bytes);

// "0660".
std::string FormatMode(uint32_t mode);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CONFIG_UNITS_H_
