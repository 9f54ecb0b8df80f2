#include "tests/soak/checker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tests/soak/deliveries.h"
#include "tests/soak/excuses.h"
#include "tests/soak/leases.h"

namespace mailrail::soak {
namespace {

constexpr int64_t kNever = Life::kNever;

class Checker {
 public:
  explicit Checker(const History& history) : history_(history), deliveries_(history) {}

  Verdict Run() {
    verdict_.violations = deliveries_.violations();
    verdict_.received = deliveries_.received();
    verdict_.redelivered = deliveries_.redelivered();
    for (const Sent& sent : deliveries_.sent()) CheckSent(sent);
    for (auto& [key, destination] : deliveries_.destinations()) CheckDestination(destination);
    return std::move(verdict_);
  }

 private:
  void Report(Breach breach, const std::string& text) {
    soak::Report(&verdict_.violations, breach, text);
  }

  void CheckSent(const Sent& sent) {
    verdict_.told += sent.told();
    const Destination& destination = deliveries_.to(sent);
    if (sent.status.has_value() && !sent.told() && !Excused(sent, destination)) {
      Report(Breach::kStatus,
             absl::StrCat(Text(sent), ": ", absl::StatusCodeToString(*sent.status)));
    }
    if (destination.lease_ns != 0) {
      verdict_.leased += sent.receipts.size();
      CheckLeases(sent, destination.lease_ns, &verdict_.violations);
      return;
    }
    if (sent.receipts.size() < 2) return;
    int unmarked = 0;
    for (const Receipt* receipt : sent.receipts) unmarked += !receipt->marked;
    if (!destination.remote_receivers || !destination.is_mailbox || unmarked > 1) {
      Report(Breach::kDuplicate, Text(sent));
    }
  }

  // Whether the send may have failed as it did.
  static bool Excused(const Sent& sent, const Destination& destination) {
    if (*sent.status == absl::StatusCode::kDeadlineExceeded) return true;
    return *sent.status == absl::StatusCode::kUnavailable && destination.owner != nullptr &&
           destination.owner->killed && destination.owner->struck_ns < sent.returned;
  }

  void CheckDestination(Destination& destination) {
    std::map<std::pair<uint64_t, int>, std::vector<Sent*>> streams;
    for (Sent* sent : destination.sent) streams[{sent->key, sent->call.priority}].push_back(sent);
    std::map<const Sent*, Window> missing;
    for (auto& [key, stream] : streams) CheckStream(destination, stream, &missing);
    if (destination.is_mailbox && !destination.remote_receivers) {
      std::map<int, std::vector<Sent*>> queues;
      for (Sent* sent : destination.sent) {
        if (sent->at_home) queues[sent->call.priority].push_back(sent);
      }
      for (auto& [priority, queue] : queues) CheckQueue(queue, &missing);
    }
    if (!destination.remote_receivers) CheckPriority(destination);
    if (destination.is_mailbox) CheckMissing(destination, missing);
    for (const auto& [key, watch] : destination.watches) {
      CheckWatch(destination, deliveries_.process(key), watch);
    }
    for (const Receipt& receipt : destination.receipts) {
      if (!receipt.marked) continue;
      const bool has_reason =
          destination.is_mailbox &&
          (destination.remote_receivers ||
           (destination.lease_ns != 0 && receipt.sent->receipts.size() > 1) ||
           std::any_of(destination.open.begin(), destination.open.end(),
                       [&](const OpenReceive& open) { return open.struck < receipt.returned; }));
      if (!has_reason) Report(Breach::kMark, Text(*receipt.sent));
    }
  }

  // One sender's messages of one priority to one destination, in the order of their sends.
  void CheckStream(Destination& destination, const std::vector<Sent*>& stream,
                   std::map<const Sent*, Window>* missing) {
    const Sent* next = nullptr;  // of those later, the one that was received first
    int64_t next_returned = kNever;
    for (auto it = stream.rbegin(); it != stream.rend(); ++it) {
      const Sent& sent = **it;
      const Receipt* first = sent.first();
      if (first != nullptr && next_returned < first->claimed_from) {
        Report(Breach::kOrder, absl::StrCat(Text(sent), " AFTER ", Text(*next)));
      }
      if (sent.told() && sent.receipts.empty() && destination.lease_ns == 0) {
        if (destination.is_mailbox) {
          Window& window = (*missing)[&sent];
          if (!destination.remote_receivers) window.EndBy(next_returned);
        } else if (destination.owner == nullptr || !destination.owner->killed || next != nullptr) {
          Report(Breach::kLost,
                 next == nullptr ? Text(sent) : absl::StrCat(Text(sent), " BEFORE ", Text(*next)));
        } else {
          ++verdict_.gone_in_inboxes;
        }
      }
      for (const Receipt* receipt : sent.receipts) {
        if (receipt->returned >= next_returned) continue;
        next_returned = receipt->returned;
        next = &sent;
      }
    }
    int64_t before = 0;  // the last call that returned an earlier one
    for (const Sent* sent : stream) {
      if (const auto found = missing->find(sent); found != missing->end()) {
        found->second.BeginAfter(sent->call.time_ns);
        if (!destination.remote_receivers) found->second.BeginAfter(before);
      }
      if (const Receipt* first = sent->first()) before = std::max(before, first->claimed_from);
    }
    CheckSequences(stream);
  }

