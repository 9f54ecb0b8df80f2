#include "tests/soak/history.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

uint64_t Mix(uint64_t seed, uint64_t word) {
  uint64_t mixed = (seed ^ word) * 0x9e3779b97f4a7c15;
  mixed ^= mixed >> 32;
  return mixed * 0xbf58476d1ce4e5b9;
}

}  // namespace

struct Journal::Header {
  alignas(kEventBytes) std::atomic<uint64_t> count;
};

struct Journal::Line {
  uint64_t check;
  int64_t time_ns;
  uint64_t destination;
  uint64_t value;
  uint64_t sequence;
  uint64_t peer;
  uint32_t bytes;
  uint8_t kind;
  uint8_t priority;
  uint8_t status;
  uint8_t flags;
  uint64_t index;

  uint64_t Check() const {
    uint64_t words[sizeof(Line) / sizeof(uint64_t)];
    memcpy(words, this, sizeof(words));
    uint64_t check_now = 1;
    for (size_t i = 1; i < std::size(words); ++i) check_now = Mix(check_now, words[i]);
    return check_now;
  }
};

namespace {

constexpr uint8_t kRedelivered = 1;
constexpr uint8_t kIntact = 2;
constexpr uint8_t kAcknowledges = 4;
constexpr int kReasonShift = 3;

}  // namespace

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

uint64_t KeyOf(const ProcessId& id) {
  uint64_t key = Mix(Mix(1, static_cast<uint64_t>(id.pid())), id.incarnation());
  for (const char c : id.node()) key = Mix(key, static_cast<uint64_t>(c));
  return std::max(key, kFirstKey);
}

Journal::Journal(size_t capacity) : capacity_(capacity) {
  static_assert(sizeof(Line) == kEventBytes && sizeof(Header) == kEventBytes);
  void* const memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  Require(memory != MAP_FAILED, "mmap of a journal");
  header_ = static_cast<Header*>(memory);
}

Journal::Journal(Journal&& other) noexcept
    : header_(std::exchange(other.header_, nullptr)), capacity_(other.capacity_) {}

Journal::~Journal() {
  if (header_ != nullptr) munmap(header_, bytes());
}

size_t Journal::bytes() const { return sizeof(Header) + capacity_ * sizeof(Line); }

Journal::Line* Journal::lines() const { return reinterpret_cast<Line*>(header_ + 1); }

char* Journal::events() { return reinterpret_cast<char*>(lines()); }

uint64_t Journal::count() const { return header_->count.load(std::memory_order_acquire); }

size_t Journal::room() const { return capacity_ - count(); }

void Journal::Append(Event event) {
  Require(room() > 0, "a journal is full");
  const uint64_t count = header_->count.load(std::memory_order_relaxed);
  Line line{};
  line.time_ns = event.time_ns != 0 ? event.time_ns : NowNs();
  line.destination = event.destination;
  line.value = event.value;
  line.sequence = event.sequence;
  line.peer = event.peer;
  line.bytes = event.bytes;
  line.kind = static_cast<uint8_t>(event.kind);
  line.priority = event.priority;
  line.status = static_cast<uint8_t>(event.status);
  line.flags = static_cast<uint8_t>(
      (event.redelivered ? kRedelivered : 0) | (event.intact ? kIntact : 0) |
      (event.acknowledges ? kAcknowledges : 0) | static_cast<int>(event.reason) << kReasonShift);
  line.index = count;
  line.check = line.Check();
  memcpy(&lines()[count], &line, sizeof(line));
  // Release: with Read's acquire, who sees the count sees the line.
  header_->count.store(count + 1, std::memory_order_release);
}

absl::StatusOr<std::vector<Event>> Journal::Read() const {
  const uint64_t count = header_->count.load(std::memory_order_acquire);
  if (count > capacity_) return absl::DataLossError(absl::StrCat("a count of ", count));
  std::vector<Event> events;
  events.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    Line line;
    memcpy(&line, &lines()[i], sizeof(line));
    if (line.index != i || line.check != line.Check()) {
      return absl::DataLossError(absl::StrCat("event ", i, " of ", count, " is torn"));
    }
    Event event;
    event.kind = static_cast<EventKind>(line.kind);
    event.priority = line.priority;
    event.status = static_cast<absl::StatusCode>(line.status);
    event.redelivered = (line.flags & kRedelivered) != 0;
    event.intact = (line.flags & kIntact) != 0;
    event.acknowledges = (line.flags & kAcknowledges) != 0;
    event.reason = static_cast<EndReason>(line.flags >> kReasonShift);
    event.bytes = line.bytes;
    event.time_ns = line.time_ns;
    event.destination = line.destination;
    event.value = line.value;
    event.sequence = line.sequence;
    event.peer = line.peer;
    events.push_back(event);
  }
  return events;
}

}  // namespace mailrail::soak
