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

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  const auto line = [](bool sleeps) {
    return [sleeps](const std::shared_ptr<void>& lines, Side side, size_t) {
      return std::make_unique<LineEnd>(lines, side, sleeps);
    };
  };
  return Main(argc, argv,
              {{"cache-line", MakeLines, line(false)}, {"futex", MakeLines, line(true)}});
}
