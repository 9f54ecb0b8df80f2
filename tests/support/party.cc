#include "tests/support/party.h"

#include <cerrno>
#include <cstdint>
#include <limits>
#include <utility>

namespace mailrail {

mailrail::proto::ProcessRef ToProto(const ProcessId& id) {
  mailrail::proto::ProcessRef ref;
  ref.set_node(id.node());
  ref.set_pid(id.pid());
  ref.set_incarnation(id.incarnation());
  return ref;
}

ProcessId FromProto(const mailrail::proto::ProcessRef& ref) {
  return ProcessId(ref.node(), ref.pid(), ref.incarnation());
}

mailrail::proto::StatusInfo ToProto(const absl::Status& status) {
  mailrail::proto::StatusInfo info;
  info.set_code(static_cast<int>(status.code()));
  info.set_message(std::string(status.message()));
  return info;
}

absl::Status FromProto(const mailrail::proto::StatusInfo& info) {
  return absl::Status(static_cast<absl::StatusCode>(info.code()), info.message());
}

int64_t ToProto(absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return std::numeric_limits<int64_t>::max();
  if (deadline == absl::InfinitePast()) return std::numeric_limits<int64_t>::min();
  return absl::ToUnixNanos(deadline);
}

absl::Time DeadlineOf(const party::Command& command) {
  const int64_t deadline = command.deadline_unix_ns();
  if (deadline == std::numeric_limits<int64_t>::max()) return absl::InfiniteFuture();
  if (deadline == std::numeric_limits<int64_t>::min()) return absl::InfinitePast();
  return absl::FromUnixNanos(deadline);
}

std::vector<Header> HeadersOf(const google::protobuf::RepeatedPtrField<party::Header>& headers) {
  std::vector<Header> result;
  for (const party::Header& header : headers) result.push_back({header.name(), header.value()});
  return result;
}

absl::Status Party::RegisterName(absl::string_view name) {
  party::Command command;
  command.set_register_name(std::string(name));
  return FromProto(Do(std::move(command), Patience()).status());
}

absl::StatusOr<ProcessId> Party::Resolve(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_resolve(std::string(name));
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return FromProto(result.status());
  return FromProto(result.process());
}

absl::StatusOr<Handle> Party::Connect(const ProcessId& process, absl::Time deadline) {
  party::Command command;
  *command.mutable_connect_process() = ToProto(process);
  return DoForHandle(std::move(command), deadline);
}

absl::StatusOr<Handle> Party::Connect(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_connect(std::string(name));
  return DoForHandle(std::move(command), deadline);
}

absl::StatusOr<Handle> Party::ConnectOneWay(const ProcessId& process, absl::Time deadline) {
  party::Command command;
  *command.mutable_connect_process() = ToProto(process);
  command.set_one_way(true);
  return DoForHandle(std::move(command), deadline);
}

absl::StatusOr<Handle> Party::ConnectOneWay(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_connect(std::string(name));
  command.set_one_way(true);
  return DoForHandle(std::move(command), deadline);
}

absl::StatusOr<Handle> Party::ConnectMailbox(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_connect_mailbox(std::string(name));
  return DoForHandle(std::move(command), deadline);
}

absl::Status Party::CreateMailbox(absl::string_view name, const MailboxOptions& options,
                                  absl::Time deadline) {
  party::Command command;
  party::CreateMailbox& create = *command.mutable_create_mailbox();
  create.set_name(std::string(name));
  create.mutable_spec()->set_max_message_bytes(options.max_message_bytes);
  create.mutable_spec()->set_fixed_size(options.fixed_size);
  create.mutable_spec()->set_capacity_messages(options.capacity_messages);
  create.mutable_spec()->set_when_full(static_cast<mailrail::proto::FullPolicy>(options.when_full));
  if (options.lease_time != absl::InfiniteDuration()) {
    create.mutable_spec()->set_lease_time_ms(
        static_cast<uint64_t>(absl::ToInt64Milliseconds(options.lease_time)));
  }
  create.mutable_spec()->set_max_attempts(options.max_attempts);
  create.mutable_spec()->set_dead_letter(options.dead_letter);
  create.mutable_spec()->set_receive_policy(
      static_cast<mailrail::proto::ReceivePolicy>(options.policy));
  create.mutable_spec()->set_owned(options.owned);
  create.mutable_spec()->set_order(static_cast<mailrail::proto::MailboxOrder>(options.order));
  create.mutable_spec()->set_hold_order(options.hold_order);
  create.mutable_spec()->set_distribution(
      static_cast<mailrail::proto::Distribution>(options.distribution));
  if (options.cutoff != absl::InfiniteDuration()) {
    create.mutable_spec()->set_cutoff_ms(
        static_cast<uint64_t>(absl::ToInt64Milliseconds(options.cutoff)));
  }
  return FromProto(Do(std::move(command), deadline).status());
}

absl::StatusOr<Handle> Party::OpenMailbox(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_open_mailbox(std::string(name));
  return DoForHandle(std::move(command), deadline);
}

absl::StatusOr<Handle> Party::OpenLeasing(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_open_leasing(std::string(name));
  return DoForHandle(std::move(command), deadline);
}

absl::Status Party::Settle(uint64_t number, party::Settle::How how, absl::Duration time) {
  party::Command command;
  command.mutable_settle()->set_number(number);
  command.mutable_settle()->set_how(how);
  command.mutable_settle()->set_time_ms(absl::ToInt64Milliseconds(time));
  return FromProto(Do(std::move(command), Patience()).status());
}

absl::Status Party::Acknowledge(uint64_t number) {
  return Settle(number, party::Settle::ACKNOWLEDGE);
}

absl::Status Party::GiveBack(uint64_t number, absl::Duration delay) {
  return Settle(number, party::Settle::GIVE_BACK, delay);
}

absl::Status Party::Extend(uint64_t number, absl::Duration time) {
  return Settle(number, party::Settle::EXTEND, time);
}

void Party::Destroy(uint64_t number) { Settle(number, party::Settle::DESTROY).IgnoreError(); }

absl::Status Party::DestroyMailbox(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_destroy_mailbox(std::string(name));
  return FromProto(Do(std::move(command), deadline).status());
}

namespace {

void Describe(const Outgoing& message, party::Outgoing* outgoing) {
  outgoing->set_number(message.number);
  outgoing->set_bytes(message.bytes);
  outgoing->set_priority(message.priority);
  for (const Header& header : message.headers) {
    outgoing->add_headers()->set_name(header.name);
    outgoing->mutable_headers()->rbegin()->set_value(header.value);
  }
  outgoing->set_reply_to(message.reply_to);
  outgoing->set_key(message.key);
  if (message.time_to_live != absl::InfiniteDuration()) {
    outgoing->set_time_to_live_ms(absl::ToInt64Milliseconds(message.time_to_live));
  }
  outgoing->set_delay_ms(absl::ToInt64Milliseconds(message.delay));
  outgoing->set_receipt(message.receipt);
}

Received ToReceived(const party::Received& message) {
  return {FromProto(message.sender()),
          message.priority(),
          message.sequence(),
          message.attempts(),
          message.number(),
          message.bytes(),
          message.intact(),
          static_cast<EndReason>(message.end()),
          static_cast<DeadLetterReason>(message.dead_letter_reason()),
          message.dead_letter_mailbox(),
          HeadersOf(message.headers()),
          message.reply_to(),
          message.key()};
}

}  // namespace

SendResult Party::Send(Handle sender, const std::vector<Outgoing>& messages, absl::Time deadline,
                       const SendOrder& order) {
  party::Command command;
  party::Send& send = *command.mutable_send();
  send.set_sender(sender);
  send.set_way(order.way);
  send.set_ledger(order.ledger);
  for (const Outgoing& message : messages) Describe(message, send.add_messages());
  const party::Result result = Do(std::move(command), deadline);
  return {result.count(), FromProto(result.status())};
}

ReceiveResult Party::Receive(Handle receiver, size_t count, absl::Time deadline,
                             const ReceiveOrder& order) {
  party::Command command;
  party::Receive& receive = *command.mutable_receive();
  receive.set_receiver(receiver);
  receive.set_count(count);
  receive.set_batch(order.batch);
  receive.set_ledger(order.ledger);
  if (order.from.pid() != 0) *receive.mutable_from() = ToProto(order.from);
  const party::Result result = Do(std::move(command), deadline);
  ReceiveResult received;
  received.status = FromProto(result.status());
  for (const party::Received& message : result.received()) {
    received.messages.push_back(ToReceived(message));
  }
  return received;
}

absl::StatusOr<uint64_t> Party::PurgeMailbox(absl::string_view name, absl::Time deadline) {
  party::Command command;
  command.set_purge_mailbox(std::string(name));
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return FromProto(result.status());
  return result.count();
}

absl::Status Party::Watch(const ProcessId& process, absl::Time deadline) {
  party::Command command;
  *command.mutable_watch() = ToProto(process);
  return FromProto(Do(std::move(command), deadline).status());
}

absl::Status Party::Echo(Handle receiver, Handle sender, size_t count, absl::Time deadline) {
  party::Command command;
  command.mutable_echo()->set_receiver(receiver);
  command.mutable_echo()->set_sender(sender);
  command.mutable_echo()->set_count(count);
  return FromProto(Do(std::move(command), deadline).status());
}

absl::StatusOr<Receipt> Party::NextReceipt(Handle sender, absl::Time deadline) {
  party::Command command;
  command.set_next_receipt(sender);
  const party::Result result = Do(std::move(command), deadline);
  if (absl::Status status = FromProto(result.status()); !status.ok()) return status;
  return Receipt{.receipt = result.receipt().receipt(),
                 .outcome = static_cast<Receipt::Outcome>(result.receipt().outcome()),
                 .receiver = FromProto(result.receipt().receiver()),
                 .dead_letter_mailbox = result.receipt().dead_letter_mailbox()};
}

absl::StatusOr<Received> Party::Call(Handle sender, const Outgoing& request, absl::Time deadline) {
  party::Command command;
  command.mutable_call_and_wait()->set_sender(sender);
  Describe(request, command.mutable_call_and_wait()->mutable_request());
  const party::Result result = Do(std::move(command), deadline);
  if (absl::Status status = FromProto(result.status()); !status.ok()) return status;
  return ToReceived(result.received(0));
}

absl::Status Party::Answer(Handle receiver, size_t count, absl::Time deadline) {
  party::Command command;
  command.mutable_answer()->set_receiver(receiver);
  command.mutable_answer()->set_count(count);
  return FromProto(Do(std::move(command), deadline).status());
}

party::QueueResult Party::CallQueue(const party::QueueCall& call, absl::Time deadline) {
  party::Command command;
  *command.mutable_queue() = call;
  party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) result.mutable_queue()->set_error(ECANCELED);
  return result.queue();
}

