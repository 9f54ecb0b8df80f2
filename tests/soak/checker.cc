#include "tests/soak/checker.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tests/soak/excuses.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

constexpr int64_t kNever = Life::kNever;

struct Sent;

// A receive that returned a message.
struct Receipt {
  const Sent* sent = nullptr;
  const Life* life = nullptr;
  int64_t call = 0;          // of the receive
  int64_t claimed_from = 0;  // not claimed before: the call, or earlier by a receiver elsewhere
  int64_t returned = 0;
  bool marked = false;
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
  int64_t returned = kNever;
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

struct Destination {
  bool is_mailbox = false;
  int home = 0;
  bool remote_receivers = false;
  const Life* owner = nullptr;  // of an inbox
  std::deque<Receipt> receipts;
  std::vector<EmptyReceive> empty_receives;  // by receivers of its node
  // When each receiver has first received from each sender.
  std::map<std::pair<const Life*, uint64_t>, int64_t> met;
  std::vector<Sent*> sent;        // each sender's in the order of its sends
  std::vector<OpenReceive> open;  // receives in which a receiver was killed
};

class Checker {
 public:
  explicit Checker(const History& history) : history_(history) {}

  Verdict Run() {
    FindDestinations();
    for (const Life& life : history_.lives) ReadSends(life);
    for (const Life& life : history_.lives) ReadReceives(life);
    for (Sent& sent : sent_) CheckSent(sent);
    for (auto& [key, destination] : destinations_) CheckDestination(destination);
    return std::move(verdict_);
  }

 private:
  void Report(Breach breach, const std::string& text) {
    verdict_.violations.push_back({breach, absl::StrCat(NameOf(breach), ": ", text)});
  }

  static std::string Text(const Sent& sent) {
    std::string text = absl::StrCat("message ", sent.call.value, " of ", sent.life->name, " to ",
                                    sent.call.destination, " at priority ", sent.call.priority,
                                    ", ", sent.call.bytes, " bytes, sent ", sent.call.time_ns, "..",
                                    sent.returned == kNever ? "?" : absl::StrCat(sent.returned));
    for (const Receipt* receipt : sent.receipts) {
      absl::StrAppend(&text, ", received by ", receipt->life->name, " ", receipt->call, "..",
                      receipt->returned, receipt->marked ? " redelivered" : "");
    }
    return text;
  }

  void FindDestinations() {
    for (const auto& [id, home] : history_.mailboxes) {
      destinations_[id].is_mailbox = true;
      destinations_[id].home = home;
    }
    for (const Life& life : history_.lives) {
      for (const Event& event : life.events) {
        if (event.kind == EventKind::kAttached) {
          key_of_[&life] = event.destination;
          destinations_[event.destination].owner = &life;
          destinations_[event.destination].home = life.node;
        } else if (event.kind == EventKind::kReceiveCall) {
          Destination& destination = destinations_[event.destination];
          if (destination.home != life.node) destination.remote_receivers = true;
        }
      }
    }
  }

  void ReadSends(const Life& life) {
    Sent* open = nullptr;
    for (const Event& event : life.events) {
      if (event.kind == EventKind::kSendCall) {
        open = &sent_.emplace_back();
        open->life = &life;
        open->key = key_of_[&life];
        open->call = event;
        Destination& destination = destinations_[event.destination];
        open->at_home = destination.home == life.node;
        destination.sent.push_back(open);
        Require(sent_of_.emplace(event.value, open).second, "a value was sent twice");
      } else if (event.kind == EventKind::kSendReturn && open != nullptr) {
        open->returned = event.time_ns;
        open->status = event.status;
        open = nullptr;
      }
    }
  }

