// A mailbox lane: one sender, several receivers that compete.
#include <algorithm>
#include <cstdint>
#include <string>

#include "core/lane/cell_reader.h"
#include "core/lane/cell_writer.h"
#include "core/shm/barrier.h"
#include "tests/model/checked_step.h"
#include "tests/model/scenarios.h"
#include "tests/model/shared_memory.h"

namespace mailrail::model {
namespace {

constexpr int kPriority = 31;  // the last that the agent looks at
constexpr uint32_t kSender = 99;

struct Lane {
  explicit Lane(const CellGeometry& geometry_in)
      : geometry(geometry_in),
        data(geometry.data_bytes()),
        state(geometry.state_bytes()),
        writer(geometry, geometry.slots, data.data(), state.data()) {}
  CellReader NewReader() const { return CellReader(geometry, data.data(), state.data()); }

  const CellGeometry geometry;
  SharedMemory data, state;
  CellWriter writer;
};

std::string Body(uint64_t position) {
  std::string body(16, static_cast<char>(position));
  memcpy(body.data(), &position, sizeof(position));
  return body;
}

// One sender and two receivers in a lane of two slots; each message comes once, and is itself.
class Competition : public Scenario {
 public:
  explicit Competition(uint64_t slab_bytes, Publication publication)
      : lane_({.slots = 2, .slab_bytes = slab_bytes}), publication_(publication) {}

  void Thread(int index) override {
    for (int tries = 0; tries < 8; ++tries) {
      if (index == 0) {
        Send();
      } else {
        Receive(&readers_[index - 1], static_cast<uint32_t>(index));
      }
    }
  }
  void End() override {
    while (Receive(&readers_[0], 1)) {
    }
    for (uint64_t position = 1; position <= kCount; ++position) {
      Require(received_[position] == (position <= sent_ ? 1 : 0), "a message is lost");
    }
  }

 private:
  static constexpr uint64_t kCount = 4;

  void Send() {
    if (sent_ == kCount) return;
    if (lane_.geometry.slab_bytes == 0) {
      sent_ += lane_.writer.Append(kPriority, {{}, Body(sent_ + 1)}, sent_ + 1, publication_);
      return;
    }
    const absl::optional<SlabRoom> room = lane_.writer.Allocate(64, /*urgent=*/true);
    if (!room.has_value()) return;
    WritePlain(room->data, 64);
    if (lane_.writer.AppendSlab(kPriority, *room, 64, false, sent_ + 1)) {
      ++sent_;
    } else {
      lane_.writer.Free(*room);
    }
  }
  bool Receive(CellReader* reader, uint32_t owner) {
    if (reader->rings_in_use() == 0) return false;
    CellHead head;
    const Look look = reader->Peek(kPriority, &head);
    Require(look != Look::kCorrupt, "a sound lane is taken for a corrupt one");
    if (look != Look::kReady) return false;
    Require(head.stamp == head.position || !reader->Claim(kPriority, head, owner),
            "a stamp is another message's");
    char body[Slot::kInlineBytes];
    const absl::optional<uint32_t> length = reader->TakeSmall(kPriority, head, owner, body);
    if (length.has_value()) {
      Require(std::string(body, *length) == Body(head.position), "a message is torn");
    } else {
      if (!reader->Claim(kPriority, head, owner)) return false;
      Record record;
      Require(reader->Read(kPriority, head, &record) == Look::kReady, "a message is torn");
      if (record.in_slab) {
        ReadPlain(record.data, 64);
      } else {
        Require(std::string(record.data, record.length) == Body(head.position), "torn");
      }
      // As a view, or at once.
      const bool view = Choose(2) == 0;
      Require(reader->Take(kPriority, head.slot, head.position, owner, view), "a claim is lost");
      if (view) {
        ReadPlain(record.data, 64);
        reader->Done(kPriority, head.slot, head.position);
      }
    }
    Require(++received_[head.position] == 1, "a message comes twice");
    return true;
  }

  Lane lane_;
  const Publication publication_;
  CellReader readers_[2] = {lane_.NewReader(), lane_.NewReader()};
  uint64_t sent_ = 0;
  int received_[kCount + 1] = {};
};

// The holder of a message gives it back, or dies and the agent takes its claims away, while another
// receiver looks for messages that were returned.
class ReturnMessage : public Scenario {
 public:
  explicit ReturnMessage(bool dies) : dies_(dies) {}

