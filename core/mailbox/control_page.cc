#include "core/mailbox/control_page.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/base/seeded_bug.h"
#include "mailrail/limits.h"

namespace mailrail {

bool ReceiverTable::Write(const std::vector<uint32_t>& receivers) {
  uint32_t before = 0;
  std::vector<uint32_t> present;
  if (Read(&before, &present) && present == receivers) return false;
  const uint32_t writing = version.load() | 1;
  version.store(writing);
  count.store(static_cast<uint32_t>(receivers.size()));
  for (size_t i = 0; i < receivers.size(); ++i) numbers[i].store(receivers[i]);
  version.store(writing + 1);
  return true;
}

bool ReceiverTable::Read(uint32_t* seen, std::vector<uint32_t>* receivers) const {
  const uint32_t before = version.load();
  if (before == *seen) return false;
  if (before % 2 != 0 && !SEEDED_BUG(TABLE_HALF_WRITTEN)) return false;
  const size_t size = std::min<size_t>(count.load(), kMostAssignedReceivers);
  std::vector<uint32_t> read(size);
  for (size_t i = 0; i < size; ++i) read[i] = numbers[i].load();
  if (version.load() != before) return false;
  *seen = before;
  *receivers = std::move(read);
  return true;
}

absl::Status ClosedStatus(absl::string_view destination, CloseReason reason) {
  absl::string_view why;
  switch (reason) {
    case CloseReason::kOpen:
      return absl::OkStatus();
    case CloseReason::kDestroyed:
      why = "was destroyed";
      break;
    case CloseReason::kProcessGone:
      why = "is gone";
      break;
    case CloseReason::kNodeGone:
      why = "was lost when its node started anew";
      break;
    case CloseReason::kRefused:
      why = "was closed, because what was sent is not well-formed";
      break;
    case CloseReason::kOwnerGone:
      why = "was destroyed, as the process that owned it is gone";
      break;
    case CloseReason::kAgentGone:
      return absl::AbortedError(absl::StrCat(
          destination, " ended with its agent; this process is detached: attach again"));
    default:
      why = "is closed";
  }
  return absl::UnavailableError(absl::StrCat(destination, " ", why));
}

absl::Status CheckMessage(const MailboxOptions& options, size_t size, int priority) {
  if (priority < 0 || priority > kMaxPriority) {
    return absl::InvalidArgumentError(
        absl::StrCat("priority ", priority, " is not in 0..", kMaxPriority));
  }
  if (options.fixed_size && size != options.max_message_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "message of ", size, " bytes; this mailbox takes exactly ", options.max_message_bytes));
  }
  if (size > options.max_message_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "message of ", size, " bytes; this destination takes at most ", options.max_message_bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const MailboxOptions& options) {
  if (options.max_message_bytes > kLargestMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat("max_message_bytes ", options.max_message_bytes,
                                                   " is larger than ", kLargestMaxMessageBytes));
  }
  if (options.capacity_messages < 1 || options.capacity_messages > kLargestCapacityMessages) {
    return absl::InvalidArgumentError(absl::StrCat("capacity_messages ", options.capacity_messages,
                                                   " is not in 1..", kLargestCapacityMessages));
  }
  if (options.policy < ReceivePolicy::kCompeting || options.policy > ReceivePolicy::kBroadcast) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no receive policy ", static_cast<int>(options.policy)));
  }
  if (options.order < MailboxOrder::kQueue || options.order > MailboxOrder::kLog) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no order ", static_cast<int>(options.order), " of a mailbox"));
  }
  if (options.order == MailboxOrder::kLog && options.policy != ReceivePolicy::kBroadcast) {
    return absl::InvalidArgumentError("only a broadcast mailbox is a log");
  }
  if (options.distribution < Distribution::kLeastBusy ||
      options.distribution > Distribution::kStickyByKey) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no distribution ", static_cast<int>(options.distribution)));
  }
  if (options.distribution != Distribution::kLeastBusy &&
      options.policy != ReceivePolicy::kCompeting) {
    return absl::InvalidArgumentError("messages are assigned to receivers that compete alone");
  }
  if (options.hold_order && options.distribution == Distribution::kRoundRobin) {
    return absl::InvalidArgumentError(
        "receivers that take turns do not hold a sender's order: its next message is another's");
  }
  if (options.when_full < FullPolicy::kBlock || options.when_full > FullPolicy::kDropNewest) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no policy ", static_cast<int>(options.when_full), " for when it is full"));
  }
  if (options.when_full == FullPolicy::kDropNewest && !options.dead_letter.empty()) {
    return absl::InvalidArgumentError(
        "what is dropped before it is sent cannot go to the dead letters: drop the oldest instead");
  }
  if (options.lease_time < absl::Milliseconds(10)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "lease_time ", absl::FormatDuration(options.lease_time), " is less than 10 ms"));
  }
  if (options.cutoff < absl::Milliseconds(10)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cutoff ", absl::FormatDuration(options.cutoff), " is less than 10 ms"));
  }
  if (options.max_attempts > kMostAttempts) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_attempts ", options.max_attempts, " is not in 0..", kMostAttempts));
  }
  if (!options.dead_letter.empty()) return CheckName("mailbox", options.dead_letter);
  return absl::OkStatus();
}

}  // namespace mailrail
