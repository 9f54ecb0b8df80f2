#include "tests/support/local_party.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/body.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

// The state letter of a thread of this process, as in proc(5); ' ' when it is gone.
char StateOf(pid_t thread) {
  std::FILE* file = std::fopen(absl::StrCat("/proc/self/task/", thread, "/stat").c_str(), "re");
  if (file == nullptr) return ' ';
  char line[256] = "";
  const size_t size = std::fread(line, 1, sizeof(line) - 1, file);
  std::fclose(file);
  // The state comes after the program's name, which is in parentheses.
  const absl::string_view text(line, size);
  const size_t name_end = text.rfind(')');
  return name_end + 2 < text.size() ? text[name_end + 2] : ' ';
}

MailboxOptions OptionsOf(const mailrail::proto::MailboxSpec& spec) {
  MailboxOptions options;
  options.max_message_bytes = spec.max_message_bytes();
  options.fixed_size = spec.fixed_size();
  options.capacity_messages = spec.capacity_messages();
  options.when_full = static_cast<FullPolicy>(spec.when_full());
  options.lease_time = spec.lease_time_ms() == 0
                           ? absl::InfiniteDuration()
                           : absl::Milliseconds(static_cast<int64_t>(spec.lease_time_ms()));
  options.max_attempts = spec.max_attempts();
  options.dead_letter = spec.dead_letter();
  options.policy = static_cast<ReceivePolicy>(spec.receive_policy());
  options.owned = spec.owned();
  options.order = static_cast<MailboxOrder>(spec.order());
  options.hold_order = spec.hold_order();
  options.distribution = static_cast<Distribution>(spec.distribution());
  options.cutoff = spec.cutoff_ms() == 0
                       ? absl::InfiniteDuration()
                       : absl::Milliseconds(static_cast<int64_t>(spec.cutoff_ms()));
  return options;
}

absl::Duration TimeToLiveOf(const party::Outgoing& message) {
  return message.time_to_live_ms() == 0 ? absl::InfiniteDuration()
                                        : absl::Milliseconds(message.time_to_live_ms());
}

SendOptions OptionsOf(const party::Outgoing& message) {
  return {.priority = message.priority(),
          .time_to_live = TimeToLiveOf(message),
          .delay = absl::Milliseconds(message.delay_ms()),
          .headers = HeadersOf(message.headers()),
          .reply_to = message.reply_to(),
          .key = message.key(),
          .receipt = message.receipt()};
}

absl::Status SendOne(Sender& sender, party::Way way, const party::Outgoing& message,
                     absl::Time deadline) {
  const SendOptions options = OptionsOf(message);
  if (way == party::SEND) {
    return sender.Send(MakeBody(message.number(), message.bytes()), options, deadline);
  }
  const size_t spare = way == party::TRUNCATE ? 100 : 0;
  absl::StatusOr<ClaimedMessage> claim = sender.Claim(message.bytes() + spare, options, deadline);
  if (!claim.ok()) return claim.status();
  claim->Truncate(message.bytes());
  FillBody(message.number(), claim->body());
  return claim->Commit(deadline);
}

// Sends a run of messages of one priority, which starts at `first`; all have the headers of that
// one. Returns how many were sent.
absl::StatusOr<size_t> SendRun(Sender& sender, const party::Send& send, int first,
                               absl::Time deadline) {
  const int priority = send.messages(first).priority();
  std::vector<std::string> bodies;
  for (int i = first; i < send.messages_size() && send.messages(i).priority() == priority; ++i) {
    bodies.push_back(MakeBody(send.messages(i).number(), send.messages(i).bytes()));
  }
  const std::vector<absl::string_view> views(bodies.begin(), bodies.end());
  return sender.SendBatch(views, OptionsOf(send.messages(first)), deadline);
}

