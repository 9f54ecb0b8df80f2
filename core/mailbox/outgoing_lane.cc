#include "core/mailbox/outgoing_lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/base/seeded_bug.h"
#include "core/mailbox/lane_group.h"
#include "core/message/prefix.h"
#include "core/shm/stamp.h"

namespace mailrail {
namespace {

// How often a sender looks whether its process is still attached, in nanoseconds; and after how
// many sends, at most, it looks at the clock.
constexpr int64_t kBetweenLooks = 50000000;
constexpr int kSendsBetweenTimes = 64;

// How long a sender without room looks for some before it sleeps: a receiver that is awake has read
// a part of a ring by then.
constexpr absl::Duration kSpinForRoom = absl::Microseconds(50);
constexpr int kPausesForRoom = 16;

// How often a sender looks that waits for memory: nobody rings when there is some.
constexpr absl::Duration kLookForMemory = absl::Milliseconds(1);

}  // namespace

void LinkMemory::ReserveBy(const std::shared_ptr<Budget>& budget) {
  reserve = ReserveOf(budget);
  if (reserve != nullptr) reserve->Force(own.data(), kFixedBytes);
}

OutgoingLane::OutgoingLane(std::string name, const MailboxOptions& options,
                           std::shared_ptr<LinkMemory> link, DestinationMemory destination)
    : name_(std::move(name)),
      options_(options),
      link_(std::move(link)),
      reserve_(link_->reserve),
      destination_(std::move(destination)),
      ring_(new RingWriter(link_->geometry, link_->own.data(), link_->peer.data(), reserve_.get())),
      ringer_(destination_.bell_words(), destination_.gate_word()) {}

OutgoingLane::OutgoingLane(std::string name, const MailboxOptions& options,
                           const CellGeometry& geometry, Mapping data, Mapping state,
                           uint32_t number, DestinationMemory destination,
                           std::shared_ptr<Reserve> reserve)
    : name_(std::move(name)),
      options_(options),
      data_(std::move(data)),
      state_(std::move(state)),
      reserve_(std::move(reserve)),
      number_(number),
      destination_(std::move(destination)),
      cells_(new CellWriter(geometry, options.capacity_messages, data_.data(), state_.data(),
                            reserve_.get())),
      ringer_(destination_.bell_words(), destination_.gate_word()) {}

OutgoingLane::OutgoingLane(std::string name, const MailboxOptions& options,
                           DestinationMemory destination, FetchLanes fetch)
    : name_(std::move(name)),
      options_(options),
      destination_(std::move(destination)),
      group_(new LaneGroup(this, std::move(fetch))) {}

OutgoingLane::~OutgoingLane() = default;

absl::Status OutgoingLane::Recover() {
  const HandleLockHolder lock(&lock_);
  if (ring_) return ring_->Recover();
  return cells_->Recover([](absl::string_view payload) {
    Prefix prefix;
    return DecodePrefix(&payload, &prefix) ? prefix.receipt : 0;
  });
}

inline CloseReason OutgoingLane::closed_reason() const {
  if (ring_ && ring_->refused()) return CloseReason::kRefused;
  return static_cast<CloseReason>(destination_.control_page()->closed.load());
}

absl::Status OutgoingLane::closed_status() const { return ClosedStatus(name_, closed_reason()); }

absl::optional<SlabRoom> OutgoingLane::TryAllocate(int priority, size_t size) {
  const bool urgent = priority >= kUrgentPriority;
  return ring_ ? ring_->Allocate(size, urgent) : cells_->Allocate(size, urgent);
}

OutgoingLane::Try OutgoingLane::TryAppendSlab(int priority, const SlabRoom& room, size_t size,
                                              bool has_prefix, const CellOptions& options) {
  const auto length = static_cast<uint32_t>(size);
  const bool done = ring_ ? ring_->AppendSlab(priority, room, length, has_prefix, 0)
                          : cells_->AppendSlab(priority, room, length, has_prefix, NextStamp(),
                                               options, has_prefix ? KeyIn({room.data, size}) : 0);
  return done ? Try::kDone : Try::kNoRoom;
}

inline OutgoingLane::Try OutgoingLane::TrySend(int priority, const Payload& payload,
                                               Publication publication,
                                               const CellOptions& options) {
  if (payload.size() <= inline_limit()) {
    const bool done = ring_ ? ring_->Append(priority, payload, 0, publication)
                            : cells_->Append(priority, payload, NextStamp(), publication, options,
                                             KeyIn(payload.prefix));
    return done ? Try::kDone : Try::kNoRoom;
  }
  const absl::optional<SlabRoom> room = TryAllocate(priority, payload.size());
  if (!room.has_value()) return Try::kNoRoom;
  if (!payload.prefix.empty()) memcpy(room->data, payload.prefix.data(), payload.prefix.size());
  StepsOfCopy(room->data + payload.prefix.size(), payload.body.data(), payload.body.size());
  memcpy(room->data + payload.prefix.size(), payload.body.data(), payload.body.size());
  if (TryAppendSlab(priority, *room, payload.size(), !payload.prefix.empty(), options) ==
      Try::kDone) {
    return Try::kDone;
  }
  ring_ ? ring_->Free(*room) : cells_->Free(*room);
  return Try::kNoRoom;
}

absl::Status OutgoingLane::CheckAttached() {
  if (attachment_ == nullptr) return absl::OkStatus();
  const int64_t now = CoarseTime();
  const bool fast = now - last_time_ < kBetweenLooks / 2;
  last_time_ = now;
  sends_between_times_ = fast ? std::min(2 * sends_between_times_, kSendsBetweenTimes) : 1;
  sends_until_time_ = sends_between_times_;
  if (!attachment_->ended() && now - looked_at_ < kBetweenLooks) return absl::OkStatus();
  absl::Status status = attachment_->Check();
  if (status.ok()) {
    looked_at_ = now;
  } else {
    sends_until_time_ = 1;  // and so it stays
  }
  return status;
}

inline absl::Status OutgoingLane::Published(int priority, size_t count, size_t* taken_back) {
  // Looked at before the bell is rung, which may give the processor to the receiver: one that ends
  // after this message has received it.
  const CloseReason closed =
      SEEDED_BUG(CLOSED_NOT_READ_AFTER_PUBLISH) ? CloseReason::kOpen : closed_reason();
  if (!SEEDED_BUG(CHECK_BEFORE_PUBLISH)) ringer_.Ring();
  *taken_back = 0;
  if (ABSL_PREDICT_TRUE(closed == CloseReason::kOpen && LookedAt())) {
    return absl::OkStatus();
  }
  absl::Status status = CheckAttached();
  if (status.ok()) status = ClosedStatus(name_, closed);
  if (status.ok()) return status;
  // Closed or detached before or while we published. A mailbox's message may have been received all
  // the same; whoever wins the cell decides. Of an inbox nothing is received any more, unless it is
  // we who are gone; then nobody can tell.
  *taken_back = cells_ ? cells_->Retract(priority, number_, count) : count;
  return *taken_back > 0 ? status : absl::OkStatus();
}

FutexWord OutgoingLane::ParkLocked() {
  return ring_ ? ring_->ParkForRoom() : cells_->ParkForRoom();
}

std::string OutgoingLane::WhyFull(absl::string_view how) const {
  if (!short_of_memory()) return absl::StrCat(name_, " ", how);
  return absl::StrCat(name_, " ", how, ", as no shared memory is left for it: ", reserve_->Why());
}

OutgoingLane::Full OutgoingLane::OnFull(int priority) {
  // On its way to another node what is sent waits for room; it is there that it may be dropped.
  switch (options_.when_full) {
    case FullPolicy::kBlock:
      return Full::kWaits;
    case FullPolicy::kReject:
      return Full::kRefused;
    case FullPolicy::kDropNewest:
      return cells_ != nullptr ? Full::kDropped : Full::kWaits;
    case FullPolicy::kDropOldest:
      break;
  }
  if (cells_ == nullptr) return Full::kWaits;
  const CellWriter::Dropped dropped =
      cells_->DropOldest(priority, /*bury=*/!options_.dead_letter.empty());
  // It may have been given back, and have held up others.
  if (options_.hold_order && dropped != CellWriter::Dropped::kNone) {
    RingGate(destination_.gate_word());
  }
  switch (dropped) {
    case CellWriter::Dropped::kOne:
      return Full::kTryAgain;
    case CellWriter::Dropped::kLater:
      return Full::kBuries;
    case CellWriter::Dropped::kNone:
      break;
  }
  return Full::kRefused;
}

template <typename Attempt>
absl::Status OutgoingLane::UntilRoom(int priority, absl::Time deadline, const Attempt& attempt,
                                     bool* dropped, const CellOptions& options) {
  absl::Time spin_until = absl::InfiniteFuture();
  bool spins = false;
  while (true) {
    FutexWord word{nullptr, 0};
    absl::Duration most = kLookAgain;
    std::string full;
    bool buries = false;
    {
      const HandleLockHolder lock(&lock_);
      if (attempt() == Try::kDone) {
        if (spins) spin_for_room_.Succeeded();
        return absl::OkStatus();
      }
      if (absl::Status status = closed_status(); !status.ok()) return status;
      if (absl::Status status = CheckAttached(); !status.ok()) return status;
      const Full full_means = OnFull(priority);
      if (full_means == Full::kTryAgain) continue;
      if (full_means == Full::kDropped && dropped != nullptr) {
        cells_->DropNew(priority, options);
        *dropped = true;
        return absl::OkStatus();
      }
      buries = full_means == Full::kBuries;
      if (full_means != Full::kWaits && !buries) {
        return absl::ResourceExhaustedError(WhyFull("is full"));
      }
      if (deadline == absl::InfinitePast()) {
        if (buries && attachment_ != nullptr) attachment_->AskToLookAt(*this);
        return absl::DeadlineExceededError(WhyFull("has no room now"));
      }
      const absl::Time now = absl::Now();
      if (spin_until == absl::InfiniteFuture()) {
        spins = spin_for_room_.Pays();
        spin_until = spins ? std::min(deadline, now + kSpinForRoom) : now;
      }
      if (now >= spin_until) {
        if (std::exchange(spins, false)) spin_for_room_.Failed();
        word = ParkLocked();
        if (!SEEDED_BUG(NO_LOOK_BEFORE_SLEEP) && attempt() == Try::kDone) return absl::OkStatus();
        if (short_of_memory()) most = kLookForMemory;
        if (now >= deadline) full = WhyFull("had no room until the deadline");
      }
    }
    if (word.word == nullptr) {
      // A receiver that is awake soon gives room back, and nobody has to wake anybody.
      for (int i = 0; i < kPausesForRoom; ++i) SpinPause();
      continue;
    }
    if (buries && attachment_ != nullptr) attachment_->AskToLookAt(*this);
    // Without the lock: another thread's urgent message may have room where this one has none.
    if (!full.empty()) return absl::DeadlineExceededError(full);
    const absl::Duration left = deadline - absl::Now();
    if (left > absl::ZeroDuration()) FutexWait(word.word, word.expected, std::min(left, most));
  }
}

absl::Status OutgoingLane::Send(int priority, const Payload& payload, absl::Time deadline,
                                const CellOptions& options) {
  if (ABSL_PREDICT_FALSE(group_ != nullptr)) {
    return group_->Send(priority, payload, deadline, options);
  }
  if (absl::Status status = CheckMessage(payload.body.size(), priority);
      ABSL_PREDICT_FALSE(!status.ok())) {
    return status;
  }
  size_t taken_back;
  {
    const HandleLockHolder lock(&lock_);
    if (SEEDED_BUG(CHECK_BEFORE_PUBLISH)) ringer_.Ring();
    if (ABSL_PREDICT_TRUE(TrySend(priority, payload, ringer_.publication(), options) ==
                          Try::kDone)) {
      return Published(priority, 1, &taken_back);
    }
  }
  absl::Status published;
  bool dropped = false;
  const auto attempt = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (TrySend(priority, payload, ringer_.publication(), options) != Try::kDone) {
      return Try::kNoRoom;
    }
    published = Published(priority, 1, &taken_back);
    return Try::kDone;
  };
  const absl::Status room = UntilRoom(priority, deadline, attempt, &dropped, options);
  return room.ok() ? published : room;
}

