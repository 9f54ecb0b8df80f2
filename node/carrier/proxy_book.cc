#include "node/carrier/proxy_book.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "node/carrier/lease_name.h"

namespace mailrail {
namespace {

constexpr auto kLastVerdict = static_cast<uint64_t>(ProxyDelivery::Verdict::kRefused);

volatile ProxyNote* NotesIn(const Mapping& control) {
  if (control.size() < kProxyControlBytes) return nullptr;
  return reinterpret_cast<volatile ProxyNote*>(control.data() + ProxyNote::kOffset);
}

}  // namespace

ProxyBook::ProxyBook(const Mapping& control, size_t most_open)
    : notes_(NotesIn(control)), most_open_(std::min(most_open, kMostFarLeases)) {}

void ProxyBook::Restore(absl::FunctionRef<bool(const ProxyDelivery&)> published) {
  for (size_t i = 0; notes_ != nullptr && i < ProxyNote::kCount; ++i) {
    volatile ProxyNote& note = notes_[i];
    const uint64_t state = note.state;
    ProxyDelivery delivery;
    delivery.note = i;
    delivery.lease.set_lane(note.lane);
    delivery.lease.set_sequence(note.sequence);
    delivery.lease.set_priority(static_cast<uint32_t>(note.priority));
    delivery.lease.set_delivery(note.delivery);
    delivery.position = note.position;
    const bool open = state == ProxyNote::kOpen || state == ProxyNote::kEnded;
    if (state == ProxyNote::kFree || state > ProxyNote::kDecided + kLastVerdict ||
        note.priority >= kPriorityCount || (open && (note.position == 0 || !published(delivery)))) {
      note.state = ProxyNote::kFree;
      continue;
    }
    used_[i] = true;
    if (open) {
      delivery.step = ProxyDelivery::Step::kPublished;
      delivery.ended = state == ProxyNote::kEnded;
      open_.push_back(std::move(delivery));
    } else {
      delivery.step = ProxyDelivery::Step::kDecided;
      delivery.verdict = static_cast<ProxyDelivery::Verdict>(state - ProxyNote::kDecided);
      delivery.due = absl::FromUnixNanos(note.due_ns);
      decided_.push_back(std::move(delivery));
      next_turn_ = std::max<uint64_t>(next_turn_, note.turn + 1);
    }
  }
  open_.sort([](const ProxyDelivery& a, const ProxyDelivery& b) {
    return a.lease.delivery() < b.lease.delivery();
  });
  decided_.sort([this](const ProxyDelivery& a, const ProxyDelivery& b) {
    return note(a)->turn < note(b)->turn;
  });
  while (decided_.size() > most_open_) Forget(&decided_, decided_.begin());
}

ProxyBook::Place ProxyBook::PlaceOf(const ProxyDelivery* delivery) {
  return std::find_if(open_.begin(), open_.end(),
                      [delivery](const ProxyDelivery& each) { return &each == delivery; });
}

size_t ProxyBook::FreeNote() const {
  return static_cast<size_t>(std::find(std::begin(used_), std::end(used_), false) -
                             std::begin(used_));
}

void ProxyBook::Forget(std::list<ProxyDelivery>* list, Place place) {
  used_[place->note] = false;
  if (volatile ProxyNote* const kept = note(*place)) kept->state = ProxyNote::kFree;
  list->erase(place);
}

ProxyDelivery* ProxyBook::Find(const proto::Delivery& delivery) {
  ProxyDelivery* same = nullptr;
  for (std::list<ProxyDelivery>* const list : {&open_, &decided_}) {
    for (ProxyDelivery& each : *list) {
      if (each.lease.delivery() == delivery.lease().delivery()) return &each;
      if (delivery.again() && !each.ended && SameMessage(each.lease, delivery.lease()) &&
          (same == nullptr || same->lease.delivery() < each.lease.delivery())) {
        same = &each;
      }
    }
  }
  return same;
}

ProxyDelivery* ProxyBook::FindOpen(int priority, uint64_t position) {
  for (ProxyDelivery& each : open_) {
    if (each.priority() == priority && each.position == position) return &each;
  }
  return nullptr;
}

ProxyDelivery* ProxyBook::Add(const proto::LeaseName& lease) {
  for (ProxyDelivery& each : open_) {
    if (!SameMessage(each.lease, lease)) continue;
    each.ended = true;
    if (volatile ProxyNote* const kept = note(each)) kept->state = ProxyNote::kEnded;
  }
  for (Place each = decided_.begin(); each != decided_.end();) {
    const Place place = each++;
    if (SameMessage(place->lease, lease)) Forget(&decided_, place);
  }
  ProxyDelivery& added = open_.emplace_back();
  added.lease = lease;
  added.note = FreeNote();
  used_[added.note] = true;
  if (volatile ProxyNote* const kept = note(added)) {
    kept->lane = lease.lane();
    kept->sequence = lease.sequence();
    kept->priority = lease.priority();
    kept->delivery = lease.delivery();
    kept->position = 0;
    kept->state = ProxyNote::kOpen;
  }
  return &added;
}

void ProxyBook::Renumber(ProxyDelivery* delivery, uint64_t number) {
  if (number < delivery->lease.delivery()) return;
  delivery->lease.set_delivery(number);
  if (volatile ProxyNote* const kept = note(*delivery)) kept->delivery = number;
}

void ProxyBook::NotePosition(ProxyDelivery* delivery, uint64_t position) {
  delivery->position = position;
  if (volatile ProxyNote* const kept = note(*delivery)) kept->position = position;
}

void ProxyBook::NoteVerdict(ProxyDelivery* delivery, ProxyDelivery::Verdict verdict,
                            absl::Time due) {
  delivery->verdict = verdict;
  delivery->due = due;
  volatile ProxyNote* const kept = note(*delivery);
  if (kept == nullptr || delivery->ended) return;
  kept->turn = next_turn_++;
  kept->due_ns = absl::ToUnixNanos(due);
  kept->state = ProxyNote::kDecided + static_cast<uint64_t>(verdict);
}

bool ProxyBook::Decide(ProxyDelivery* delivery) {
  const Place place = PlaceOf(delivery);
  if (delivery->ended) {
    Forget(&open_, place);
    return false;
  }
  delivery->step = ProxyDelivery::Step::kDecided;
  decided_.splice(decided_.end(), open_, place);
  if (decided_.size() > most_open_) Forget(&decided_, decided_.begin());
  return true;
}

}  // namespace mailrail
