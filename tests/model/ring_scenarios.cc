// A ring lane: one sender and one receiver.
#include <cstdint>
#include <string>

#include "core/lane/ring_reader.h"
#include "core/lane/ring_writer.h"
#include "tests/model/checked_step.h"
#include "tests/model/scenarios.h"
#include "tests/model/shared_memory.h"

namespace mailrail::model {
namespace {

constexpr int kPriority = 7, kBetter = 9;

struct Link {
  explicit Link(const RingGeometry& geometry)
      : sender(geometry.memory_bytes()),
        receiver(geometry.memory_bytes()),
        writer(geometry, sender.data(), receiver.data()),
        reader(geometry, receiver.data(), sender.data()) {}

  SharedMemory sender, receiver;
  RingWriter writer;
  RingReader reader;
};

// Message n is n, and as many bytes as it says.
std::string Body(uint64_t n, size_t bytes) {
  std::string body(bytes, static_cast<char>(n));
  memcpy(body.data(), &n, sizeof(n));
  return body;
}

// The sender sends, the receiver receives, in a ring that is soon full. All come once, whole, and
// in order, and no record is overwritten while it is read.
class Flow : public Scenario {
 public:
  Flow(size_t lines, size_t bytes, uint64_t count, Publication publication)
      : link_({.ring_bytes = lines * kLine, .slab_bytes = 0, .cells = 1}),
        bytes_(bytes),
        count_(count),
        publication_(publication) {}

  void Thread(int index) override {
    for (int tries = 0; tries < 14; ++tries) {
      if (index == 0) {
        Send();
      } else {
        Receive();
      }
    }
  }
  void End() override {
    while (received_ < sent_) Require(Receive(), "a message is lost");
    Require(!Receive(), "a message comes twice");
  }

 private:
  void Send() {
    // The first is shorter, so that a later one does not fit before the end of the ring.
    const std::string body = Body(sent_ + 1, sent_ == 0 ? 8 : bytes_);
    if (sent_ < count_ && link_.writer.Append(kPriority, {{}, body}, sent_ + 1, publication_)) {
      ++sent_;
    }
  }
  bool Receive() {
    if (link_.reader.rings_in_use() == 0) return false;
    Record record;
    const Look look = link_.reader.Peek(kPriority, &record);
    Require(look != Look::kCorrupt, "a sound lane is taken for a corrupt one");
    if (look != Look::kReady) return false;
    ReadPlain(record.data, record.length);
    ++received_;
    Require(std::string(record.data, record.length) == Body(received_, received_ == 1 ? 8 : bytes_),
            "a message is torn");
    link_.reader.Advance(kPriority, record);
    link_.reader.Consume(kPriority, record);
    return true;
  }

  Link link_;
  const size_t bytes_;
  const uint64_t count_;
  const Publication publication_;
  uint64_t sent_ = 0, received_ = 0;
};

// Large bodies: the room of one is used again for another.
class LargeBodies : public Scenario {
 public:
  void Thread(int index) override {
    for (int tries = 0; tries < 10; ++tries) {
      if (index == 0) {
        Send();
      } else {
        Receive();
      }
    }
  }
  void End() override {
    while (received_ < sent_) Require(Receive(), "a message is lost");
  }

 private:
  void Send() {
    if (sent_ == 3) return;
    const absl::optional<SlabRoom> room = link_.writer.Allocate(64, /*urgent=*/true);
    if (!room.has_value()) return;
    WritePlain(room->data, 64);
    Require(link_.writer.AppendSlab(kPriority, *room, 64, false, 0), "no room in an empty ring");
    ++sent_;
  }
  bool Receive() {
    Record record;
    if (link_.reader.Peek(kPriority, &record) != Look::kReady) return false;
    Require(record.in_slab, "a message is not where it was written");
    link_.reader.Advance(kPriority, record);
    link_.reader.Consume(kPriority, record);
    // As a view: it is read after its record was given back.
    ReadPlain(record.data, 64);
    link_.reader.ReleaseCell(kPriority, record.cell, record.sequence);
    ++received_;
    return true;
  }