void Describe(const Message& message, party::Received& received) {
  *received.mutable_sender() = ToProto(message.sender());
  received.set_priority(message.priority());
  received.set_sequence(message.sequence());
  received.set_attempts(message.attempts());
  received.set_number(NumberOf(message.body()));
  received.set_bytes(message.body().size());
  received.set_intact(IsIntact(message.body()));
  received.set_end(static_cast<int>(message.end()));
  for (const Header& header : message.headers()) {
    received.add_headers()->set_name(header.name);
    received.mutable_headers()->rbegin()->set_value(header.value);
  }
  received.set_reply_to(std::string(message.reply_to()));
  received.set_key(std::string(message.key()));
  received.set_dead_letter_reason(static_cast<int>(message.dead_letter_reason()));
  received.set_dead_letter_mailbox(std::string(message.dead_letter_mailbox()));
}

}  // namespace

// Notes for as long as it lives that this thread is in a call.
class LocalParty::Running {
 public:
  explicit Running(LocalParty& party) : party_(party) {
    absl::MutexLock lock(&party_.mutex_);
    party_.callers_.insert(gettid());
  }
  ~Running() {
    absl::MutexLock lock(&party_.mutex_);
    party_.callers_.erase(party_.callers_.find(gettid()));
  }

 private:
  LocalParty& party_;
};

absl::StatusOr<std::unique_ptr<LocalParty>> LocalParty::Attach(const std::string& socket,
                                                               Ledger* ledger) {
  AttachOptions options;
  options.socket = socket;
  options.autostart = false;
  absl::StatusOr<Process> process = Process::Attach(options);
  if (!process.ok()) return process.status();
  return std::unique_ptr<LocalParty>(new LocalParty(std::move(*process), ledger));
}

LocalParty::LocalParty(Process process, Ledger* ledger)
    : process_(std::move(process)),
      ledger_(ledger),
      queues_(Queues::OfMailrail(&*process_)),
      posix_queues_(Queues::OfPosix()),
      locks_(std::make_unique<Locks>(&*process_)),
      pipes_(std::make_unique<Pipes>(&*process_)),
      regions_(std::make_unique<NamedRegions>(&*process_)) {
  set_id(process_->id());
}

LocalParty::Channel& LocalParty::channel(Handle handle) {
  absl::MutexLock lock(&mutex_);
  Require(handle >= 1 && handle <= channels_.size(), "a handle that was never given out");
  return *channels_[handle - 1];
}

Sender& LocalParty::sender(Handle handle) { return std::get<Sender>(channel(handle)); }

Receiver& LocalParty::receiver(Handle handle) {
  return handle == kInbox ? process_->inbox() : std::get<Receiver>(channel(handle));
}

void LocalParty::End() {
  absl::MutexLock lock(&mutex_);
  leased_.clear();
  for (const std::unique_ptr<Channel>& channel : channels_) channel->emplace<std::monostate>();
  queues_.reset();
  posix_queues_.reset();
  locks_.reset();
  pipes_.reset();
  regions_.reset();
  process_.reset();
}

Handle LocalParty::Keep(Channel channel) {
  absl::MutexLock lock(&mutex_);
  channels_.push_back(std::make_unique<Channel>(std::move(channel)));
  return static_cast<Handle>(channels_.size());
}

party::Result LocalParty::Do(party::Command command) {
  party::Result result;
  if (command.has_asleep()) {
    absl::MutexLock lock(&mutex_);
    result.set_count(static_cast<uint64_t>(std::count_if(
        callers_.begin(), callers_.end(), [](pid_t caller) { return StateOf(caller) == 'S'; })));
    return result;
  }
  const auto run = [&] {
    Running running(*this);
    Carry(command, result);
  };
  if (command.has_lock()) {
    locks_->On(command.lock().thread(), run);
  } else {
    run();
  }
  return result;
}

