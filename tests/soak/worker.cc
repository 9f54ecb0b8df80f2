#include "tests/soak/worker.h"

#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/support/body.h"

namespace mailrail::soak {
namespace {

constexpr int kPriorities[] = {0, 0, 0, 5, 5, 12, 24, 31};
constexpr absl::Duration kSendTimeout = absl::Milliseconds(200);
constexpr absl::Duration kReceiveTimeout = absl::Milliseconds(50);
constexpr absl::Duration kWatchTimeout = absl::Milliseconds(100);
constexpr absl::Duration kAgentTimeout = absl::Seconds(2);

// A process of a node, with its journal.
class Worker {
 public:
  explicit Worker(const Orders& orders) : orders_(orders), random_(orders.seed) {}

  bool At(Stage stage) const { return orders_.stage->load() >= stage; }
  uint64_t Random(uint64_t below) { return random_() % below; }
  Journal& journal() { return *orders_.journal; }
  Process& process() { return *process_; }

  // Until the agent answers; false when the round is over first.
  bool Attach() {
    AttachOptions options;
    options.socket = orders_.socket;
    options.autostart = false;
    options.timeout = kAgentTimeout;
    while (!At(Stage::kReceiversLeave)) {
      absl::StatusOr<Process> process = Process::Attach(options);
      if (!process.ok()) {
        Retry(process.status());
        continue;
      }
      process_.emplace(*std::move(process));
      Note(EventKind::kAttached, KeyOf(process_->id()));
      return true;
    }
    return false;
  }

  // After a call to the agent has failed: it may be dead, or not know of a death yet. Notes what no
  // death explains.
  void Retry(const absl::Status& status) {
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status) &&
        !absl::IsNotFound(status) && !absl::IsAlreadyExists(status)) {
      Event event;
      event.kind = EventKind::kCallFailed;
      event.status = status.code();
      journal().Append(event);
      dprintf(STDERR_FILENO, "soak: %s\n", status.ToString().c_str());
    }
    absl::SleepFor(absl::Milliseconds(2));
  }

  void Note(EventKind kind, uint64_t destination, absl::StatusCode status = absl::StatusCode::kOk) {
    Event event;
    event.kind = kind;
    event.destination = destination;
    event.status = status;
    journal().Append(event);
  }

 private:
  const Orders& orders_;
  std::mt19937_64 random_;
  std::optional<Process> process_;
};

// What a sender sends to: a mailbox, or whoever has a name.
struct Target {
  std::string address;
  uint64_t key = 0;  // of a mailbox; of a process while it is connected
  bool is_mailbox = false;
  std::optional<Sender> sender;
};

class SendingWorker {
 public:
  SendingWorker(const Orders& orders, const std::vector<MailboxPlan>& mailboxes,
                const std::vector<std::string>& names)
      : worker_(orders),
        next_value_(orders.first_value),
        longest_pause_us_(worker_.Random(4) == 0 ? 300 : 4000) {
    for (const MailboxPlan& mailbox : mailboxes) {
      targets_.push_back({mailbox.address, mailbox.id, true, std::nullopt});
    }
    for (const std::string& name : names) targets_.push_back({name, 0, false, std::nullopt});
  }

  void Run() {
    if (!worker_.Attach()) return;
    while (!worker_.At(Stage::kSendersLeave)) {
      Burst();
      absl::SleepFor(absl::Microseconds(worker_.Random(longest_pause_us_)));
    }
  }

 private:
  // How many sends are recorded at most: what there is room for in the journal, but for the calls
  // that fail.
  bool MaySend() {
    return !worker_.At(Stage::kSendersLeave) && worker_.journal().room() > kReserve;
  }

  void Burst() {
    Target& target = targets_[worker_.Random(targets_.size())];
    if (!target.sender.has_value() && !Connect(&target)) return;
    uint64_t left = 1 + worker_.Random(worker_.Random(100) == 0 ? 400 : 8);
    while (left-- > 0 && MaySend() && SendOne(&target)) {
    }
  }

  bool Connect(Target* target) {
    const absl::Time deadline = absl::Now() + kAgentTimeout;
    absl::StatusOr<Sender> sender = absl::UnknownError("");
    if (target->is_mailbox) {
      sender = worker_.process().ConnectMailbox(target->address, deadline);
    } else {
      const absl::StatusOr<ProcessId> id = worker_.process().Resolve(target->address, deadline);
      if (id.ok()) target->key = KeyOf(*id);
      sender = id.ok() ? worker_.process().Connect(*id, deadline) : id.status();
    }
    if (!sender.ok()) {
      worker_.Retry(sender.status());
      return false;
    }
    target->sender.emplace(*std::move(sender));
    return true;
  }

  size_t Size() {
    const uint64_t kind = worker_.Random(1000);
    if (kind < 600) return 8 + worker_.Random(89);     // in a mailbox's slot
    if (kind < 900) return 97 + worker_.Random(4000);  // in a ring's record
    if (kind < 997) return 4097 + worker_.Random(60000);
    return size_t{1} << 20;
  }