absl::StatusOr<size_t> OutgoingLane::SendBatch(int priority,
                                               absl::Span<const absl::string_view> bodies,
                                               absl::Time deadline, absl::string_view prefix,
                                               const CellOptions& options) {
  for (const absl::string_view body : bodies) {
    if (absl::Status status = CheckMessage(body.size(), priority); !status.ok()) return status;
  }
  if (group_ != nullptr) return group_->SendBatch(priority, bodies, deadline, prefix, options);
  size_t sent = 0;
  while (sent < bodies.size()) {
    if (absl::Status status = closed_status(); !status.ok()) {
      if (sent > 0) break;
      return status;
    }
    absl::Status published;
    size_t taken_back = 0;
    bool dropped = false;
    const auto attempt = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
      const size_t before = sent;
      // Each message is published by itself; the bell is rung once for as many as found room.
      while (sent < bodies.size() && TrySend(priority, {prefix, bodies[sent]}, Publication::kPlain,
                                             options) == Try::kDone) {
        ++sent;
      }
      if (ringer_.publication() == Publication::kFenced) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
      }
      if (sent == before) return Try::kNoRoom;
      published = Published(priority, sent - before, &taken_back);
      return Try::kDone;
    };
    const absl::Status room = UntilRoom(priority, deadline, attempt, &dropped);
    sent += dropped;
    const absl::Status& status = room.ok() ? published : room;
    if (status.ok()) continue;
    sent -= taken_back;
    if (sent == 0) return status;
    break;
  }
  return sent;
}

