// What the tests of the lanes share: memory, messages that show every wrong byte, and seeds.
#ifndef MAILRAIL_CORE_LANE_LANE_TESTING_H_
#define MAILRAIL_CORE_LANE_LANE_TESTING_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/shm/memory.h"

namespace mailrail {

// Random tests do so much less under a sanitizer, which is so much slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kSlowdown = 8;
#else
inline constexpr int kSlowdown = 1;
#endif

// Ends the test when it cannot go on.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::cerr << "cannot go on: " << what << std::endl;
  std::abort();
}

// A source of random numbers that prints its seed, or takes it from MAILRAIL_TEST_SEED.
class TestRandom {
 public:
  TestRandom() : TestRandom(NewSeed()) { std::cerr << "seed " << seed_ << std::endl; }
  explicit TestRandom(uint64_t seed) : seed_(seed), engine_(seed) {}

  uint64_t seed() const { return seed_; }
  uint64_t operator()() { return engine_(); }
  // A number in [0, end).
  uint64_t Below(uint64_t end) { return engine_() % end; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  static uint64_t NewSeed() {
    const char* given = std::getenv("MAILRAIL_TEST_SEED");
    uint64_t seed = 0;
    if (given != nullptr && absl::SimpleAtoi(given, &seed)) return seed;
    return std::random_device{}();
  }

  uint64_t seed_;
  std::mt19937_64 engine_;
};

// Zeroed memory that is mapped twice, as two processes would: to be written, and to be read.
class TwiceMapped {
 public:
  explicit TwiceMapped(size_t bytes) : bytes_(bytes) {
    memory_ = CreateMemory("test", bytes).value();
    readable_ = OpenReadOnly(memory_).value();
    writer_ = MapWritable();
    reader_ = MapReadable();
  }

  char* writable() const { return writer_.data(); }
  const char* readable() const { return reader_.data(); }
  // The mapping of another party, but under ThreadSanitizer, which knows memory by its address.
  const char* seen_by_other() const {
#ifdef __SANITIZE_THREAD__
    return writable();
#else
    return readable();
#endif
  }
  size_t size() const { return bytes_; }

  // Further mappings: a child process has none of its parent's.
  Mapping MapWritable() const { return MapOrDie(memory_, Access::kReadWrite); }
  Mapping MapReadable() const { return MapOrDie(readable_, Access::kReadOnly); }

 private:
  Mapping MapOrDie(const Fd& memory, Access access) const {
    return Mapping::Map(memory, bytes_, access).value();
  }

  size_t bytes_;
  Fd memory_;
  Fd readable_;
  Mapping writer_;
  Mapping reader_;
};

// Zeroed private memory between pages that no access survives.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes) : bytes_(bytes), pages_((bytes + 4095) / 4096 * 4096) {
    void* all = mmap(nullptr, pages_ + 2 * kGuardBytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    Require(all != MAP_FAILED, "mmap");
    data_ = static_cast<char*>(all) + kGuardBytes;
    Require(mprotect(data_, pages_, PROT_READ | PROT_WRITE) == 0, "mprotect");
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(data_ - kGuardBytes, pages_ + 2 * kGuardBytes); }

  char* data() const { return data_; }
  size_t size() const { return bytes_; }

  // Whether [at, at + length) is inside.
  bool Contains(const char* at, size_t length) const {
    const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(data_);
    return offset <= bytes_ && length <= bytes_ - offset;
  }

 private:
  // As much as a wrong 32-bit line number could be away.
  static constexpr size_t kGuardBytes = size_t{1} << 32;

  size_t bytes_;
  size_t pages_;
  char* data_;
};

// What a test message says about itself.
struct BodyHead {
  uint64_t number;      // its place among the messages of its priority, from 1
  uint64_t generation;  // which writer sent it
  uint64_t check;       // of all other bytes
};

inline uint64_t CheckOf(uint64_t number, uint64_t generation, absl::string_view rest) {
  uint64_t check = number * 0x9e3779b97f4a7c15 ^ (generation + rest.size()) * 0xff51afd7ed558ccd;
  while (!rest.empty()) {
    uint64_t word = 0;
    const size_t bytes = rest.size() < sizeof(word) ? rest.size() : sizeof(word);
    std::memcpy(&word, rest.data(), bytes);
    check = (check ^ word) * 0x100000001b3;
    check ^= check >> 29;
    rest.remove_prefix(bytes);
  }
  return check;
}

// Writes a message of `size` bytes to `to`. REQUIRES: size >= sizeof(BodyHead).
inline void WriteBody(uint64_t number, uint64_t generation, size_t size, char* to) {
  BodyHead head{number, generation, 0};
  char* const rest = to + sizeof(head);
  const size_t rest_size = size - sizeof(head);
  uint64_t word = number * 0xc2b2ae3d27d4eb4f + generation;
  for (size_t at = 0; at < rest_size; at += sizeof(word)) {
    word = word * 6364136223846793005 + 1442695040888963407;
    std::memcpy(rest + at, &word, rest_size - at < sizeof(word) ? rest_size - at : sizeof(word));
  }
  head.check = CheckOf(number, generation, {rest, rest_size});
  std::memcpy(to, &head, sizeof(head));
}

inline std::string MakeBody(uint64_t number, uint64_t generation, size_t size) {
  Require(size >= sizeof(BodyHead), "a body has a head");
  std::string body(size, '\0');
  WriteBody(number, generation, size, body.data());
  return body;
}

// What the message says about itself, or nothing when a byte is wrong.
inline absl::optional<BodyHead> ReadBody(absl::string_view body) {
  BodyHead head;
  if (body.size() < sizeof(head)) return absl::nullopt;
  std::memcpy(&head, body.data(), sizeof(head));
  const absl::string_view rest = body.substr(sizeof(head));
  if (head.check != CheckOf(head.number, head.generation, rest)) return absl::nullopt;
  return head;
}

// `size` bytes, others for each seed; for messages too small for a BodyHead.
inline std::string Pattern(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<char>((seed * 131 + i * 7 + (i >> 8)) & 0xff);
  }
  return bytes;
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_LANE_TESTING_H_