void LocalParty::Carry(const party::Command& command, party::Result& result) {
  const absl::Time deadline = DeadlineOf(command);
  absl::Status status;
  const auto keep = [&](auto channel) {
    status = channel.status();
    if (channel.ok()) result.set_count(Keep(*std::move(channel)));
  };
  switch (command.call_case()) {
    case party::Command::kRegisterName:
      status = process_->RegisterName(command.register_name());
      break;
    case party::Command::kResolve: {
      const absl::StatusOr<ProcessId> found = process_->Resolve(command.resolve(), deadline);
      status = found.status();
      if (found.ok()) *result.mutable_process() = ToProto(*found);
      break;
    }
    case party::Command::kConnectProcess:
      keep(process_->Connect(FromProto(command.connect_process()), {.one_way = command.one_way()},
                             deadline));
      break;
    case party::Command::kConnectMailbox:
      keep(process_->ConnectMailbox(command.connect_mailbox(), deadline));
      break;
    case party::Command::kConnect:
      keep(process_->Connect(command.connect(), {.one_way = command.one_way()}, deadline));
      break;
    case party::Command::kCreateMailbox:
      status = process_->CreateMailbox(command.create_mailbox().name(),
                                       OptionsOf(command.create_mailbox().spec()), deadline);
      break;
    case party::Command::kOpenMailbox:
      keep(process_->OpenMailbox(command.open_mailbox(), deadline));
      break;
    case party::Command::kOpenLeasing:
      keep(process_->OpenMailbox(command.open_leasing(),
                                 {.acknowledgement = Acknowledgement::kManual}, deadline));
      break;
    case party::Command::kSettle:
      status = CarrySettle(command.settle());
      break;
    case party::Command::kDestroyMailbox:
      status = process_->DestroyMailbox(command.destroy_mailbox(), deadline);
      break;
    case party::Command::kPurgeMailbox: {
      const absl::StatusOr<uint64_t> purged =
          process_->PurgeMailbox(command.purge_mailbox(), deadline);
      status = purged.status();
      if (purged.ok()) result.set_count(*purged);
      break;
    }
    case party::Command::kWatch:
      status = process_->Watch(FromProto(command.watch()), deadline);
      break;
    case party::Command::kClose:
      channel(command.close()).emplace<std::monostate>();
      break;
    case party::Command::kSend:
      status = CarrySend(command.send(), deadline, result);
      break;
    case party::Command::kNextReceipt: {
      const absl::StatusOr<Receipt> receipt = sender(command.next_receipt()).NextReceipt(deadline);
      status = receipt.status();
      if (!receipt.ok()) break;
      result.mutable_receipt()->set_receipt(receipt->receipt);
      result.mutable_receipt()->set_outcome(static_cast<uint32_t>(receipt->outcome));
      *result.mutable_receipt()->mutable_receiver() = ToProto(receipt->receiver);
      result.mutable_receipt()->set_dead_letter_mailbox(receipt->dead_letter_mailbox);
      break;
    }
    case party::Command::kCallAndWait:
      status = CarryCall(command.call_and_wait(), deadline, result);
      break;
    case party::Command::kAnswer:
      status = CarryAnswer(command.answer(), deadline);
      break;
    case party::Command::kQueue:
      *result.mutable_queue() =
          (command.queue().posix() ? posix_queues_ : queues_)->Do(command.queue(), deadline);
      break;
    case party::Command::kLock:
      *result.mutable_lock() = locks_->Do(command.lock(), deadline);
      break;
    case party::Command::kPipe:
      *result.mutable_pipe() = pipes_->Do(command.pipe(), deadline);
      break;
    case party::Command::kRegion:
      *result.mutable_region() = regions_->Do(command.region(), deadline);
      break;
    case party::Command::kEcho:
      status = CarryEcho(command.echo(), deadline);
      break;
    case party::Command::kReceive:
      status = CarryReceive(command.receive(), deadline, result);
      break;
    default:
      Require(false, "a command that is not known");
  }
  *result.mutable_status() = ToProto(status);
}