absl::StatusOr<absl::optional<SlabRoom>> OutgoingLane::Claim(int priority, size_t size,
                                                             absl::Time deadline,
                                                             size_t prefix_bytes) {
  if (absl::Status status = CheckMessage(size, priority); !status.ok()) return status;
  absl::optional<SlabRoom> room;
  // What is for several is written once, and copied.
  if (prefix_bytes + size <= inline_limit() || group_ != nullptr) return room;
  const auto attempt = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    room = TryAllocate(priority, prefix_bytes + size);
    return room.has_value() ? Try::kDone : Try::kNoRoom;
  };
  const absl::Status status = UntilRoom(priority, deadline, attempt, /*dropped=*/nullptr);
  if (!status.ok()) return status;
  return room;
}

absl::Status OutgoingLane::Commit(int priority, const SlabRoom& room, size_t size,
                                  absl::Time deadline, size_t prefix_bytes,
                                  const CellOptions& options) {
  absl::Status published = CheckMessage(size, priority);
  absl::Status status = published;
  bool dropped = false;
  if (status.ok()) {
    const auto attempt = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
      if (TryAppendSlab(priority, room, prefix_bytes + size, prefix_bytes > 0, options) !=
          Try::kDone) {
        return Try::kNoRoom;
      }
      size_t taken_back;
      published = Published(priority, 1, &taken_back);
      return Try::kDone;
    };
    status = UntilRoom(priority, deadline, attempt, &dropped, options);
  }
  if (status.ok() && !dropped) return published;
  Free(room);
  return status;
}

