#ifndef MAILRAIL_NODE_AGENT_MAILBOX_SCAN_H_
#define MAILRAIL_NODE_AGENT_MAILBOX_SCAN_H_

#include <compare>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "core/lane/cell_browser.h"
#include "core/shm/memory.h"
#include "node/agent/registry.h"
#include "proto/common.pb.h"

namespace mailrail {

// Where a message stands in the order in which a mailbox's messages are received. A sender that
// lies about its stamps misplaces its own messages.
struct MessagePlace {
  // Of what goes first, the smallest.
  static MessagePlace First() { return {}; }
  static MessagePlace Of(int priority, uint64_t stamp, uint64_t lane, bool unclaimed,
                         uint64_t position) {
    return {static_cast<uint32_t>(kMaxPriority - priority), stamp, lane, unclaimed, position};
  }
  static MessagePlace FromProto(const proto::Place& place);
  void ToProto(proto::Place* place) const;

  int priority() const { return kMaxPriority - static_cast<int>(below_highest); }
  auto operator<=>(const MessagePlace&) const = default;

  uint32_t below_highest = 0;
  uint64_t stamp = 0;  // of this message, or of one that goes before it in its lane
  uint64_t lane = 0;
  // It was never claimed: what was, and is there again, goes before it.
  bool unclaimed = false;
  uint64_t position = 0;
};

// A lane's memory, mapped to be looked at, read-only.
class BrowsedLane {
 public:
  // Errors as of MapCells.
  static absl::StatusOr<std::unique_ptr<BrowsedLane>> Map(const MailboxLane& lane);
  const CellBrowser& cells() const { return browser_; }

 private:
  BrowsedLane(const CellGeometry& geometry, Mapping data, Mapping state)
      : data_(std::move(data)),
        state_(std::move(state)),
        browser_(geometry, data_.data(), state_.data()) {}

  const Mapping data_;
  const Mapping state_;
  const CellBrowser browser_;
};

// Finds the first messages of a mailbox after some place, in a row of bounded looks: between two of
// them senders and receivers, and this agent, go on. Each message that is in the mailbox from the
// first look to the last is found, unless that many go before it.
//
// One thread at a time: the loop's.
class MailboxScan {
 public:
  struct Options {
    MessagePlace after = MessagePlace::First();
    size_t most = 0;            // at least 1
    bool waiting_only = false;  // what a receive could get now
  };
  // A message that was there.
  struct Found {
    MessagePlace place;
    uint32_t slot = 0;
    bool operator<(const Found& other) const { return place < other.place; }
  };

  // `registry` outlives it; the mailbox need not.
  MailboxScan(const Options& options, uint64_t mailbox, Registry* registry);

  // Looks at a bounded part; true when that was the last. From then on:
  bool Look();
  // the first messages, in their order;
  std::vector<Found> TakeFirst();
  // whether there were more than those;
  bool more() const { return more_; }
  // and about how many there were in all.
  uint64_t found() const { return found_; }

 private:
  void Note(const Found& found);
  // Looks at one lane; how many steps that took. `steps` is how many it may take.
  uint32_t LookAtLane(const MailboxLane& lane, uint32_t steps);

  const Options options_;
  const uint64_t mailbox_;
  Registry* const registry_;
  // Where to go on.
  uint64_t lane_ = 0;
  int priority_ = 0;
  uint32_t step_ = 0;
  uint64_t claimed_stamp_ = 0;  // the largest of this lane and priority that was claimed

  std::set<Found> first_;
  uint64_t found_ = 0;
  bool more_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MAILBOX_SCAN_H_