absl::Status LocalParty::CarrySettle(const party::Settle& settle) {
  Message message;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = leased_.find(settle.number());
    Require(found != leased_.end(), "a message that is not leased");
    if (settle.how() == party::Settle::EXTEND) {
      return found->second.Extend(absl::Milliseconds(settle.time_ms()));
    }
    message = std::move(found->second);
    leased_.erase(found);
  }
  switch (settle.how()) {
    case party::Settle::ACKNOWLEDGE:
      return message.Acknowledge();
    case party::Settle::GIVE_BACK:
      return message.GiveBack(absl::Milliseconds(settle.time_ms()));
    default:
      return absl::OkStatus();
  }
}

absl::Status LocalParty::CarryCall(const party::Call& call, absl::Time deadline,
                                   party::Result& result) {
  const std::string body = MakeBody(call.request().number(), call.request().bytes());
  const absl::StatusOr<Message> answer =
      sender(call.sender()).Call(body, OptionsOf(call.request()), deadline);
  if (!answer.ok()) return answer.status();
  Describe(*answer, *result.add_received());
  return absl::OkStatus();
}

absl::Status LocalParty::CarryAnswer(const party::Answer& answer, absl::Time deadline) {
  for (uint64_t i = 0; i < answer.count(); ++i) {
    const absl::StatusOr<Message> request = receiver(answer.receiver()).Receive(deadline);
    if (!request.ok()) return request.status();
    const absl::Status answered = process_->Reply(*request, request->body(), {}, deadline);
    if (!answered.ok()) return answered;
  }
  return absl::OkStatus();
}

absl::Status LocalParty::CarryEcho(const party::Echo& echo, absl::Time deadline) {
  for (uint64_t i = 0; i < echo.count(); ++i) {
    const absl::StatusOr<Message> message = receiver(echo.receiver()).Receive(deadline);
    if (!message.ok()) return message.status();
    const absl::Status sent =
        sender(echo.sender()).Send(message->body(), {.priority = message->priority()}, deadline);
    if (!sent.ok()) return sent;
  }
  return absl::OkStatus();
}

absl::Status LocalParty::CarrySend(const party::Send& send, absl::Time deadline,
                                   party::Result& result) {
  Sender& to = sender(send.sender());
  for (int i = 0; i < send.messages_size(); i = static_cast<int>(result.count())) {
    size_t sent = 1;
    if (send.way() == party::BATCH) {
      const absl::StatusOr<size_t> run = SendRun(to, send, i, deadline);
      if (!run.ok()) return run.status();
      sent = *run;
    } else if (const absl::Status status = SendOne(to, send.way(), send.messages(i), deadline);
               !status.ok()) {
      return status;
    }
    result.set_count(result.count() + sent);
    if (send.ledger() != 0) ledger_->SetCount(send.ledger(), result.count());
  }
  return absl::OkStatus();
}

absl::Status LocalParty::CarryReceive(const party::Receive& receive, absl::Time deadline,
                                      party::Result& result) {
  Receiver& from = receiver(receive.receiver());
  const auto note = [&](Message& message) {
    Describe(message, *result.add_received());
    const uint64_t number = NumberOf(message.body());
    if (receive.ledger() != 0) ledger_->Append(receive.ledger(), number);
    if (!message.leased()) return;
    // One that it had before is destroyed without the lock: it gives itself back.
    absl::MutexLock lock(&mutex_);
    std::swap(leased_[number], message);
  };
  for (;;) {
    const uint64_t missing = receive.count() - static_cast<uint64_t>(result.received_size());
    if (missing == 0) return absl::OkStatus();
    if (receive.batch() != 0) {
      absl::StatusOr<std::vector<Message>> batch =
          from.ReceiveBatch(std::min(receive.batch(), missing), deadline);
      if (!batch.ok()) return batch.status();
      for (Message& message : *batch) note(message);
      continue;
    }
    absl::StatusOr<Message> message = receive.has_from()
                                          ? from.ReceiveFrom(FromProto(receive.from()), deadline)
                                          : from.Receive(deadline);
    if (!message.ok()) return message.status();
    note(*message);
  }
}

}  // namespace mailrail
