#include "tests/soak/deliveries.h"

#include "absl/strings/str_cat.h"
#include "tests/support/require.h"

namespace mailrail::soak {

std::string Text(const Sent& sent) {
  std::string text = absl::StrCat(
      "message ", sent.call.value, " of ", sent.life->name, " to ", sent.call.destination,
      " at priority ", sent.call.priority, ", ", sent.call.bytes, " bytes, sent ",
      sent.call.time_ns, "..", sent.returned == Life::kNever ? "?" : absl::StrCat(sent.returned));
  for (const Receipt* receipt : sent.receipts) {
    absl::StrAppend(&text, ", received by ", receipt->life->name, " ", receipt->call, "..",
                    receipt->returned, receipt->marked ? " redelivered" : "");
    if (!receipt->settled.has_value()) continue;
    const Settlement& settled = *receipt->settled;
    absl::StrAppend(
        &text, settled.acknowledges ? ", acknowledged " : ", given back ", settled.call, "..",
        settled.status.has_value()
            ? absl::StrCat(settled.returned, " ", absl::StatusCodeToString(*settled.status))
            : "?");
  }
  return text;
}

Deliveries::Deliveries(const History& history) : history_(history) {
  FindDestinations();
  for (const Life& life : history_.lives) ReadSends(life);
  for (const Life& life : history_.lives) ReadReceives(life);
}

void Deliveries::FindDestinations() {
  for (const auto& [id, home] : history_.mailboxes) {
    destinations_[id].is_mailbox = true;
    destinations_[id].home = home;
  }
  for (const auto& [id, lease_ns] : history_.lease_ns) destinations_[id].lease_ns = lease_ns;
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

void Deliveries::ReadSends(const Life& life) {
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

void Deliveries::ReadReceives(const Life& life) {
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
        Report(&violations_, Breach::kStatus,
               absl::StrCat("a receive by ", life.name, " from ", event.destination, " at ",
                            event.time_ns, ": ", absl::StatusCodeToString(event.status)));
      }
    } else if (event.kind == EventKind::kSettleCall || event.kind == EventKind::kSettleReturn) {
      ReadSettlement(life, event);
    } else if (event.kind == EventKind::kWatched) {
      destinations_[event.destination].watches[event.peer].asked = true;
    } else if (event.kind == EventKind::kEndTold) {
      calls[event.destination].is_open = false;
      ReadEnd(life, event);
    } else if (event.kind == EventKind::kCallFailed) {
      Report(&violations_, Breach::kStatus,
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

void Deliveries::ReadEnd(const Life& life, const Event& event) {
  Watch& watch = destinations_[event.destination].watches[event.peer];
  if (watch.told.has_value()) {
    Report(&violations_, Breach::kEnd,
           absl::StrCat("an end was told to ", life.name, " at ", watch.told->time_ns,
                        " and again at ", event.time_ns));
  }
  watch.told = event;
}

void Deliveries::ReadSettlement(const Life& life, const Event& event) {
  std::deque<Receipt>& receipts = destinations_[event.destination].receipts;
  // Lives are read one after the other, and each settles what it has received last.
  if (receipts.empty() || receipts.back().life != &life ||
      receipts.back().sent->call.value != event.value) {
    Report(&violations_, Breach::kPhantom,
           absl::StrCat("message ", event.value, " is settled by ", life.name,
                        ", which has not "
                        "received it"));
    return;
  }
  std::optional<Settlement>& settled = receipts.back().settled;
  if (event.kind == EventKind::kSettleCall) {
    settled.emplace();
    settled->acknowledges = event.acknowledges;
    settled->call = event.time_ns;
  } else if (settled.has_value()) {
    settled->returned = event.time_ns;
    settled->status = event.status;
  }
}

void Deliveries::ReadReceipt(const Life& life, const Event& event, int64_t call,
                             int64_t claimed_from) {
  ++received_;
  redelivered_ += event.redelivered;
  const auto found = sent_of_.find(event.value);
  if (found == sent_of_.end() || found->second->call.destination != event.destination) {
    Report(&violations_, Breach::kPhantom,
           absl::StrCat("message ", event.value, ", which nobody sent there, ", "received by ",
                        life.name, " from ", event.destination, " at ", event.time_ns));
    return;
  }
  Sent& sent = *found->second;
  Destination& destination = destinations_[event.destination];
  Receipt& receipt = destination.receipts.emplace_back();
  receipt = {&sent, &life, call, claimed_from, event.time_ns, event.redelivered, std::nullopt};
  sent.receipts.push_back(&receipt);
  destination.met.try_emplace({&life, sent.key}, event.time_ns);
  if (sent.refused()) {
    Report(
        &violations_, Breach::kPhantom,
        absl::StrCat(Text(sent), ", whose send returned ", absl::StatusCodeToString(*sent.status)));
  }
  if (const auto watch = destination.watches.find(sent.key);
      watch != destination.watches.end() && watch->second.told.has_value()) {
    Report(&violations_, Breach::kEnd,
           absl::StrCat(Text(sent), ", after its end was told at ", watch->second.told->time_ns));
  }
  if (sent.call.time_ns > receipt.returned) {
    Report(&violations_, Breach::kPhantom, absl::StrCat(Text(sent), ", before it was sent"));
  }
  if (!event.intact || event.bytes != sent.call.bytes || event.priority != sent.call.priority ||
      event.peer != sent.key) {
    Report(&violations_, Breach::kAltered,
           absl::StrCat(Text(sent), ", received with ", event.bytes, " bytes, priority ",
                        event.priority, event.intact ? "" : ", torn",
                        event.peer == sent.key ? "" : ", another sender"));
  }
  sequences(sent).push_back({&sent, event.sequence});
}

}  // namespace mailrail::soak
