#include "core/sync/condition_memory.h"

namespace mailrail {

// The state is {where the next waiter looks for a place 32, where the next notification looks for a
// waiter 32}: hints.

bool ConditionMemory::Enlist(Holder me, uint32_t* place) {
  const auto first = static_cast<uint32_t>(header().state.fetch_add(uint64_t{1} << 32) >> 32);
  for (uint32_t i = 0; i < places(); ++i) {
    const uint32_t at = (first + i) % places();
    uint64_t nobody = 0;
    if (waiter(at).load() != 0 || !waiter(at).compare_exchange_strong(nobody, me.Pack())) continue;
    // After that: who clears it looks at all places once more.
    header().sleepers.store(1);
    *place = at;
    return true;
  }
  return false;
}

bool ConditionMemory::Notified(Holder me, uint32_t place) {
  uint64_t notified = me.Pack() | kNotified;
  return waiter(place).compare_exchange_strong(notified, 0);
}

bool ConditionMemory::Leave(Holder me, uint32_t place) {
  uint64_t mine = me.Pack();
  if (waiter(place).compare_exchange_strong(mine, 0)) return false;
  return Notified(me, place);
}

bool ConditionMemory::Find(Holder me, uint32_t* place) const {
  for (uint32_t at = 0; at < places(); ++at) {
    if ((waiter(at).load() & ~kNotified) != me.Pack()) continue;
    *place = at;
    return true;
  }
  return false;
}

FutexWord ConditionMemory::Park(uint32_t place) { return {&word(place), word(place).load()}; }

bool ConditionMemory::Notify(uint32_t place) {
  uint64_t state = waiter(place).load();
  if (!IsHeld(state) || (state & kNotified) != 0) return false;
  if (!waiter(place).compare_exchange_strong(state, state | kNotified)) return false;
  word(place).fetch_add(1);
  FutexWakeAll(&word(place));
  return true;
}

bool ConditionMemory::NotifyOne() {
  if (header().sleepers.load() == 0) return false;
  if (NotifyNext()) return true;
  header().sleepers.store(0);
  if (!NotifyNext()) return false;
  header().sleepers.store(1);
  return true;
}

bool ConditionMemory::NotifyNext() {
  const auto first = static_cast<uint32_t>(header().state.load());
  for (uint32_t i = 0; i < places(); ++i) {
    const uint32_t at = (first + i) % places();
    if (!Notify(at)) continue;
    uint64_t state = header().state.load();
    header().state.compare_exchange_strong(state, (state & ~uint64_t{0xffffffff}) | (at + 1));
    return true;
  }
  return false;
}

void ConditionMemory::NotifyAll() {
  if (header().sleepers.load() == 0) return;
  for (uint32_t place = 0; place < places(); ++place) Notify(place);
}

void ConditionMemory::WakeWaiters() {
  for (uint32_t place = 0; place < places(); ++place) {
    if (!IsHeld(waiter(place).load())) continue;
    word(place).fetch_add(1);
    FutexWakeAll(&word(place));
  }
}

uint32_t ConditionMemory::Waiting(Holder* holders, uint32_t max) const {
  uint32_t found = 0;
  for (uint32_t place = 0; place < places() && found < max; ++place) {
    const uint64_t state = waiter(place).load();
    if (IsHeld(state) && (state & kNotified) == 0) holders[found++] = Holder::Unpack(state);
  }
  return found;
}

uint32_t ConditionMemory::RemoveHolders(Gone gone) {
  uint32_t removed = 0;
  for (uint32_t place = 0; place < places(); ++place) {
    uint64_t state = waiter(place).load();
    while (IsHeldByGone(state, gone)) {
      // First: whoever does this may die, too, and a notification too many does less harm than one
      // too few.
      if ((state & kNotified) != 0) NotifyOne();
      if (!waiter(place).compare_exchange_strong(state, 0)) continue;
      ++removed;
      break;
    }
  }
  return removed;
}

}  // namespace mailrail
