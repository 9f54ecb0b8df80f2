// Which receives brought which sends' messages: a history, sorted by destinations.
#ifndef MAILRAIL_TESTS_SOAK_DELIVERIES_H_
#define MAILRAIL_TESTS_SOAK_DELIVERIES_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/soak/excuses.h"
#include "tests/soak/history.h"
#include "tests/soak/violation.h"

namespace mailrail::soak {

struct Sent;

// What became of a message that was leased, as its receiver says.
struct Settlement {
  bool acknowledges = false;  // else it gave it back
  int64_t call = 0;
  int64_t returned = Life::kNever;
  std::optional<absl::StatusCode> status;  // none: it did not return
};

// A receive that returned a message.
struct Receipt {
  const Sent* sent = nullptr;
  const Life* life = nullptr;
  int64_t call = 0;          // of the receive
  int64_t claimed_from = 0;  // not claimed before: the call, or earlier by a receiver elsewhere
  int64_t returned = 0;
  bool marked = false;
  std::optional<Settlement> settled;
};

// A receive that returned none.
struct EmptyReceive {
  const Life* life = nullptr;
  int64_t call = 0;
  int64_t returned = 0;
};

// A send.
struct Sent {
  const Life* life = nullptr;
  uint64_t key = 0;  // of the sender
  Event call;
  int64_t returned = Life::kNever;
  std::optional<absl::StatusCode> status;  // none: it did not return
  bool at_home = true;                     // its sender is on the node of its destination
  std::vector<const Receipt*> receipts;

  bool told() const { return status == absl::StatusCode::kOk; }
  bool refused() const {
    return status == absl::StatusCode::kDeadlineExceeded ||
           status == absl::StatusCode::kResourceExhausted ||
           status == absl::StatusCode::kInvalidArgument;
  }
  // When it was received first as far as order goes; none if it was away in between, or never.
  const Receipt* first() const {
    const Receipt* first = nullptr;
    for (const Receipt* receipt : receipts) {
      if (!receipt->marked && (first == nullptr || receipt->returned < first->returned)) {
        first = receipt;
      }
    }
    return first;
  }
};

// What the owner of an inbox knows of another process's end.
struct Watch {
  bool asked = false;
  std::optional<Event> told;
};

// An inbox or a mailbox.
struct Destination {
  bool is_mailbox = false;
  int home = 0;
  bool remote_receivers = false;
  int64_t lease_ns = 0;  // of a mailbox whose receivers acknowledge by hand
  // Of an inbox: whose it is, and what that has watched.
  const Life* owner = nullptr;
  std::map<uint64_t, Watch> watches;
  std::deque<Receipt> receipts;
  std::vector<EmptyReceive> empty_receives;  // by receivers of its node
  // When each receiver has first received from each sender.
  std::map<std::pair<const Life*, uint64_t>, int64_t> met;
  std::vector<Sent*> sent;        // each sender's in the order of its sends
  std::vector<OpenReceive> open;  // receives in which a receiver was killed
};

// Who sent and received what, of a history, which outlives this. Thread-compatible.
class Deliveries {
 public:
  explicit Deliveries(const History& history);

  std::deque<Sent>& sent() { return sent_; }
  std::map<uint64_t, Destination>& destinations() { return destinations_; }
  const Destination& to(const Sent& sent) const { return destinations_.at(sent.call.destination); }
  // By its key; null when it has not attached.
  const Life* process(uint64_t key) const {
    const auto found = destinations_.find(key);
    return found == destinations_.end() ? nullptr : found->second.owner;
  }
  // What was received of one sender at one priority from one destination, with its sequences.
  using Sequences = std::vector<std::pair<const Sent*, uint64_t>>;
  Sequences& sequences(const Sent& sent) {
    return sequences_[{sent.key, sent.call.destination, sent.call.priority}];
  }

  uint64_t received() const { return received_; }
  uint64_t redelivered() const { return redelivered_; }
  // What is wrong with single events: phantoms, altered messages, failed calls, ends.
  const std::vector<Violation>& violations() const { return violations_; }

 private:
  void FindDestinations();
  void ReadSends(const Life& life);
  void ReadReceives(const Life& life);
  void ReadEnd(const Life& life, const Event& event);
  void ReadReceipt(const Life& life, const Event& event, int64_t call, int64_t claimed_from);
  void ReadSettlement(const Life& life, const Event& event);

  const History& history_;
  std::map<uint64_t, Destination> destinations_;
  std::unordered_map<const Life*, uint64_t> key_of_;
  std::deque<Sent> sent_;
  std::unordered_map<uint64_t, Sent*> sent_of_;  // by their values
  std::map<std::tuple<uint64_t, uint64_t, int>, Sequences> sequences_;
  uint64_t received_ = 0;
  uint64_t redelivered_ = 0;
  std::vector<Violation> violations_;
};

// A send and its receives, for reports.
std::string Text(const Sent& sent);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_DELIVERIES_H_
