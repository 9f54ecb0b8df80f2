// The limits: what the hardware and the kernel give when there is nothing else.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

// A cache line in each direction: its first word is the number of the message in it.
struct alignas(128) Line {
  std::atomic<uint32_t> number{0};
  uint32_t size = 0;
  char body[48];
};

struct Lines {
  Line line[2];
};

std::shared_ptr<void> MakeLines(size_t) {
  void* const memory =
      mmap(nullptr, sizeof(Lines), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "no memory");
  return std::shared_ptr<void>(new (memory) Lines, [](void*) {});
}

class LineEnd : public End {
 public:
  LineEnd(const std::shared_ptr<void>& lines, Side side, bool sleeps)
      : out_(static_cast<Lines*>(lines.get())->line[side == Side::kSecond]),
        in_(static_cast<Lines*>(lines.get())->line[side == Side::kFirst]),
        sleeps_(sleeps) {}

  char* Claim(size_t size) override {
    Require(size <= sizeof(out_.body), "a line holds 48 bytes");
    return out_.body;
  }
  void Commit(size_t size) override {
    out_.size = static_cast<uint32_t>(size);
    out_.number.store(++sent_, std::memory_order_release);
    if (sleeps_) syscall(SYS_futex, &out_.number, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  std::string_view Receive() override {
    ++received_;
    while (in_.number.load(std::memory_order_acquire) != received_) {
      if (sleeps_) {
        syscall(SYS_futex, &in_.number, FUTEX_WAIT, received_ - 1, nullptr, nullptr, 0);
      }
    }
    return {in_.body, in_.size};
  }

 private:
  Line& out_;
  Line& in_;
  const bool sleeps_;
  uint32_t sent_ = 0, received_ = 0;
};

// A ring for bytes in each direction, with one writer, one reader, and an index of each on a line
// of its own: bodies are copied in, and read where they lie. Each keeps what it last saw of the
// other's index, and the reader tells of its own when an eighth is free or nothing is left.
struct Ring {
  alignas(128) std::atomic<uint64_t> written{0};
  alignas(128) std::atomic<uint64_t> read{0};
};

struct Rings {
  size_t capacity;
  Ring* ring[2];
  char* bytes[2];
};

std::shared_ptr<void> MakeRings(size_t largest) {
  auto rings = std::make_shared<Rings>();
  // Small enough to stay in the processor's caches.
  rings->capacity = std::bit_ceil(std::max<size_t>(8 * largest, 256 << 10));
  for (int i = 0; i < 2; ++i) {
    void* const memory = mmap(nullptr, sizeof(Ring) + rings->capacity, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    Require(memory != MAP_FAILED, "no memory");
    rings->ring[i] = new (memory) Ring;
    rings->bytes[i] = static_cast<char*>(memory) + sizeof(Ring);
  }
  return rings;
}

class RingEnd : public End {
 public:
  RingEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest) : body_(largest) {
    const auto& rings = *static_cast<Rings*>(prepared.get());
    const bool second = side == Side::kSecond;
    capacity_ = rings.capacity;
    out_ = rings.ring[second];
    in_ = rings.ring[!second];
    out_bytes_ = rings.bytes[second];
    in_bytes_ = rings.bytes[!second];
  }

  char* Claim(size_t) override { return body_.data(); }
  void Commit(size_t size) override {
    const uint64_t to_end = capacity_ - At(written_);
    const bool wraps = to_end < Record(size);
    const uint64_t after = written_ + (wraps ? to_end : 0) + Record(size);
    while (after - read_seen_ > capacity_) read_seen_ = out_->read.load(std::memory_order_acquire);
    if (wraps) {
      memcpy(out_bytes_ + At(written_), &kWrap, sizeof(kWrap));
      written_ += to_end;
    }
    const uint64_t header = size;
    memcpy(out_bytes_ + At(written_), &header, sizeof(header));
    memcpy(out_bytes_ + At(written_) + sizeof(header), body_.data(), size);
    written_ = after;
    out_->written.store(written_, std::memory_order_release);
  }
  std::string_view Receive() override {
    // The one before has been read.
    if (read_ - read_told_ >= capacity_ / 8 || written_seen_ == read_) {
      in_->read.store(read_told_ = read_, std::memory_order_release);
    }
    while (written_seen_ == read_) written_seen_ = in_->written.load(std::memory_order_acquire);
    uint64_t header = Header();
    if (header == kWrap) {
      read_ += capacity_ - At(read_);
      header = Header();
    }
    const char* const body = in_bytes_ + At(read_) + sizeof(header);
    read_ += Record(header);
    return {body, header};
  }

 private:
  static constexpr uint64_t kWrap = ~uint64_t{0};
  static uint64_t Record(uint64_t size) { return (size + 8 + 7) / 8 * 8; }
  uint64_t At(uint64_t index) const { return index & (capacity_ - 1); }
  uint64_t Header() const {
    uint64_t header;
    memcpy(&header, in_bytes_ + At(read_), sizeof(header));
    return header;
  }

  std::vector<char> body_;
  uint64_t capacity_;
  Ring* out_;
  Ring* in_;
  char* out_bytes_;
  char* in_bytes_;
  uint64_t written_ = 0, read_seen_ = 0;
  uint64_t read_ = 0, read_told_ = 0, written_seen_ = 0;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  const auto line = [](bool sleeps) {
    return [sleeps](const std::shared_ptr<void>& lines, Side side, size_t) {
      return std::make_unique<LineEnd>(lines, side, sleeps);
    };
  };
  return Main(
      argc, argv,
      {{"cache-line", MakeLines, line(false)},
       {"futex", MakeLines, line(true)},
       {"ring", MakeRings, [](const std::shared_ptr<void>& rings, Side side, size_t largest) {
          return std::make_unique<RingEnd>(rings, side, largest);
        }}});
}