  void Begin() override {
    Require(lane_.writer.Append(kPriority, {{}, Body(1)}, 1), "no room");
    Require(holder_.Peek(kPriority, &head_) == Look::kReady && holder_.Claim(kPriority, head_, 1),
            "no message");
  }
  void Thread(int index) override {
    if (index == 0) {
      // The receiver rings afterwards: who has looked before looks again (End).
      if (dies_) {
        holder_.ReleaseClaimsOf(1);
      } else {
        holder_.Return(kPriority, head_.slot, head_.position, 1);
      }
      return;
    }
    for (int tries = 0; tries < 30 && !found_; ++tries) LookForIt();
  }
  void End() override {
    LookForIt();
    Require(found_, "a returned message is lost");
  }

 private:
  void LookForIt() {
    CellHead head;
    if (found_ || other_.Peek(kPriority, &head) != Look::kReady) return;
    Require(head.returned && head.position == 1 && head.attempts == 1, "a message changes");
    Require(other_.Claim(kPriority, head, 2), "a claim is lost");
    found_ = true;
  }

  const bool dies_;
  Lane lane_{{.slots = 2, .slab_bytes = 0}};
  CellReader holder_ = lane_.NewReader(), other_ = lane_.NewReader();
  CellHead head_;
  bool found_ = false;
};

// The sender of a full lane parks for room while a receiver, or two, take messages.
class ParkForSlot : public Scenario {
 public:
  void Begin() override {
    while (lane_.writer.Append(kPriority, {{}, Body(1)}, 1)) {
    }
  }
  void Thread(int index) override {
    if (index == 0) {
      word_ = lane_.writer.ParkForRoom();
      found_ = lane_.writer.Append(kPriority, {{}, Body(1)}, 1);
      return;
    }
    CellReader reader = lane_.NewReader();
    CellHead head;
    char body[Slot::kInlineBytes];
    if (reader.Peek(kPriority, &head) == Look::kReady) {
      reader.TakeSmall(kPriority, head, static_cast<uint32_t>(index), body);
    }
  }
  void End() override {
    Require(found_ || word_.word->load() != word_.expected, "the sender sleeps beside room");
  }

 private:
  Lane lane_{{.slots = 2, .slab_bytes = 0}};
  FutexWord word_{};
  bool found_ = false;
};

// A destination is closed while somebody sends to it (OutgoingLane::Published, Destination::Close).
// What the sender was told OK for, the agent has counted.
class Close : public Scenario {
 public:
  explicit Close(Publication publication) : publication_(publication) {}

  void Thread(int index) override {
    if (index == 0) {
      Require(lane_.writer.Append(kPriority, {{}, Body(1)}, 1, publication_), "no room");
      if (closed().load() == 0) {
        accepted_ = true;
      } else {
        accepted_ = lane_.writer.Retract(kPriority, kSender) == 0;
      }
      return;
    }
    uint32_t open = 0;
    closed().compare_exchange_strong(open, 1);
    BarrierForAll();
    counted_ = lane_.NewReader().Count().waiting;
  }
  void End() override { Require(!accepted_ || counted_ == 1, "a message is lost without a word"); }

 private:
  SharedAtomic<uint32_t>& closed() {
    return *reinterpret_cast<SharedAtomic<uint32_t>*>(page_.data());
  }

  const Publication publication_;
  SharedMemory page_{128};
  Lane lane_{{.slots = 2, .slab_bytes = 0}};
  bool accepted_ = false;
  uint64_t counted_ = 0;
};

template <typename T, typename... Arguments>
NamedScenario Make(std::string name, int threads, bool total_order, Arguments... arguments) {
  return {std::move(name), threads, total_order, [=] { return std::make_unique<T>(arguments...); }};
}

}  // namespace

const std::vector<NamedScenario>& CellScenarios() {
  static const auto* const scenarios = new std::vector<NamedScenario>{
      Make<Competition>("ReceiversOfSmallMessages", 3, false, 0, Publication::kFenced),
      Make<Competition>("ReceiversOfSmallMessagesByPlainStores", 3, false, 0, Publication::kPlain),
      Make<Competition>("ReceiversOfLargeBodies", 3, false, 128, Publication::kFenced),
      Make<ReturnMessage>("ReturnBesideALook", 2, false, false),
      Make<ReturnMessage>("DeathOfAHolderBesideALook", 2, false, true),
      Make<ParkForSlot>("ParkForASlot", 3, true),
      Make<Close>("CloseBesideASend", 2, true, Publication::kFenced),
      Make<Close>("CloseBesideASendByAPlainStore", 2, true, Publication::kPlain),
  };
  return *scenarios;
}

}  // namespace mailrail::model
