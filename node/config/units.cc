#include "node/config/units.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace mailrail {
namespace {

struct Unit {
  char letter;
  int shift;
};
constexpr Unit kUnits[] = {{'G', 30}, {'M', 20}, {'K', 10}};

absl::Status Bad(absl::string_view text, absl::string_view what, absl::string_view example) {
  return absl::InvalidArgumentError(absl::StrCat("'", absl::CHexEscape(text.substr(0, 80)),
                                                 "' is no ", what, "; write ", example));
}

bool AllDigits(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return !text.empty();
}

}  // namespace

absl::StatusOr<uint64_t> ReadNumber(absl::string_view text, uint64_t min, uint64_t max) {
  uint64_t number = 0;
  if (!AllDigits(text) || !absl::SimpleAtoi(text, &number) || number < min || number > max) {
    return absl::InvalidArgumentError(absl::StrCat("'", absl::CHexEscape(text.substr(0, 80)),
                                                   "' is no number from ", min, " to ", max));
  }
  return number;
}

absl::StatusOr<uint64_t> ReadCount(absl::string_view text) {
  return ReadNumber(text, 1, uint64_t{1} << 62);
}

absl::StatusOr<uint64_t> ReadSize(absl::string_view text) {
  absl::string_view digits = text;
  int shift = 0;
  if (!absl::ConsumeSuffix(&digits, "iB")) absl::ConsumeSuffix(&digits, "B");
  for (const Unit& unit : kUnits) {
    if (digits.empty() ||
        absl::ascii_toupper(static_cast<unsigned char>(digits.back())) != unit.letter) {
      continue;
    }
    shift = unit.shift;
    digits.remove_suffix(1);
    break;
  }
  uint64_t number = 0;
  if (!AllDigits(digits) || !absl::SimpleAtoi(digits, &number) ||
      number > std::numeric_limits<uint64_t>::max() >> shift ||
      (shift == 0 && absl::EndsWith(text, "iB"))) {
    return Bad(text, "size", "bytes, or as 64K, 4M, 1G");
  }
  return number << shift;
}

absl::StatusOr<absl::Duration> ReadDuration(absl::string_view text) {
  absl::Duration duration;
  double seconds = 0;
  if (!text.empty() && absl::ascii_isdigit(static_cast<unsigned char>(text.back())) &&
      absl::SimpleAtod(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return Bad(text, "duration", "seconds, or as 250ms, 10s, 1m30s, inf");
  }
  if (duration < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is negative"));
  }
  return duration;
}

absl::StatusOr<uint32_t> ReadMode(absl::string_view text) {
  uint32_t mode = 0;
  const bool octal =
      AllDigits(text) && text.size() <= 4 && text.find_first_of("89") == absl::string_view::npos;
  if (!octal) return Bad(text, "mode", "octal digits, as 0600, 0660, 0666");
  for (const char c : text) mode = mode * 8 + static_cast<uint32_t>(c - '0');
  if (mode > 0777) return Bad(text, "mode", "octal digits, as 0600, 0660, 0666");
  return mode;
}

absl::StatusOr<std::string> ReadAddress(absl::string_view text, bool any_port) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) {
    return Bad(text, "address", "HOST:PORT, as 10.0.0.1:7400");
  }
  const absl::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find_first_of(":/ ") != absl::string_view::npos) {
    return Bad(text, "address", "HOST:PORT, and an address with colons as [::1]:7400");
  }
  const absl::StatusOr<uint64_t> port = ReadNumber(text.substr(colon + 1), any_port ? 0 : 1, 65535);
  if (!port.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("port ", port.status().message()));
  }
  return std::string(text);
}

std::string FormatSize(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes != 0 && bytes % (uint64_t{1} << unit.shift) == 0) {
      return absl::StrCat(bytes >> unit.shift, std::string(1, unit.letter));
    }
  }
  return absl::StrCat(bytes);
}

std::string FormatMode(uint32_t mode) { return absl::StrFormat("%04o", mode); }

}  // namespace mailrail
