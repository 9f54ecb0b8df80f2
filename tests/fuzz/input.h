#ifndef MAILRAIL_TESTS_FUZZ_INPUT_H_
#define MAILRAIL_TESTS_FUZZ_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace mailrail {

// The bytes of one input, read as a script: what to do, with which numbers. After its end
// everything read is 0. Thread-compatible.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }

  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  bool Bool() { return (Byte() & 1) != 0; }
  // A number in [0, end). REQUIRES: 1 <= end <= 65536.
  uint32_t Below(size_t end) {
    const uint32_t low = Byte();
    return (end <= 256 ? low : low | uint32_t{Byte()} << 8) % static_cast<uint32_t>(end);
  }
  uint64_t Word() {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= uint64_t{Byte()} << (8 * i);
    return word;
  }
  // A number that is often small, or near a limit.
  uint64_t Number() {
    const uint64_t kind = Byte();
    if (kind < 0xc0) return kind;
    if (kind < 0xe0) return (uint64_t{1} << Below(64)) + kind % 3 - 1;
    if (kind < 0xf0) return ~(kind & 0xf);
    return Word();
  }
  absl::string_view Bytes(size_t count) {
    const absl::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  absl::string_view Rest() { return Bytes(rest_.size()); }

 private:
  absl::string_view rest_;
};

// Ends the program when what is promised does not hold: `what` says what it is.
inline void Promise(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "cannot go on: %s\n", what);
  std::abort();
}

// How many descriptors this process has open.
inline size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// Sees that what runs while it lives leaves no descriptor behind.
class NoDescriptorIsLeft {
 public:
  NoDescriptorIsLeft() : before_(OpenDescriptors()) {}
  NoDescriptorIsLeft(const NoDescriptorIsLeft&) = delete;
  NoDescriptorIsLeft& operator=(const NoDescriptorIsLeft&) = delete;
  ~NoDescriptorIsLeft() { Promise(OpenDescriptors() == before_, "no descriptor is left"); }

 private:
  const size_t before_;
};

}  // namespace mailrail

// What each target defines: runs one input. libFuzzer calls it, and replay_main.cc with what stands
// in the corpus.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // MAILRAIL_TESTS_FUZZ_INPUT_H_
