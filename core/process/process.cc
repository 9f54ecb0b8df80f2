#include "mailrail/process.h"

#include <string>
#include <utility>

#include "core/base/name.h"
#include "core/mailbox/control_page.h"
#include "core/message/message_access.h"
#include "core/process/browse.h"
#include "core/process/grants.h"
#include "core/process/process_impl.h"
#include "core/process/receiver_impl.h"
#include "core/process/sender_impl.h"

namespace mailrail {
namespace {

control::LinkWish WishOf(const ConnectOptions& options) {
  return options.one_way ? control::ONE_WAY : control::TWO_WAY;
}

}  // namespace

using internal::AgentReply;

Process::Process(std::shared_ptr<internal::ProcessImpl> impl) : impl_(std::move(impl)) {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;
Process::~Process() = default;

absl::StatusOr<Process> Process::Attach(const AttachOptions& options) {
  absl::StatusOr<std::shared_ptr<internal::ProcessImpl>> impl =
      internal::ProcessImpl::Attach(options);
  if (!impl.ok()) return impl.status();
  return Process(*std::move(impl));
}

const ProcessId& Process::id() const { return impl_->id(); }

Receiver& Process::inbox() { return impl_->inbox(); }

absl::Status Process::RegisterName(absl::string_view name) {
  if (absl::Status status = CheckName("process", name); !status.ok()) return status;
  control::Request request;
  request.mutable_register_name()->set_name(std::string(name));
  return impl_->Call(std::move(request), absl::Now() + absl::Seconds(10)).status();
}

absl::StatusOr<ProcessId> Process::Resolve(absl::string_view name, absl::Time deadline) {
  control::Request request;
  request.set_resolve(std::string(name));
  absl::StatusOr<AgentReply> reply = impl_->Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  return internal::FromProto(reply->response.process());
}

absl::StatusOr<Sender> Process::Connect(const ProcessId& process, absl::Time deadline) {
  return Connect(process, ConnectOptions(), deadline);
}

absl::StatusOr<Sender> Process::Connect(const ProcessId& process, const ConnectOptions& options,
                                        absl::Time deadline) {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      impl_->ConnectProcess(process.ToString(), WishOf(options), deadline);
  if (!lane.ok()) return lane.status();
  return Sender(std::make_unique<internal::SenderImpl>(impl_, *std::move(lane)));
}

absl::StatusOr<Sender> Process::ConnectMailbox(absl::string_view mailbox, absl::Time deadline) {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  if (absl::Status status = ParseQualifiedName("mailbox", mailbox).status(); !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      impl_->ConnectMailbox(std::string(mailbox), deadline);
  if (!lane.ok()) return lane.status();
  return Sender(std::make_unique<internal::SenderImpl>(impl_, *std::move(lane)));
}

absl::StatusOr<Sender> Process::Connect(absl::string_view name, absl::Time deadline) {
  return Connect(name, ConnectOptions(), deadline);
}

absl::StatusOr<Sender> Process::Connect(absl::string_view name, const ConnectOptions& options,
                                        absl::Time deadline) {
  std::string found(name);
  if (!ProcessId::Parse(name).ok()) {
    // The agent says what it is, and where.
    control::Request request;
    request.set_find(found);
    absl::StatusOr<AgentReply> reply = impl_->Call(std::move(request), deadline);
    if (!reply.ok()) return reply.status();
    if (reply->response.has_mailbox()) return ConnectMailbox(reply->response.mailbox(), deadline);
    found = internal::FromProto(reply->response.process()).ToString();
  } else if (absl::Status status = impl_->CheckUsable(); !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      impl_->ConnectProcess(found, WishOf(options), deadline);
  if (!lane.ok()) return lane.status();
  return Sender(std::make_unique<internal::SenderImpl>(impl_, *std::move(lane)));
}

absl::Status Process::Reply(const Message& request, absl::string_view body,
                            const SendOptions& options, absl::Time deadline) {
  if (request.reply_to().empty()) {
    return absl::FailedPreconditionError("this message does not say where answers are to go");
  }
  const uint64_t call = internal::MessageAccess::CallOf(request);
  // That of a call is a mailbox; of another one the agent may have to say what it is.
  absl::StatusOr<Sender> sender = call != 0 ? ConnectMailbox(request.reply_to(), deadline)
                                            : Connect(request.reply_to(), deadline);
  if (!sender.ok()) return sender.status();
  return internal::SendWithOptions(impl_.get(), sender->impl_->lane.get(), body, options,
                                   {.call = call}, deadline);
}

absl::Status Process::Watch(const ProcessId& process, absl::Time deadline) {
  // "The living process with this pid": which is that?
  const bool whole = process.incarnation() != 0 && !process.node().empty();
  if (!whole) return Watch(process.ToString(), deadline).status();
  return impl_->Watch(process, deadline);
}

absl::StatusOr<ProcessId> Process::Watch(absl::string_view name, absl::Time deadline) {
  const absl::StatusOr<ProcessId> process = Resolve(name, deadline);
  if (!process.ok()) return process;
  if (absl::Status status = impl_->Watch(*process, deadline); !status.ok()) return status;
  return process;
}

absl::Status Process::WatchMailbox(absl::string_view mailbox, absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", mailbox).status(); !status.ok()) {
    return status;
  }
  return impl_->Watch(Ended{Ended::Kind::kMailbox, std::string(mailbox)}, deadline);
}

absl::Status Process::WatchNode(absl::string_view node, absl::Time deadline) {
  if (absl::Status status = CheckName("node", node); !status.ok()) return status;
  return impl_->Watch(Ended{Ended::Kind::kNode, std::string(node)}, deadline);
}

absl::Status Process::Unwatch(const ProcessId& process) {
  return impl_->Unwatch({Ended::Kind::kProcess, process.ToString()});
}

absl::Status Process::UnwatchMailbox(absl::string_view mailbox) {
  return impl_->Unwatch({Ended::Kind::kMailbox, std::string(mailbox)});
}

absl::Status Process::UnwatchNode(absl::string_view node) {
  return impl_->Unwatch({Ended::Kind::kNode, std::string(node)});
}

absl::Status Process::CreateMailbox(absl::string_view name, const MailboxOptions& options,
                                    absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", name).status(); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  control::Request request;
  request.mutable_create_mailbox()->set_name(std::string(name));
  internal::ToProto(options, request.mutable_create_mailbox()->mutable_spec());
  return impl_->Call(std::move(request), deadline).status();
}

absl::StatusOr<Receiver> Process::OpenMailbox(absl::string_view name, absl::Time deadline) {
  return OpenMailbox(name, ReceiveOptions(), deadline);
}

absl::StatusOr<Receiver> Process::OpenMailbox(absl::string_view name, const ReceiveOptions& options,
                                              absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", name).status(); !status.ok()) {
    return status;
  }
  const bool leases = options.acknowledgement == Acknowledgement::kManual;
  absl::StatusOr<internal::ProcessImpl::OpenedMailbox> opened =
      impl_->OpenMailbox(std::string(name), leases, deadline);
  if (!opened.ok()) return opened.status();
  auto receiver = std::make_unique<internal::ReceiverImpl>(
      impl_.get(), impl_, "mailbox " + opened->name, opened->destination_id, opened->queue,
      std::move(opened->memory), /*is_inbox=*/false);
  if (leases) receiver->LeaseFrom(std::move(opened->queue));
  return Receiver(std::move(receiver));
}

absl::StatusOr<MailboxState> Process::StatMailbox(absl::string_view name, absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", name).status(); !status.ok()) {
    return status;
  }
  control::Request request;
  request.set_stat_mailbox(std::string(name));
  absl::StatusOr<AgentReply> reply = impl_->Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  const proto::MailboxState& state = reply->response.mailbox_state();
  return MailboxState{.options = internal::FromProto(state.spec()),
                      .waiting = state.waiting(),
                      .leased = state.leased(),
                      .delayed = state.delayed()};
}

absl::Status Process::DestroyMailbox(absl::string_view name, absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", name).status(); !status.ok()) {
    return status;
  }
  control::Request request;
  request.set_destroy_mailbox(std::string(name));
  return impl_->Call(std::move(request), deadline).status();
}

absl::StatusOr<uint64_t> Process::PurgeMailbox(absl::string_view name, absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("mailbox", name).status(); !status.ok()) {
    return status;
  }
  control::Request request;
  request.set_purge_mailbox(std::string(name));
  absl::StatusOr<AgentReply> reply = impl_->Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  return reply->response.purged();
}

absl::StatusOr<absl::optional<BrowsedMessage>> Process::Peek(absl::string_view mailbox,
                                                             absl::Time deadline) {
  return internal::Peek(
      mailbox, [&](control::Request request) { return impl_->Call(std::move(request), deadline); });
}

absl::StatusOr<std::vector<BrowsedMessage>> Process::Browse(absl::string_view mailbox,
                                                            const BrowseOptions& options,
                                                            absl::Time deadline) {
  return internal::Browse(mailbox, options, [&](control::Request request) {
    return impl_->Call(std::move(request), deadline);
  });
}

absl::StatusOr<Redriven> Process::Redrive(absl::string_view dead_letters,
                                          const RedriveOptions& options, absl::Time deadline) {
  return internal::Redrive(dead_letters, options, [&](control::Request request) {
    return impl_->Call(std::move(request), deadline);
  });
}

}  // namespace mailrail
