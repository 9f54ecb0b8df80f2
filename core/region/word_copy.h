#ifndef MAILRAIL_CORE_REGION_WORD_COPY_H_
#define MAILRAIL_CORE_REGION_WORD_COPY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/shm/step.h"

namespace mailrail {

// Copies to and from memory that others read, or write, meanwhile: 64-bit words, each whole, in no
// order to each other or to anything else but by the fences around them. The bytes beside a last
// word that is not full are zeros in shared memory.

inline void CopyIntoWords(const void* from, size_t bytes, SharedAtomic<uint64_t>* to) {
  const char* at = static_cast<const char*>(from);
  uint64_t word;
  for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word), ++to) {
    std::memcpy(&word, at, sizeof(word));
    to->store(word, std::memory_order_relaxed);
  }
  if (bytes == 0) return;
  word = 0;
  std::memcpy(&word, at, bytes);
  to->store(word, std::memory_order_relaxed);
}

inline void CopyFromWords(const SharedAtomic<uint64_t>* from, size_t bytes, void* to) {
  char* at = static_cast<char*>(to);
  uint64_t word;
  for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word), ++from) {
    word = from->load(std::memory_order_relaxed);
    std::memcpy(at, &word, sizeof(word));
  }
  if (bytes == 0) return;
  word = from->load(std::memory_order_relaxed);
  std::memcpy(at, &word, bytes);
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_WORD_COPY_H_
