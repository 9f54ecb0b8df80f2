#include "tests/support/body.h"

#include <algorithm>
#include <cstring>

namespace mailrail {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

// The `index`th word of the body with this number.
uint64_t WordOf(uint64_t number, size_t index) {
  if (index == 0) return number;
  uint64_t word = (number + index) * 0x9e3779b97f4a7c15;
  word ^= word >> 32;
  return word * 0xbf58476d1ce4e5b9;
}

}  // namespace

void FillBody(uint64_t number, absl::Span<char> body) {
  for (size_t i = 0; i < body.size(); i += sizeof(uint64_t)) {
    const uint64_t word = WordOf(number, i / sizeof(word));
    std::memcpy(body.data() + i, &word, std::min(sizeof(word), body.size() - i));
  }
}

std::string MakeBody(uint64_t number, size_t bytes) {
  std::string body(bytes, '\0');
  FillBody(number, absl::MakeSpan(body));
  return body;
}

uint64_t NumberOf(absl::string_view body) {
  uint64_t number = 0;
  std::memcpy(&number, body.data(), std::min(sizeof(number), body.size()));
  return number;
}

bool IsIntact(absl::string_view body) {
  const uint64_t number = NumberOf(body);
  for (size_t i = 0; i < body.size(); i += sizeof(uint64_t)) {
    const uint64_t word = WordOf(number, i / sizeof(word));
    if (std::memcmp(body.data() + i, &word, std::min(sizeof(word), body.size() - i)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace mailrail