LockResult Party::CallLock(const party::LockCall& call, absl::Time deadline) {
  party::Command command;
  *command.mutable_lock() = call;
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return {.status = FromProto(result.status())};
  return {.status = FromProto(result.lock().status()),
          .fence = result.lock().fence(),
          .owner_died = result.lock().owner_died(),
          .value = result.lock().value()};
}

PipeResult Party::CallPipe(const party::PipeCall& call, absl::Time deadline) {
  party::Command command;
  *command.mutable_pipe() = call;
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return {.status = FromProto(result.status())};
  return {.status = FromProto(result.pipe().status()),
          .bytes = result.pipe().bytes(),
          .written = result.pipe().written()};
}

RegionResult Party::CallRegion(const party::RegionCall& call, absl::Time deadline) {
  party::Command command;
  *command.mutable_region() = call;
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return {.status = FromProto(result.status())};
  const party::RegionResult& region = result.region();
  return {.status = FromProto(region.status()),
          .version = region.version(),
          .bytes = region.bytes(),
          .size = region.size(),
          .intact = region.intact(),
          .replica = region.replica()};
}

void Party::Close(Handle handle) {
  party::Command command;
  command.set_close(handle);
  Do(std::move(command), Patience());
}

size_t Party::Asleep() {
  party::Command command;
  command.set_asleep(true);
  return Do(std::move(command), Patience()).count();
}

party::Result Party::Do(party::Command command, absl::Time deadline) {
  command.set_deadline_unix_ns(ToProto(deadline));
  return Do(std::move(command));
}

absl::StatusOr<Handle> Party::DoForHandle(party::Command command, absl::Time deadline) {
  const party::Result result = Do(std::move(command), deadline);
  if (result.status().code() != 0) return FromProto(result.status());
  return static_cast<Handle>(result.count());
}

}  // namespace mailrail