  void CheckSequences(const std::vector<Sent*>& stream) {
    Deliveries::Sequences& received = deliveries_.sequences(*stream.front());
    // Values of one sender grow with its sends.
    std::sort(received.begin(), received.end(), [](const auto& a, const auto& b) {
      return std::pair(a.first->call.value, a.second) < std::pair(b.first->call.value, b.second);
    });
    for (size_t i = 1; i < received.size(); ++i) {
      const auto& [before, sequence_before] = received[i - 1];
      const auto& [sent, sequence] = received[i];
      if (before == sent ? sequence == sequence_before : sequence > sequence_before) continue;
      Report(Breach::kAltered,
             absl::StrCat(Text(*sent), ": its sequence is ", sequence, " after ", sequence_before));
    }
  }

  // All messages of one priority to one mailbox from senders of its node.
  void CheckQueue(std::vector<Sent*>& queue, std::map<const Sent*, Window>* missing) {
    std::sort(queue.begin(), queue.end(),
              [](const Sent* a, const Sent* b) { return a->call.time_ns < b->call.time_ns; });
    // Of those from i on, the one that was received first.
    std::vector<std::pair<int64_t, const Sent*>> earliest(queue.size() + 1, {kNever, nullptr});
    for (size_t i = queue.size(); i-- > 0;) {
      earliest[i] = earliest[i + 1];
      for (const Receipt* receipt : queue[i]->receipts) {
        earliest[i] = std::min(earliest[i], {receipt->returned, queue[i]});
      }
    }
    for (const Sent* sent : queue) {
      if (!sent->told()) continue;
      const auto after = std::upper_bound(
          queue.begin(), queue.end(), sent->returned + history_.unobservable_ns,
          [](int64_t time, const Sent* other) { return time < other->call.time_ns; });
      const auto& [returned, next] = earliest[static_cast<size_t>(after - queue.begin())];
      const Receipt* first = sent->first();
      if (first != nullptr && returned < first->claimed_from) {
        Report(Breach::kQueueOrder, absl::StrCat(Text(*sent), " AFTER ", Text(*next)));
      }
      if (const auto found = missing->find(sent); found != missing->end()) {
        found->second.EndBy(returned);
      }
    }
    // And the other way: what returned before a missing one was called goes before it.
    std::vector<const Sent*> by_return;
    for (const Sent* sent : queue) {
      if (sent->told() && sent->first() != nullptr) by_return.push_back(sent);
    }
    std::sort(by_return.begin(), by_return.end(),
              [](const Sent* a, const Sent* b) { return a->returned < b->returned; });
    size_t i = 0;
    int64_t before = 0;
    for (const Sent* sent : queue) {
      for (; i < by_return.size() && by_return[i]->returned < sent->call.time_ns; ++i) {
        before = std::max(before, by_return[i]->first()->claimed_from);
      }
      if (const auto found = missing->find(sent); found != missing->end()) {
        found->second.BeginAfter(before);
      }
    }
  }

  // A told message, and the latest call that received it or one that was told before it.
  struct Told {
    int64_t observable;  // when it can be known to be told
    int64_t call;
    const Sent* sent;
  };
  // Those of one priority, by the time when they were told.
  using ToldInTurn = std::map<int, std::vector<Told>>;

  ToldInTurn FindTold(const Destination& destination) const {
    ToldInTurn told_at;
    for (const Sent* sent : destination.sent) {
      const Receipt* first = sent->first();
      if (!sent->at_home || !sent->told() || first == nullptr) continue;
      told_at[sent->call.priority].push_back(
          {sent->returned + history_.unobservable_ns, first->claimed_from, sent});
    }
    for (auto& [priority, told] : told_at) {
      std::sort(told.begin(), told.end(),
                [](const Told& a, const Told& b) { return a.observable < b.observable; });
      for (size_t i = 1; i < told.size(); ++i) {
        if (told[i - 1].call <= told[i].call) continue;
        told[i].call = told[i - 1].call;
        told[i].sent = told[i - 1].sent;
      }
    }
    return told_at;
  }