void OutgoingLane::Free(const SlabRoom& room) {
  const HandleLockHolder lock(&lock_);
  ring_ ? ring_->Free(room) : cells_->Free(room);
}

FutexWord OutgoingLane::ParkForRoom() {
  const HandleLockHolder lock(&lock_);
  return ParkLocked();
}

bool OutgoingLane::SetExpires() {
  if (ring_ != nullptr || expires()) return false;
  const HandleLockHolder lock(&lock_);
  group_ != nullptr ? group_->SetExpires() : cells_->SetExpires();
  return !expires_.exchange(true);
}

uint64_t OutgoingLane::sequence(int priority) {
  const HandleLockHolder lock(&lock_);
  return ring_ ? ring_->sequence(priority) : cells_->sequence(priority);
}

uint64_t OutgoingLane::accepted(int priority) {
  const HandleLockHolder lock(&lock_);
  return ring_ ? ring_->sequence(priority) : cells_->accepted(priority);
}

bool OutgoingLane::Drained() {
  const HandleLockHolder lock(&lock_);
  return ring_ ? ring_->Drained() : cells_->Drained();
}

void OutgoingLane::TakeEnds(std::vector<CellEnd>* ends) {
  const HandleLockHolder lock(&lock_);
  if (cells_ != nullptr) cells_->TakeEnds(ends);
}

void OutgoingLane::ForgetEnd(int priority, uint64_t position) {
  const HandleLockHolder lock(&lock_);
  if (cells_ != nullptr) cells_->ForgetEnd(priority, position);
}

void OutgoingLane::PurgeAsked() {
  const HandleLockHolder lock(&lock_);
  if (cells_ != nullptr) cells_->PurgeAsked();
}

bool OutgoingLane::AwaitsEnds() {
  const HandleLockHolder lock(&lock_);
  return cells_ != nullptr && cells_->awaits_ends();
}

absl::optional<CellState> OutgoingLane::StateOf(int priority, uint64_t sequence) {
  const HandleLockHolder lock(&lock_);
  return cells_->StateOf(priority, sequence);
}

bool OutgoingLane::Retract(int priority) {
  const HandleLockHolder lock(&lock_);
  return cells_->Retract(priority, number_) == 1;
}

bool OutgoingLane::Recall(int priority, uint64_t sequence) {
  const HandleLockHolder lock(&lock_);
  return cells_->Recall(priority, number_, sequence);
}

}  // namespace mailrail