  // False when the target is gone.
  bool SendOne(Target* target) {
    Event event;
    event.kind = EventKind::kSendCall;
    event.destination = target->key;
    event.value = next_value_++;
    event.bytes = static_cast<uint32_t>(Size());
    event.priority = static_cast<uint8_t>(kPriorities[worker_.Random(std::size(kPriorities))]);
    const SendOptions options{.priority = event.priority};
    const bool in_place = worker_.Random(4) == 0;
    std::string body;
    if (!in_place) body = MakeBody(event.value, event.bytes);
    const absl::Time deadline = absl::Now() + kSendTimeout;
    worker_.journal().Append(event);
    absl::Status status;
    if (in_place) {
      absl::StatusOr<ClaimedMessage> claim = target->sender->Claim(event.bytes, options, deadline);
      status = claim.status();
      if (claim.ok()) {
        FillBody(event.value, claim->body());
        status = claim->Commit(deadline);
      }
    } else {
      status = target->sender->Send(body, options, deadline);
    }
    event.kind = EventKind::kSendReturn;
    event.status = status.code();
    worker_.journal().Append(event);
    if (status.ok()) return true;
    if (!absl::IsDeadlineExceeded(status)) target->sender.reset();
    return false;
  }

  static constexpr size_t kReserve = 4096;
  Worker worker_;
  uint64_t next_value_;
  const uint64_t longest_pause_us_;  // between bursts
  std::vector<Target> targets_;
};

// Has the end of `sender` told, if it is the first that comes from it.
void WatchOnce(Worker& worker, const ProcessId& sender, std::set<uint64_t>* watched) {
  const uint64_t key = KeyOf(sender);
  if (!watched->insert(key).second) return;
  const absl::Status status = worker.process().Watch(sender, absl::Now() + kWatchTimeout);
  if (!status.ok()) return worker.Retry(status);
  Event event;
  event.kind = EventKind::kWatched;
  event.destination = KeyOf(worker.process().id());
  event.peer = key;
  worker.journal().Append(event);
}

// Acknowledges a leased message, or gives it back.
void Settle(Worker& worker, Event event, Message message) {
  const uint64_t kind = worker.Random(1000);
  // Sometimes longer than the lease.
  if (kind < 3) absl::SleepFor(absl::Nanoseconds(worker.Random(2 * kLeaseNs)));
  event.kind = EventKind::kSettleCall;
  event.acknowledges = kind < 850;
  event.time_ns = NowNs();
  worker.journal().Append(event);
  const absl::Status status = event.acknowledges
                                  ? message.Acknowledge()
                                  : message.GiveBack(absl::Milliseconds(kind < 950 ? 0 : 1));
  event.kind = EventKind::kSettleReturn;
  event.status = status.code();
  event.time_ns = NowNs();
  worker.journal().Append(event);
}

void Receive(Worker& worker, Receiver& receiver, uint64_t destination) {
  const bool watches = destination >= kFirstKey;
  std::set<uint64_t> watched;
  constexpr WaitMode kModes[] = {WaitMode::kAdaptive, WaitMode::kAdaptive, WaitMode::kAdaptive,
                                 WaitMode::kBlock,    WaitMode::kBlock,    WaitMode::kSpin};
  receiver.set_wait_mode(kModes[worker.Random(std::size(kModes))]);
  while (!worker.At(Stage::kReceiversLeave)) {
    Event event;
    event.kind = EventKind::kReceiveCall;
    event.destination = destination;
    const absl::Time deadline =
        worker.Random(8) == 0 ? absl::InfinitePast() : absl::Now() + kReceiveTimeout;
    worker.journal().Append(event);
    absl::StatusOr<Message> message = receiver.Receive(deadline);
    event.kind = EventKind::kReceiveReturn;
    event.time_ns = NowNs();
    event.status = message.status().code();
    if (message.ok() && message->end() != EndReason::kNone) {
      event.kind = EventKind::kEndTold;
      event.reason = message->end();
      event.peer = KeyOf(message->sender());
    } else if (message.ok()) {
      event.value = NumberOf(message->body());
      event.intact = IsIntact(message->body());
      event.bytes = static_cast<uint32_t>(message->body().size());
      event.priority = static_cast<uint8_t>(message->priority());
      event.redelivered = message->redelivered();
      event.sequence = message->sequence();
      event.peer = KeyOf(message->sender());
    }
    worker.journal().Append(event);
    if (watches && message.ok() && message->end() == EndReason::kNone) {
      WatchOnce(worker, message->sender(), &watched);
    }
    if (message.ok() && message->leased()) Settle(worker, event, *std::move(message));
    if (message.ok()) continue;
    if (!absl::IsDeadlineExceeded(message.status())) return;  // the checker says what it was
    if (deadline == absl::InfinitePast()) absl::SleepFor(absl::Microseconds(200));
  }
}

}  // namespace

void RunSender(const Orders& orders, const std::vector<MailboxPlan>& mailboxes,
               const std::vector<std::string>& names) {
  SendingWorker(orders, mailboxes, names).Run();
}

void RunInboxReceiver(const Orders& orders, const std::string& name) {
  Worker worker(orders);
  if (!worker.Attach()) return;
  while (!worker.At(Stage::kReceiversLeave)) {
    const absl::Status status = worker.process().RegisterName(name);
    if (status.ok()) break;
    worker.Retry(status);
  }
  Receive(worker, worker.process().inbox(), KeyOf(worker.process().id()));
}

void RunMailboxReceiver(const Orders& orders, const MailboxPlan& mailbox) {
  Worker worker(orders);
  if (!worker.Attach()) return;
  while (!worker.At(Stage::kReceiversLeave)) {
    absl::StatusOr<Receiver> receiver = worker.process().OpenMailbox(
        mailbox.address,
        {.acknowledgement =
             mailbox.leases ? Acknowledgement::kManual : Acknowledgement::kAutomatic},
        absl::Now() + kAgentTimeout);
    if (receiver.ok()) return Receive(worker, *receiver, mailbox.id);
    worker.Retry(receiver.status());
  }
}

}  // namespace mailrail::soak
