#include "tests/soak/leases.h"

#include <algorithm>

#include "absl/status/status.h"

namespace mailrail::soak {
namespace {

bool IsAcknowledged(const Receipt& receipt) {
  return receipt.settled.has_value() && receipt.settled->acknowledges &&
         receipt.settled->status == absl::StatusCode::kOk;
}

// Its receiver was killed in the acknowledgement.
bool MayBeAcknowledged(const Receipt& receipt) {
  return receipt.settled.has_value() && receipt.settled->acknowledges &&
         !receipt.settled->status.has_value();
}

bool LeaseMayHaveEnded(const Receipt& receipt, int64_t lease_ns, int64_t by_ns) {
  return by_ns - receipt.call >= lease_ns / 8 * 7;
}

// Whether `receipt`'s lease may have ended before `other` had the message.
bool EndedBefore(const Receipt& receipt, const Receipt& other, int64_t lease_ns) {
  if (IsAcknowledged(receipt)) return false;
  const std::optional<Settlement>& settled = receipt.settled;
  if (settled.has_value() && !settled->acknowledges && settled->call < other.returned) return true;
  const Life& life = *receipt.life;
  if (life.killed && life.struck_ns < other.returned) return true;
  if (life.left && life.events.back().time_ns < other.returned) return true;
  return LeaseMayHaveEnded(receipt, lease_ns, other.returned);
}

}  // namespace

void CheckLeases(const Sent& sent, int64_t lease_ns, std::vector<Violation>* violations) {
  const std::vector<const Receipt*>& receipts = sent.receipts;
  if (sent.told() && std::none_of(receipts.begin(), receipts.end(), [](const Receipt* receipt) {
        return IsAcknowledged(*receipt) || MayBeAcknowledged(*receipt);
      })) {
    Report(violations, Breach::kLost, Text(sent));
  }
  for (size_t i = 0; i < receipts.size(); ++i) {
    const Receipt& receipt = *receipts[i];
    for (size_t j = 0; j < receipts.size(); ++j) {
      if (i == j) continue;
      const Receipt& other = *receipts[j];
      if (i < j && !EndedBefore(receipt, other, lease_ns) &&
          !EndedBefore(other, receipt, lease_ns)) {
        Report(violations, Breach::kDuplicate, Text(sent));
      }
      if (!receipt.marked && other.returned < receipt.claimed_from) {
        Report(violations, Breach::kMark, Text(sent));
      }
    }
    const std::optional<Settlement>& settled = receipt.settled;
    if (!settled.has_value() || !settled->status.has_value() ||
        *settled->status == absl::StatusCode::kOk) {
      continue;
    }
    if (*settled->status != absl::StatusCode::kFailedPrecondition ||
        !LeaseMayHaveEnded(receipt, lease_ns, settled->returned)) {
      Report(violations, Breach::kStatus, Text(sent));
    }
  }
}

}  // namespace mailrail::soak
