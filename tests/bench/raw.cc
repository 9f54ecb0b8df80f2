// The limits: what the hardware and the kernel give when there is nothing else.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
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
// of its own: bodies are copied in, and read where they lie.
struct Ring {
  static constexpr uint64_t kBytes = uint64_t{4} << 20;
  alignas(128) std::atomic<uint64_t> written{0};
  alignas(128) std::atomic<uint64_t> read{0};
  alignas(128) char bytes[kBytes];
};

struct Rings {
  Ring ring[2];
};

std::shared_ptr<void> MakeRings(size_t) {
  void* const memory =
      mmap(nullptr, sizeof(Rings), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "no memory");
  return std::shared_ptr<void>(new (memory) Rings, [](void*) {});
}

class RingEnd : public End {
 public:
  RingEnd(const std::shared_ptr<void>& rings, Side side, size_t largest)
      : out_(static_cast<Rings*>(rings.get())->ring[side == Side::kSecond]),
        in_(static_cast<Rings*>(rings.get())->ring[side == Side::kFirst]),
        body_(largest + 8) {
    Require(Record(largest) * 2 <= Ring::kBytes, "too large for the ring");
    // Pages are touched before anything is measured.
    memset(out_.bytes, 0, sizeof(out_.bytes));
  }

  char* Claim(size_t) override { return body_.data(); }
  void Commit(size_t size) override {
    const uint64_t to_end = Ring::kBytes - written_ % Ring::kBytes;
    const bool wraps = to_end < Record(size);
    const uint64_t after = written_ + (wraps ? to_end : 0) + Record(size);
    while (after - read_seen_ > Ring::kBytes) {
      read_seen_ = out_.read.load(std::memory_order_acquire);
    }
    if (wraps) {
      memcpy(out_.bytes + written_ % Ring::kBytes, &kWrap, sizeof(kWrap));
      written_ += to_end;
    }
    char* const at = out_.bytes + written_ % Ring::kBytes;
    const uint64_t header = size;
    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), body_.data(), size);
    written_ = after;
    out_.written.store(written_, std::memory_order_release);
  }
  std::string_view Receive() override {
    // The one before has been read.
    in_.read.store(read_, std::memory_order_release);
    while (written_seen_ == read_) written_seen_ = in_.written.load(std::memory_order_acquire);
    uint64_t header = Header();
    if (header == kWrap) {
      read_ += Ring::kBytes - read_ % Ring::kBytes;
      header = Header();
    }
    const char* const body = in_.bytes + read_ % Ring::kBytes + sizeof(header);
    read_ += Record(header);
    return {body, header};
  }

 private:
  static constexpr uint64_t kWrap = ~uint64_t{0};
  static uint64_t Record(uint64_t size) { return (size + 8 + 7) / 8 * 8; }
  uint64_t Header() const {
    uint64_t header;
    memcpy(&header, in_.bytes + read_ % Ring::kBytes, sizeof(header));
    return header;
  }

  Ring& out_;
  Ring& in_;
  std::vector<char> body_;
  uint64_t written_ = 0, read_seen_ = 0;
  uint64_t read_ = 0, written_seen_ = 0;
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