  void ReadReceives(const Life& life) {
    struct Calls {
      int64_t open = 0;
      int64_t with_message = 0;  // the last that returned one, or the first
      bool is_open = false;
    };
    std::map<uint64_t, Calls> calls;
    for (const Event& event : life.events) {
      if (event.kind == EventKind::kReceiveCall) {
        Calls& of = calls[event.destination];
        of.open = event.time_ns;
        of.is_open = true;
        if (of.with_message == 0) of.with_message = event.time_ns;
      } else if (event.kind == EventKind::kReceiveReturn) {
        Calls& of = calls[event.destination];
        of.is_open = false;
        if (event.status == absl::StatusCode::kOk) {
          const bool remote = destinations_[event.destination].home != life.node;
          ReadReceipt(life, event, of.open, remote ? of.with_message : of.open);
          of.with_message = of.open;
        } else if (event.status == absl::StatusCode::kDeadlineExceeded) {
          Destination& destination = destinations_[event.destination];
          if (destination.home == life.node) {
            destination.empty_receives.push_back({&life, of.open, event.time_ns});
          }
        } else {
          Report(Breach::kStatus,
                 absl::StrCat("a receive by ", life.name, " from ", event.destination, " at ",
                              event.time_ns, ": ", absl::StatusCodeToString(event.status)));
        }
      } else if (event.kind == EventKind::kCallFailed) {
        Report(Breach::kStatus,
               absl::StrCat("a call to the agent by ", life.name, " at ", event.time_ns, ": ",
                            absl::StatusCodeToString(event.status)));
      }
    }
    if (!life.killed) return;
    for (const auto& [key, of] : calls) {
      Destination& destination = destinations_[key];
      const bool remote = destination.home != life.node;
      if (of.is_open) {
        destination.open.push_back(
            {remote ? of.with_message : of.open, life.struck_ns, life.died_ns});
      }
    }
  }

  void ReadReceipt(const Life& life, const Event& event, int64_t call, int64_t claimed_from) {
    ++verdict_.received;
    verdict_.redelivered += event.redelivered;
    const auto found = sent_of_.find(event.value);
    if (found == sent_of_.end() || found->second->call.destination != event.destination) {
      Report(Breach::kPhantom,
             absl::StrCat("message ", event.value, ", which nobody sent there, ", "received by ",
                          life.name, " from ", event.destination, " at ", event.time_ns));
      return;
    }
    Sent& sent = *found->second;
    Destination& destination = destinations_[event.destination];
    Receipt& receipt = destination.receipts.emplace_back();
    receipt = {&sent, &life, call, claimed_from, event.time_ns, event.redelivered};
    sent.receipts.push_back(&receipt);
    destination.met.try_emplace({&life, sent.key}, event.time_ns);
    if (sent.refused()) {
      Report(Breach::kPhantom, absl::StrCat(Text(sent), ", whose send returned ",
                                            absl::StatusCodeToString(*sent.status)));
    }
    if (sent.call.time_ns > receipt.returned) {
      Report(Breach::kPhantom, absl::StrCat(Text(sent), ", before it was sent"));
    }
    if (!event.intact || event.bytes != sent.call.bytes || event.priority != sent.call.priority ||
        event.peer != sent.key) {
      Report(Breach::kAltered,
             absl::StrCat(Text(sent), ", received with ", event.bytes, " bytes, priority ",
                          event.priority, event.intact ? "" : ", torn",
                          event.peer == sent.key ? "" : ", another sender"));
    }
    sequences_[{sent.key, event.destination, event.priority}].push_back({&sent, event.sequence});
  }

  void CheckSent(const Sent& sent) {
    verdict_.told += sent.told();
    Destination& destination = destinations_[sent.call.destination];
    if (sent.status.has_value() && !sent.told() && !Excused(sent, destination)) {
      Report(Breach::kStatus,
             absl::StrCat(Text(sent), ": ", absl::StatusCodeToString(*sent.status)));
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
    for (const Receipt& receipt : destination.receipts) {
      if (!receipt.marked) continue;
      const bool has_reason =
          destination.is_mailbox &&
          (destination.remote_receivers ||
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
      if (sent.told() && sent.receipts.empty()) {
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
    const Event& any = stream.front()->call;
    auto& received = sequences_[{stream.front()->key, any.destination, any.priority}];
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

  const History& history_;
  Verdict verdict_;
  std::map<uint64_t, Destination> destinations_;
  std::unordered_map<const Life*, uint64_t> key_of_;
  std::deque<Sent> sent_;
  std::unordered_map<uint64_t, Sent*> sent_of_;
  std::map<std::tuple<uint64_t, uint64_t, int>, std::vector<std::pair<const Sent*, uint64_t>>>
      sequences_;  // received, by sender, destination and priority
};

}  // namespace

const char* NameOf(Breach breach) {
  switch (breach) {
    case Breach::kLost:
      return "lost";
    case Breach::kPhantom:
      return "phantom";
    case Breach::kDuplicate:
      return "duplicate";
    case Breach::kOrder:
      return "order";
    case Breach::kQueueOrder:
      return "queue order";
    case Breach::kPriority:
      return "priority";
    case Breach::kHidden:
      return "hidden";
    case Breach::kMark:
      return "mark";
    case Breach::kAltered:
      return "altered";
    case Breach::kStatus:
      return "status";
  }
  return "?";
}

Verdict Check(const History& history) { return Checker(history).Run(); }

}  // namespace mailrail::soak
