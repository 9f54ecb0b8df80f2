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
// Both publishing and parks += 1 are sequentially consistent read-modify-writes, so that either
// the sender sees the park or the receiver's second look sees the message.
#ifndef MAILRAIL_CORE_SHM_BELL_H_
#define MAILRAIL_CORE_SHM_BELL_H_

#include <atomic>
#include <cstdint>

#include "core/shm/futex.h"

namespace mailrail {

// Written by the receivers of one inbox or mailbox, read by its senders. Shared between processes.
struct BellWords {
  // How often a receiver announced that it will sleep.
  alignas(128) std::atomic<uint64_t> parks;
  // A sole receiver that is up again stores parks here: nobody sleeps, nobody need ring.
  alignas(128) std::atomic<uint64_t> awake;
  // A receiver of a mailbox on another node: how many messages it waits for (0 or 1).
  alignas(128) std::atomic<uint32_t> wanted;
};
static_assert(sizeof(BellWords) == 384 && alignof(BellWords) == 128);

// Written by senders and receivers. Shared between processes.
struct GateWord {
  alignas(128) std::atomic<uint32_t> gate;
};
static_assert(sizeof(GateWord) == 128);
static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(std::atomic<uint32_t>::is_always_lock_free);

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

  // Call after a publish that was a sequentially consistent read-modify-write: rings if a receiver
  // has parked since the last ring. No system call while no receiver sleeps.
  void Ring() {
    // Sequentially consistent, as the publish before it: with a weaker load some processors could
    // take this one first. Partner of parks.fetch_add in Park.
    const uint64_t parks = bell_->parks.load();
    if (parks == last_rung_) return;
    // An awake that equals it is of that park.
    if (bell_->awake.load(std::memory_order_relaxed) == parks) return;
    RingGate(gate_);
    last_rung_ = parks;
  }

 private:
  const BellWords* bell_ = nullptr;
  GateWord* gate_ = nullptr;
  uint64_t last_rung_ = 0;
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
    parked_ = bell_->parks.fetch_add(1) + 1;
    // The looks that follow are weaker loads, and must not be taken before.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return {&gate_->gate, gate};
  }

  // The receiver is up again. `sole`: no other thread or process parks at this bell.
  void Unpark(bool sole) {
    if (sole) bell_->awake.store(parked_, std::memory_order_release);
  }

 private:
  BellWords* bell_ = nullptr;
  GateWord* gate_ = nullptr;
  uint64_t parked_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_BELL_H_
