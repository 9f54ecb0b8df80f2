#include "node/cli/bench/body.h"

#include <algorithm>
#include <cstring>

namespace mailrail::bench {
namespace {

constexpr size_t kWord = sizeof(uint64_t);

uint64_t WordAt(const char* at) {
  uint64_t word;
  memcpy(&word, at, kWord);
  return word;
}

}  // namespace

uint64_t Carried(uint64_t number, size_t size) {
  return size >= kWord ? number : number & ((uint64_t{1} << (8 * size)) - 1);
}

void WriteBody(char* body, size_t size, uint64_t number, BodyStyle style) {
  if (size < kWord) {
    if (size > 0) memcpy(body, &number, size);
    return;
  }
  if (style == BodyStyle::kWhole) {
    for (size_t at = 0; at + kWord <= size; at += kWord) memcpy(body + at, &number, kWord);
  } else {
    memcpy(body, &number, kWord);
  }
  // Where the size is no multiple, the last word overlaps the one before: its low bytes give way.
  memcpy(body + size - kWord, &number, kWord);
}

bool ReadBody(absl::string_view body, BodyStyle style, uint64_t* number) {
  *number = 0;
  if (body.size() < kWord) {
    if (!body.empty()) memcpy(number, body.data(), body.size());
    return true;
  }
  const size_t last = body.size() - kWord;
  *number = WordAt(body.data() + last);
  if (style == BodyStyle::kEnds) {
    return last < kWord || WordAt(body.data()) == *number;
  }
  uint64_t differs = 0;
  // The word that the last one overlaps is compared as far as it was left.
  for (size_t at = 0; at + kWord <= last; at += kWord)
    differs |= WordAt(body.data() + at) ^ *number;
  const size_t rest = last % kWord;
  return differs == 0 && memcmp(body.data() + last - rest, number, rest) == 0;
}

}  // namespace mailrail::bench
