// How a sleeping receiver is woken: two words, and nobody ever clears anything.
//
//   park:  g = gate; parks += 1; look at everything again; sleep while gate == g
//   send:  publish; if parks changed since this sender last rang: gate += 1, wake all
//
// `parks` is written by receivers alone, so a sender cannot spoil it. `gate` is a hint that every
// sender may write: a sender that dies or stops between publishing and ringing, or one that plays
// with the gate, delays a wake-up until the sleeper's own look again (kLookAgain) and does no other
// harm. There is no armed flag that a dying sender could leave cleared, or a dying receiver set.
//
// Publishing and looking at `parks` must not change places, or the sender might see no park and the
// receiver's second look no message. There are two ways to see to that:
//
//   fenced     the sender publishes by an exchange
//   streaming  the sender publishes by a plain store, and the receiver executes the barrier for it,
//              in its park (barrier.h). This pays when there are many messages between two parks.
//
// A sender that has published 64 times without a park writes into `streams` beside which park it
// streams, the last that it has seen, and then looks whether parks is still the same; a receiver
// that parks changes parks, and then reads `streams`. So either the sender sees the park, and does
// not stream, or the receiver sees that someone may, and executes the barrier. A sender that sees a
// park streams no more, until it has written `streams` again.
//
// A receiver clears `streams` after its barrier, so that another, which parks meanwhile, does not
// rely on one that was not executed yet; and only if it tells of parks before its own: who streams
// beside this park, which it has seen and rung for, will not see it once more, and needs the
// barrier of the next.
#ifndef MAILRAIL_CORE_SHM_BELL_H_
#define MAILRAIL_CORE_SHM_BELL_H_

#include <atomic>
#include <cstdint>

#include "absl/base/optimization.h"
#include "absl/time/time.h"
#include "core/base/seeded_bug.h"
#include "core/shm/barrier.h"
#include "core/shm/futex.h"
#include "core/shm/publication.h"
#include "core/shm/step.h"

namespace mailrail {

// Written by the receivers of one inbox or mailbox, read by its senders. Shared between processes.
struct BellWords {
  // How often a receiver announced that it will sleep.
  alignas(128) SharedAtomic<uint64_t> parks;
  // A sole receiver that is up again stores parks here: nobody sleeps, nobody need ring.
  alignas(128) SharedAtomic<uint64_t> awake;
  // A receiver of a mailbox on another node: 0 while it waits for no message, and for each one that
  // it waits for another number than for the one before.
  alignas(128) SharedAtomic<uint32_t> wanted;
};
static_assert(sizeof(BellWords) == 384 && alignof(BellWords) == 128);

// Written by senders and receivers. Shared between processes.
struct GateWord {
  alignas(128) SharedAtomic<uint32_t> gate;
  // Not 0 when senders may publish by plain stores: one more than the last park that any of them
  // has seen. As much a hint as the gate: who clears it without a park may delay a wake-up until
  // the sleeper's own look.
  alignas(128) SharedAtomic<uint64_t> streams;
};
static_assert(sizeof(GateWord) == 256);
static_assert(SharedAtomic<uint64_t>::is_always_lock_free);
static_assert(SharedAtomic<uint32_t>::is_always_lock_free);

// How long to sleep at most where a barrier was needed and not to be had.
inline constexpr absl::Duration kLookAgainSoon = absl::Milliseconds(1);

// Changes the gate and wakes whoever sleeps on it.
inline void RingGate(GateWord* gate) {
  gate->gate.fetch_add(1);
  FutexWakeAll(&gate->gate);
}

// A sender's side of a bell. Thread-compatible.
class Ringer {
 public:
  Ringer() = default;
  Ringer(const BellWords* bell, GateWord* gate) : bell_(bell), gate_(gate) {}

  // How to publish the next message.
  Publication publication() const { return publication_; }

  // Call after a publish in that way: rings if a receiver has parked since the last ring. No system
  // call while no receiver sleeps.
  void Ring() {
    // Sequentially consistent, as an exchange before it: with a weaker load some processors could
    // take this one first. Partner of parks.fetch_add in Park.
    const uint64_t parks = bell_->parks.load();
    if (ABSL_PREDICT_TRUE(parks == last_rung_)) {
      if (ABSL_PREDICT_FALSE(++quiet_ == kStreamAfter)) Stream();
    } else {
      RingFor(parks);
    }
  }

 private:
  static constexpr uint32_t kStreamAfter = 64;

  void RingFor(uint64_t parks) {
    quiet_ = 0;
    if (publication_ == Publication::kPlain) {
      // The park that we saw had a barrier for us. A later one need not have.
      publication_ = Publication::kFenced;
      std::atomic_thread_fence(std::memory_order_seq_cst);
      parks = bell_->parks.load();
    }
    // An awake that equals it is of that park, and the next one changes parks.
    if (bell_->awake.load(std::memory_order_relaxed) != parks) RingGate(gate_);
    last_rung_ = parks;
  }
  void Stream() {
    if (publication_ == Publication::kPlain || !RegisterForBarriers()) return;
    const uint64_t beside = last_rung_ + 1;
    uint64_t streams = gate_->streams.load();
    while (streams < beside && !gate_->streams.compare_exchange_weak(streams, beside)) {
    }
    if (bell_->parks.load() == last_rung_) {
      publication_ = Publication::kPlain;
    } else {
      quiet_ = 0;
    }
  }

  const BellWords* bell_ = nullptr;
  GateWord* gate_ = nullptr;
  uint64_t last_rung_ = 0;
  uint32_t quiet_ = 0;  // publishes without a park
  Publication publication_ = Publication::kFenced;
};

// A receiver's side of a bell. Thread-compatible.
class Parker {
 public:
  Parker() = default;
  Parker(BellWords* bell, GateWord* gate) : bell_(bell), gate_(gate) {}

  // Announces the park. Look at everything again after this, and sleep on the word returned only
  // if there was nothing.
  FutexWord Park() {
    const uint32_t gate = gate_->gate.load();
    if (SEEDED_BUG(STREAMS_READ_BEFORE_PARKS) && gate_->streams.exchange(0) != 0) BarrierForAll();
    parked_ = bell_->parks.fetch_add(1) + 1;
    if (SEEDED_BUG(STREAMS_READ_BEFORE_PARKS)) return {&gate_->gate, gate};
    uint64_t streams = gate_->streams.load();
    without_barrier_ = streams != 0 && !BarrierForAll();
    // Also what no sound sender has written: nobody has seen a park that was not.
    if (streams != 0 && (streams <= parked_ || streams > bell_->parks.load() + 1)) {
      gate_->streams.compare_exchange_strong(streams, 0);
    }
    // The looks that follow are weaker loads, and must not be taken before.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return {&gate_->gate, gate};
  }

  // How long to sleep at most after that park: where no barrier can be had, a message may show
  // late.
  absl::Duration LookAgainAfter() const {
    return ABSL_PREDICT_FALSE(without_barrier_) ? kLookAgainSoon : kLookAgain;
  }

  // The receiver is up again. `sole`: no other thread or process parks at this bell.
  void Unpark(bool sole) {
    if (sole) bell_->awake.store(parked_, std::memory_order_release);
  }

 private:
  BellWords* bell_ = nullptr;
  GateWord* gate_ = nullptr;
  uint64_t parked_ = 0;
  bool without_barrier_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_BELL_H_
