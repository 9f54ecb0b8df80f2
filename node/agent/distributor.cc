#include "node/agent/distributor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/shm/futex.h"

namespace mailrail {
namespace {

// How many messages of one mailbox are given out before the next one's turn, and before the agent's
// other thread may change what there is.
constexpr int kInTurn = 32;
constexpr uint64_t kBytesInTurn = uint64_t{1} << 20;

}  // namespace

volatile DistributionNote* Distributor::NoteOf(const Target& target, int priority) {
  return reinterpret_cast<volatile DistributionNote*>(target.control.data() +
                                                      DistributionNote::kOffset) +
         priority;
}

Distributor::MailboxPtr Distributor::Find(uint64_t mailbox) {
  const auto found = mailboxes_.find(mailbox);
  return found == mailboxes_.end() ? nullptr : found->second;
}

void Distributor::Wake() {
  wakes_.fetch_add(1);
  FutexWakeAll(&wakes_);
}

void Distributor::AddSource(Source source) {
  const auto mailbox = std::make_shared<Mailbox>();
  mailbox->parker = Parker(reinterpret_cast<BellWords*>(source.memory.bell.data()),
                           reinterpret_cast<GateWord*>(source.memory.gate.data()));
  for (Target& target : source.targets) mailbox->targets[target.mailbox] = std::move(target);
  source.targets.clear();
  mailbox->source = std::move(source);
  {
    absl::MutexLock turn(&turn_);
    absl::MutexLock lock(&mutex_);
    if (stops_) return;
    for (Lease& held : mailbox->source.queue->HeldLeases()) Resume(mailbox.get(), std::move(held));
    mailboxes_[mailbox->source.mailbox] = mailbox;
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  Wake();
}

bool Distributor::HasSource(uint64_t mailbox) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  return Find(mailbox) != nullptr;
}

void Distributor::RemoveSource(uint64_t mailbox) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  mailboxes_.erase(mailbox);
}

void Distributor::AddTarget(uint64_t source, Target target) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  if (const MailboxPtr mailbox = Find(source)) {
    mailbox->targets[target.mailbox] = std::move(target);
  }
}

void Distributor::RemoveTarget(uint64_t source, uint64_t mailbox) {
  {
    absl::MutexLock turn(&turn_);
    absl::MutexLock lock(&mutex_);
    if (const MailboxPtr of = Find(source)) of->targets.erase(mailbox);
  }
  // It may be the one that had no room.
  Wake();
}

void Distributor::Join(uint64_t source, std::shared_ptr<IncomingCells> lane, uint32_t version) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  if (const MailboxPtr mailbox = Find(source))
    mailbox->source.queue->Join(std::move(lane), version);
}

void Distributor::End(uint64_t source, uint64_t lane, uint32_t version) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  if (const MailboxPtr mailbox = Find(source)) mailbox->source.queue->End(lane, version);
}

void Distributor::Reach(uint64_t source, uint32_t version) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock lock(&mutex_);
  if (const MailboxPtr mailbox = Find(source)) mailbox->source.queue->Reach(version);
}