  // Of those told before `call` one that was received after `returned`; null when there is none.
  static const Sent* LeftBehind(const std::vector<Told>& told, int64_t call, int64_t returned) {
    const auto end =
        std::lower_bound(told.begin(), told.end(), call,
                         [](const Told& of, int64_t time) { return of.observable < time; });
    if (end == told.begin() || std::prev(end)->call <= returned) return nullptr;
    return std::prev(end)->sent;
  }

  void CheckPriority(const Destination& destination) {
    const ToldInTurn told_at = FindTold(destination);
    for (const Receipt& receipt : destination.receipts) {
      for (auto it = told_at.upper_bound(receipt.sent->call.priority); it != told_at.end(); ++it) {
        if (const Sent* left = LeftBehind(it->second, receipt.call, receipt.returned)) {
          Report(Breach::kPriority, absl::StrCat(Text(*receipt.sent), " BEFORE ", Text(*left)));
        }
      }
    }
    for (const EmptyReceive& receive : destination.empty_receives) {
      if (IsOut(destination.home, receive)) continue;
      for (const auto& [priority, told] : told_at) {
        if (LeftBehind(told, receive.call, receive.returned) == nullptr) continue;
        if (const Sent* hidden = FindHidden(destination, receive)) {
          Report(Breach::kHidden,
                 absl::StrCat(Text(*hidden), " from ", receive.life->name,
                              ", which received nothing ", receive.call, "..", receive.returned));
        }
        break;
      }
    }
  }

  bool IsOut(int node, const EmptyReceive& receive) const {
    return std::any_of(history_.outages.begin(), history_.outages.end(), [&](const Outage& outage) {
      return outage.node == node && outage.begin_ns < receive.returned &&
             outage.end_ns > receive.call;
    });
  }

  // A message that `receive` should have returned, of a sender that its receiver knew.
  const Sent* FindHidden(const Destination& destination, const EmptyReceive& receive) const {
    for (const Sent* sent : destination.sent) {
      const Receipt* first = sent->first();
      if (!sent->at_home || !sent->told() || first == nullptr ||
          sent->returned + history_.unobservable_ns >= receive.call ||
          first->claimed_from <= receive.returned) {
        continue;
      }
      const auto met = destination.met.find({receive.life, sent->key});
      if (met != destination.met.end() && met->second < receive.call) return sent;
    }
    return nullptr;
  }

  void CheckMissing(const Destination& destination, const std::map<const Sent*, Window>& missing) {
    std::vector<Window> windows;
    std::vector<const Sent*> sent;
    for (const auto& [message, window] : missing) {
      windows.push_back(window);
      sent.push_back(message);
    }
    const std::vector<bool> excused = Excuse(windows, destination.open);
    for (size_t i = 0; i < sent.size(); ++i) {
      if (excused[i]) {
        ++verdict_.gone_taken;
      } else {
        Report(Breach::kLost, absl::StrCat(Text(*sent[i]), ", by whom it may have been taken ",
                                           windows[i].begin, "..", windows[i].end));
      }
    }
  }

  void CheckWatch(const Destination& destination, const Life* peer, const Watch& watch) {
    const std::string who = peer == nullptr ? "a process that nobody knows" : peer->name;
    if (!watch.told.has_value()) {
      // Of a dead watcher nobody knows what it has been told.
      if (destination.owner->killed || !HasEnded(peer)) return;
      return Report(Breach::kEnd, absl::StrCat(destination.owner->name, " was not told of ", who));
    }
    ++verdict_.ends_told;
    const EndReason reason = watch.told->reason;
    const bool is_right =
        HasEnded(peer) && EndOf(*peer) <= watch.told->time_ns &&
        (reason == EndReason::kEnded ||
         (peer->killed ? reason == EndReason::kKilled
                       : reason == EndReason::kExited || reason == EndReason::kDetached));
    if (is_right) return;
    Report(Breach::kEnd,
           absl::StrCat(destination.owner->name, " was told of ", who, " at ", watch.told->time_ns,
                        " with reason ", static_cast<int>(reason),
                        HasEnded(peer) ? absl::StrCat(", it lived until ", EndOf(*peer),
                                                      peer->killed ? ", killed" : "")
                                       : ", which lives"));
  }

  static bool HasEnded(const Life* life) { return life != nullptr && (life->killed || life->left); }
  // It lived until then at least.
  static int64_t EndOf(const Life& life) {
    return life.killed ? life.struck_ns : life.events.back().time_ns;
  }

  const History& history_;
  Deliveries deliveries_;
  Verdict verdict_;
};

}  // namespace

Verdict Check(const History& history) { return Checker(history).Run(); }

}  // namespace mailrail::soak