  Link link_{{.ring_bytes = 16 * kLine, .slab_bytes = 128, .cells = 2}};
  uint64_t sent_ = 0, received_ = 0;
};

// The sender of a full ring parks for room while the receiver gives some back.
class ParkForRoom : public Scenario {
 public:
  void Begin() override {
    while (link_.writer.Append(kPriority, {{}, "x"}, 0)) {
    }
  }
  void Thread(int index) override {
    if (index == 0) {
      word_ = link_.writer.ParkForRoom();
      found_ = link_.writer.Append(kPriority, {{}, "x"}, 0);
      return;
    }
    Record record;
    Require(link_.reader.Peek(kPriority, &record) == Look::kReady, "a message is lost");
    link_.reader.Advance(kPriority, record);
    link_.reader.Consume(kPriority, record);
    link_.reader.Flush();
  }
  void End() override {
    Require(found_ || word_.word->load() != word_.expected, "the sender sleeps beside room");
  }

 private:
  Link link_{{.ring_bytes = 4 * kLine, .slab_bytes = 0, .cells = 1}};
  FutexWord word_{};
  bool found_ = false;
};

// The same for the room of a large body.
class ParkForLargeRoom : public Scenario {
 public:
  void Begin() override {
    const absl::optional<SlabRoom> room = link_.writer.Allocate(64, /*urgent=*/true);
    Require(room.has_value() && link_.writer.AppendSlab(kPriority, *room, 64, false, 0), "no room");
  }
  void Thread(int index) override {
    if (index == 0) {
      word_ = link_.writer.ParkForRoom();
      found_ = link_.writer.Allocate(64, /*urgent=*/true).has_value();
      return;
    }
    link_.reader.ReleaseCell(kPriority, 0, 1);
  }
  void End() override {
    Require(found_ || word_.word->load() != word_.expected, "the sender sleeps beside room");
  }

 private:
  Link link_{{.ring_bytes = 16 * kLine, .slab_bytes = 64, .cells = 1}};
  FutexWord word_{};
  bool found_ = false;
};

// A better message is sent before a lesser one. Who finds the lesser one and looks again finds the
// better one (ReceiveQueue::TakeBest).
class SecondLook : public Scenario {
 public:
  void Thread(int index) override {
    if (index == 0) {
      Require(link_.writer.Append(kBetter, {{}, "x"}, 0), "no room");
      Require(link_.writer.Append(kPriority, {{}, "x"}, 0), "no room");
      return;
    }
    Record record;
    for (int tries = 0; tries < 4; ++tries) {
      if (IsThere(kBetter, &record) || !IsThere(kPriority, &record)) continue;
      Require(IsThere(kBetter, &record), "a better message is overlooked");
    }
  }

 private:
  bool IsThere(int priority, Record* record) {
    return (link_.reader.rings_in_use() >> priority & 1) != 0 &&
           link_.reader.Peek(priority, record) == Look::kReady;
  }

  Link link_{{.ring_bytes = 4 * kLine, .slab_bytes = 0, .cells = 1}};
};

template <typename T, typename... Arguments>
NamedScenario Make(std::string name, bool total_order, Arguments... arguments) {
  return {std::move(name), 2, total_order, [=] { return std::make_unique<T>(arguments...); }};
}

}  // namespace

const std::vector<NamedScenario>& RingScenarios() {
  static const auto* const scenarios = new std::vector<NamedScenario>{
      Make<Flow>("SmallMessagesInARing", false, 4, 8, 5, Publication::kFenced),
      Make<Flow>("SmallMessagesInARingByPlainStores", false, 4, 8, 5, Publication::kPlain),
      Make<Flow>("MessagesThatWrapARing", false, 8, 100, 5, Publication::kFenced),
      Make<LargeBodies>("LargeBodiesBesideARing", false),
      Make<ParkForRoom>("ParkForRoomInARing", true),
      Make<ParkForLargeRoom>("ParkForLargeRoom", true),
      Make<SecondLook>("SecondLookInAnInbox", false),
  };
  return *scenarios;
}

}  // namespace mailrail::model