void Distributor::Stop() {
  {
    absl::MutexLock turn(&turn_);
    absl::MutexLock lock(&mutex_);
    stops_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Distributor::Run() {
  std::vector<FutexWord> words;
  // What the words are part of: it may be removed while we sleep.
  std::vector<std::shared_ptr<const void>> held;
  while (true) {
    words.clear();
    held.clear();
    // After who waits to change something.
    { absl::MutexLock turn(&turn_); }
    {
      absl::MutexLock lock(&mutex_);
      if (stops_) return;
      words.push_back({&wakes_, wakes_.load()});
      if (DistributeAll()) continue;
      for (const auto& [id, mailbox] : mailboxes_) {
        words.push_back(mailbox->parker.Park());
        held.push_back(mailbox);
        for (const absl::optional<Pending>& pending : mailbox->pending) {
          if (!pending.has_value()) continue;
          // Of those that have no room one is enough: it is looked at all when that has.
          const auto target = mailbox->targets.find(pending->to.front());
          if (target == mailbox->targets.end()) continue;
          words.push_back(target->second.lane->ParkForRoom());
          held.push_back(target->second.lane);
        }
      }
      if (DistributeAll()) continue;
    }
    // What has no place among them is looked at when we look again by ourselves.
    words.resize(std::min(words.size(), kMaxFutexWords));
    FutexWaitAny(words, kLookAgain);
  }
}

bool Distributor::DistributeAll() {
  bool busy = false;
  for (const auto& [id, mailbox] : mailboxes_) busy |= Distribute(mailbox.get());
  return busy;
}

bool Distributor::Distribute(Mailbox* mailbox) {
  bool busy = false;
  int lowest = 0;
  bytes_ = 0;
  for (int priority = kMaxPriority; priority >= 0; --priority) {
    if (!mailbox->pending[priority].has_value()) continue;
    busy |= Continue(mailbox, priority);
    if (mailbox->pending[priority].has_value()) lowest = std::max(lowest, priority + 1);
  }
  for (int i = 0; i < kInTurn && bytes_ < kBytesInTurn && lowest <= kMaxPriority; ++i) {
    if (!TakeNext(mailbox, lowest)) break;
    busy = true;
    for (int priority = kMaxPriority; priority >= lowest; --priority) {
      if (mailbox->pending[priority].has_value()) lowest = priority + 1;
    }
  }
  if (mailbox->source.queue->TakeExpired() > 0) options_.look(mailbox->source.mailbox);
  return busy;
}

bool Distributor::TakeNext(Mailbox* mailbox, int lowest) {
  MailboxQueue& queue = *mailbox->source.queue;
  queue.set_lowest_priority(lowest);
  Lease lease;
  switch (queue.TakeLease(mailbox->control(), &lease)) {
    case ReceiveQueue::Taken::kMessage: {
      const int priority = lease.priority;
      if (Start(mailbox, std::move(lease))) Continue(mailbox, priority);
      return true;
    }
    case ReceiveQueue::Taken::kCorrupt:
      options_.dropped(mailbox->source.mailbox);
      options_.log(queue.error().message());
      return true;
    case ReceiveQueue::Taken::kNothing:
    case ReceiveQueue::Taken::kBehind:  // what has joined is on its way to us
    case ReceiveQueue::Taken::kVoid:
      return false;
  }
  return false;
}

void Distributor::Drop(Mailbox* mailbox, absl::string_view why) {
  options_.dropped(mailbox->source.mailbox);
  ++dropped_;
  // Not a line for each: who sends them decides how many there are.
  if ((dropped_ & (dropped_ - 1)) == 0) {
    options_.log(absl::StrCat("a message to a broadcast mailbox ", why, "; it was dropped, as ",
                              dropped_, " in all"));
  }
}

bool Distributor::Start(Mailbox* mailbox, Lease lease) {
  const int priority = lease.priority;
  const MailboxOptions& options = mailbox->source.options;
  // Copied once: its sender could change it.
  std::string bytes(lease.record.data, lease.record.length);
  absl::string_view body = bytes;
  Prefix prefix;
  if (lease.record.has_prefix &&
      (!DecodePrefix(&body, &prefix) || (prefix.NeedsAgent() && !lease.lane->by_agent()))) {
    mailbox->source.queue->Refuse(lease);
    Drop(mailbox, "is not well-formed");
    return false;
  }
  if (!CheckMessage(options, body.size(), priority).ok()) {
    mailbox->source.queue->Finish(lease, MailboxQueue::Outcome::kReceived);
    Drop(mailbox, "is not of a size that it takes");
    return false;
  }
  if (!prefix.sender.has_value()) prefix.sender = lease.lane->sender();
  if (prefix.sequence == 0) prefix.sequence = lease.sequence;
  prefix.due_ns = 0;
  Pending& pending = mailbox->pending[priority].emplace();
  pending.expires = prefix.expires_ns != 0;
  pending.prefix = EncodePrefix(prefix);
  pending.body.assign(body.data(), body.size());
  for (const auto& [id, target] : mailbox->targets) {
    if (target.opened_stamp <= lease.record.stamp) pending.to.push_back(id);
  }
  pending.lease = std::move(lease);
  return true;
}

void Distributor::Resume(Mailbox* mailbox, Lease lease) {
  const int priority = lease.priority;
  const uint64_t lane = lease.lane->id();
  const uint64_t sequence = lease.sequence;
  if (mailbox->pending[priority].has_value()) {
    // There never are two: somebody has written it there.
    mailbox->source.queue->Finish(lease, MailboxQueue::Outcome::kWithdrawn);
    return;
  }
  if (!Start(mailbox, std::move(lease))) return;
  Pending& pending = *mailbox->pending[priority];
  std::erase_if(pending.to, [&](uint64_t id) {
    const Target& target = mailbox->targets.at(id);
    const volatile DistributionNote* const note = NoteOf(target, priority);
    return note->lane == lane && note->sequence == sequence && note->position != 0 &&
           target.lane->sequence(priority) >= note->position;
  });
}

bool Distributor::Give(Mailbox* mailbox, Target* target, int priority, const Pending& pending) {
  if (pending.expires && target->lane->SetExpires()) options_.look(target->mailbox);
  volatile DistributionNote* const note = NoteOf(*target, priority);
  note->position = 0;
  note->lane = pending.lease.lane->id();
  note->sequence = pending.lease.sequence;
  note->position = target->lane->sequence(priority) + 1;
  const absl::Status sent =
      target->lane->Send(priority, {pending.prefix, pending.body}, absl::InfinitePast());
  bytes_ += pending.body.size();
  if (sent.ok() || absl::IsUnavailable(sent)) return true;  // or its receiver has gone
  const FullPolicy when_full = mailbox->source.options.when_full;
  if (absl::IsDeadlineExceeded(sent)) {
    // To make room it may have something to bury.
    if (when_full == FullPolicy::kDropOldest) options_.look(target->mailbox);
    return false;
  }
  // Its sender was told OK already: it is not refused any more.
  if (absl::IsResourceExhausted(sent) && when_full == FullPolicy::kReject) return false;
  options_.dropped(target->mailbox);
  return true;
}

bool Distributor::Continue(Mailbox* mailbox, int priority) {
  Pending& pending = *mailbox->pending[priority];
  const size_t before = pending.to.size();
  std::erase_if(pending.to, [&](uint64_t id) {
    const auto target = mailbox->targets.find(id);
    return target == mailbox->targets.end() || Give(mailbox, &target->second, priority, pending);
  });
  if (!pending.to.empty()) return pending.to.size() != before;
  mailbox->source.queue->Finish(pending.lease, MailboxQueue::Outcome::kReceived);
  mailbox->pending[priority].reset();
  return true;
}

}  // namespace mailrail
