// The registry's numbers: what claims of messages are marked with.
#include <algorithm>

#include "core/lane/cell_reader.h"
#include "core/sync/any_sync.h"
#include "node/agent/mapped_lanes.h"
#include "node/agent/registry.h"
#include "proto/state.pb.h"

namespace mailrail {
namespace {

constexpr uint32_t kReserve = 256;

}  // namespace

std::set<uint32_t> Registry::NumbersInUse() const {
  std::set<uint32_t> numbers;
  for (const auto& [number, process] : processes_) numbers.insert(number);
  for (const auto& [id, mailbox] : mailboxes_) {
    numbers.insert(mailbox->creator);
    numbers.insert(mailbox->distributor);
    numbers.insert(mailbox->receivers.begin(), mailbox->receivers.end());
    numbers.insert(mailbox->former_receivers.begin(), mailbox->former_receivers.end());
    for (const auto& [name, entry] : mailbox->remote_receivers) numbers.insert(entry.number);
    for (const auto& [place, number] : mailbox->order) numbers.insert(number);
  }
  for (const auto& [id, lane] : lanes_) numbers.insert(lane->sender.number);
  for (const auto& [id, link] : links_) {
    numbers.insert(link->a.number);
    numbers.insert(link->b.number);
  }
  for (const auto& [id, proxy] : proxies_) numbers.insert(proxy->number);
  for (const auto& [id, object] : objects_) {
    for (const auto& [number, open_id] : object->users) numbers.insert(number);
  }
  for (const auto& [number, user] : far_users_) numbers.insert(number);
  for (const auto& [id, object] : far_objects_) {
    for (const auto& [number, user] : object.users) numbers.insert(number);
  }
  for (const auto& [id, region] : regions_) {
    for (const auto& [open_id, open] : region->opens) numbers.insert(open.number);
  }
  return numbers;
}

void Registry::ReserveNumbers() {
  if (numbers_reserved_ == 0) {
    // Not from 1: a pid that comes back after the node itself started anew has another incarnation.
    const int64_t seconds = absl::ToUnixSeconds(absl::Now()) - 1767225600;  // since 2026
    last_number_ = static_cast<uint32_t>(seconds & 0x7fffff);
  } else if (last_number_ >= kMaxNumber) {
    last_number_ = 0;
    numbers_wrapped_ = true;
  }
  numbers_reserved_ = std::min(last_number_ + kReserve, kMaxNumber);
  if (numbers_wrapped_) {
    numbers_taken_ = NumbersInUse();
    // What is left in numbers that nobody has is void; so nothing is, when they are given out.
    for (const auto& [id, lane] : lanes_) {
      absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(*lane);
      if (!cells.ok()) continue;  // nobody can claim in it either
      (*cells)->reader().ReleaseClaimsIf(
          [&](uint32_t owner) { return !numbers_taken_.contains(owner); });
    }
    for (const auto& [id, object] : objects_) {
      object->view().RemoveHolders(
          [&](uint32_t holder) { return !numbers_taken_.contains(holder); });
    }
  }
  SaveNode();
}

absl::StatusOr<uint32_t> Registry::NewNumber() {
  for (uint32_t tries = 0; tries < kMaxNumber; ++tries) {
    if (last_number_ >= numbers_reserved_) ReserveNumbers();
    ++last_number_;
    if (!numbers_taken_.contains(last_number_)) return last_number_;
  }
  return absl::ResourceExhaustedError("all numbers of processes are in use on this node");
}

}  // namespace mailrail
