// The doorbell, with a ring lane (one receiver) or a mailbox lane (two).
#include <cstdint>
#include <new>

#include "core/lane/cell_reader.h"
#include "core/lane/cell_writer.h"
#include "core/lane/ring_reader.h"
#include "core/lane/ring_writer.h"
#include "core/shm/bell.h"
#include "tests/model/checked_step.h"
#include "tests/model/scenarios.h"
#include "tests/model/shared_memory.h"

namespace mailrail::model {
namespace {

constexpr int kPriority = 7;
constexpr int kQuietBefore = 62;  // one less than it takes to stream at the second message

// Senders and receivers of one bell. A receiver whose gate does not change for a while sleeps, and
// must not do so beside a message when all is over.
class BellScenario : public Scenario {
 public:
  BellScenario(bool sole, bool streams) : sole_(sole), streams_(streams) {}

  void Begin() override {
    if (!streams_) return;
    for (int i = 0; i < kQuietBefore; ++i) ringer_.Ring();
  }

 protected:
  // Publishes the next message; and takes one, if one is there.
  virtual void Publish(Publication publication) = 0;
  virtual bool Take(int index) = 0;
  // Whether a message is there, taking none.
  virtual bool IsThere(int index) = 0;

  void Send(int count) {
    for (int i = 0; i < count; ++i) {
      Publish(ringer_.publication());
      ringer_.Ring();
    }
  }
  void Receive(int index) {
    Parker parker(bell(), gate());
    for (int parks = 0; parks < 3; ++parks) {
      while (Take(index)) {
      }
      const FutexWord word = parker.Park();
      if (!IsThere(index)) {
        bool woken = false;
        for (int polls = 0; polls < 2 && !woken; ++polls)
          woken = word.word->load() != word.expected;
        if (!woken) {
          sleeps_[index] = true;
          expected_[index] = word.expected;
          return;
        }
      }
      parker.Unpark(sole_);
    }
  }
  void CheckSleep(int index) {
    if (!sleeps_[index] || !IsThere(index)) return;
    Require(gate()->gate.load() != expected_[index], "a receiver sleeps beside a message");
  }

 private:
  BellWords* bell() const { return reinterpret_cast<BellWords*>(memory_.data()); }
  GateWord* gate() const { return reinterpret_cast<GateWord*>(memory_.data() + sizeof(BellWords)); }

  const bool sole_, streams_;
  const SharedMemory memory_{sizeof(BellWords) + sizeof(GateWord)};
  Ringer ringer_{bell(), gate()};
  bool sleeps_[3] = {};
  uint32_t expected_[3] = {};
};

class InboxBell : public BellScenario {
 public:
  explicit InboxBell(bool streams) : BellScenario(/*sole=*/true, streams) {}
  void Thread(int index) override {
    if (index == 0) {
      Send(3);
    } else {
      Receive(index);
    }
  }
  void End() override { CheckSleep(1); }

 private:
  void Publish(Publication publication) override {
    Require(writer_.Append(kPriority, {{}, "x"}, 0, publication), "no room");
  }
  bool IsThere(int) override {
    return reader_.rings_in_use() != 0 && reader_.Peek(kPriority, &record_) == Look::kReady;
  }
  bool Take(int index) override {
    if (!IsThere(index)) return false;
    reader_.Advance(kPriority, record_);
    return true;
  }

  const RingGeometry geometry_{.ring_bytes = 8 * kLine, .slab_bytes = 0, .cells = 1};
  const SharedMemory sender_{geometry_.memory_bytes()}, receiver_{geometry_.memory_bytes()};
  RingWriter writer_{geometry_, sender_.data(), receiver_.data()};
  RingReader reader_{geometry_, receiver_.data(), sender_.data()};
  Record record_;
};

class MailboxBell : public BellScenario {
 public:
  explicit MailboxBell(bool streams) : BellScenario(/*sole=*/false, streams) {}
  void Thread(int index) override {
    if (index == 0) {
      Send(2);
    } else {
      Receive(index);
    }
  }
  void End() override {
    CheckSleep(1);
    CheckSleep(2);
  }

 private:
  void Publish(Publication publication) override {
    Require(writer_.Append(kPriority, {{}, "x"}, 0, publication), "no room");
  }
  bool Find(int index, CellHead* head) {
    CellReader& reader = readers_[index - 1];
    return reader.rings_in_use() != 0 && reader.Peek(kPriority, head) == Look::kReady;
  }
  bool IsThere(int index) override {
    CellHead head;
    return Find(index, &head);
  }
  bool Take(int index) override {
    CellHead head;
    char body[Slot::kInlineBytes];
    if (!Find(index, &head)) return false;
    readers_[index - 1].TakeSmall(kPriority, head, static_cast<uint32_t>(index), body);
    return true;
  }

  const CellGeometry geometry_{.slots = 4, .slab_bytes = 0};
  const SharedMemory data_{geometry_.data_bytes()}, state_{geometry_.state_bytes()};
  CellWriter writer_{geometry_, 4, data_.data(), state_.data()};
  CellReader readers_[2] = {CellReader(geometry_, data_.data(), state_.data()),
                            CellReader(geometry_, data_.data(), state_.data())};
};

}  // namespace

const std::vector<NamedScenario>& BellScenarios() {
  static const auto* const scenarios = new std::vector<NamedScenario>{
      {"BellOfAnInbox", 2, true, [] { return std::make_unique<InboxBell>(false); }},
      {"BellOfAnInboxThatIsStreamedTo", 2, true, [] { return std::make_unique<InboxBell>(true); }},
      {"BellOfAMailbox", 3, true, [] { return std::make_unique<MailboxBell>(false); }},
      {"BellOfAMailboxThatIsStreamedTo", 3, true,
       [] { return std::make_unique<MailboxBell>(true); }},
  };
  return *scenarios;
}

}  // namespace mailrail::model
