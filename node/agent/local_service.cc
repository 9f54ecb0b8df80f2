#include "node/agent/local_service.h"

#include <errno.h>
#include <sys/epoll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/agent_connection.h"
#include "core/process/grants.h"
#include "node/agent/end_reason.h"

namespace mailrail {
namespace {

// For so long a process whose connection has ended may be dying.
constexpr absl::Duration kDeathTakes = absl::Milliseconds(50);

LinkWish WishOf(control::LinkWish wish) {
  switch (wish) {
    case control::ONE_WAY:
      return LinkWish::kOneWay;
    case control::AS_IT_IS:
      return LinkWish::kAsItIs;
    default:
      return LinkWish::kTwoWay;
  }
}

}  // namespace

using internal::ToProto;

LocalService::LocalService(Options options, Loop* loop, Registry* registry, Broker* broker,
                           MemoryShares* memory, Watches* watches, FarReceipts* receipts,
                           Objects* objects, FarObjects* far_objects, DeadlockSearch* deadlocks,
                           Regions* regions, Directory* directory, PeerCaller* peers)
    : options_(std::move(options)),
      loop_(loop),
      registry_(registry),
      broker_(broker),
      memory_(memory),
      watches_(watches),
      receipts_(receipts),
      objects_(objects),
      far_objects_(far_objects),
      deadlocks_(deadlocks),
      regions_(regions),
      directory_(directory),
      peers_(peers),
      resolver_(registry, directory),
      posts_(loop) {}

LocalService::ClientPtr LocalService::MakeClient(Fd socket) {
  auto client = std::make_shared<Client>(
      std::move(socket), loop_,
      Client::Handlers{[this](const ClientPtr& from, const control::Request& request,
                              std::vector<Fd> fds) { OnRequest(from, request, std::move(fds)); },
                       [this](const ClientPtr& from) { OnGone(from); },
                       [this](const ClientPtr& from, uint64_t number) {
                         watches_->OnSeen(from->number(), number);
                         receipts_->OnSeen(from->number(), number);
                       }});
  client->SetSerial(++last_serial_);
  return client;
}

void LocalService::Accept(Fd socket) {
  if (newcomers_.size() >= kMaxNewcomers) {
    const ClientPtr oldest = newcomers_.begin()->second;
    newcomers_.erase(newcomers_.begin());
    oldest->Close();
  }
  const ClientPtr client = MakeClient(std::move(socket));
  newcomers_[client->serial()] = client;
  client->Start(/*restarted=*/false);
}

void LocalService::Resume() {
  for (const auto& [number, process] : registry_->processes()) {
    const ClientPtr client = MakeClient(process->socket.Duplicate());
    client->SetNumber(number);
    clients_[number] = client;
    client->Start(/*restarted=*/true);
    WatchProcess(*process);
  }
}

void LocalService::WatchProcess(const LocalProcess& process) {
  if (!process.pidfd.valid()) return;
  loop_->Watch(process.pidfd.get(), EPOLLIN,
               [this, number = process.number](uint32_t) { OnProcessGone(number); });
}

void LocalService::OnGone(const ClientPtr& client) {
  newcomers_.erase(client->serial());
  const uint32_t number = client->number();
  const LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  // Whoever closes the connection detaches: by itself, by exec, or by dying. In death the
  // connection goes first, and how it died is known a moment later.
  const bool dying = process->pidfd.valid() && !client->detached() &&
                     HowItEnded(process->pidfd.get(), process->id.pid()) == EndReason::kDetached;
  if (!dying) return OnProcessGone(number);
  clients_.erase(number);
  loop_->RunAfter(kDeathTakes, [this, number] { AwaitDeath(number); });
}

void LocalService::AwaitDeath(uint32_t number) {
  const LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  // On a busy machine death takes longer; its pidfd will tell of it.
  if (HowItEnded(process->pidfd.get(), process->id.pid()) == EndReason::kDetached &&
      IsDying(process->id.pid())) {
    loop_->RunAfter(kDeathTakes, [this, number] { AwaitDeath(number); });
    return;
  }
  OnProcessGone(number);
}

void LocalService::OnProcessGone(uint32_t number) {
  const LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  const EndReason reason = process->pidfd.valid()
                               ? HowItEnded(process->pidfd.get(), process->id.pid())
                               : EndReason::kDetached;
  loop_->Unwatch(process->pidfd.get());
  bool said_so = false;
  const auto client = clients_.find(number);
  if (client != clients_.end()) {
    const ClientPtr keep = client->second;
    said_so = keep->detached();
    clients_.erase(client);
    keep->Close();
  }
  if (reason == EndReason::kDetached && !said_so) broker_->AwaitEnd(*process);
  receipts_->OnProcessGone(number);
  broker_->ProcessGone(number, reason);
}

uint64_t LocalService::Notify(uint32_t number, control::Notice notice, FdSource fds) {
  const auto client = clients_.find(number);
  if (client == clients_.end()) return 0;
  return client->second->Notify(std::move(notice), std::move(fds));
}

void LocalService::Respond(const Call& call, const absl::Status& status) {
  if (const ClientPtr client = call.client.lock()) client->Respond(call.id, status);
}

void LocalService::Respond(const Call& call, control::Response response, std::vector<Fd> fds) {
  response.set_id(call.id);
  if (const ClientPtr client = call.client.lock()) {
    client->Respond(std::move(response), std::move(fds));
  }
}

void LocalService::OnRequest(const ClientPtr& client, const control::Request& request,
                             std::vector<Fd> fds) {
  const auto call = std::make_shared<Call>();
  call->client = client;
  call->id = request.id();
  call->number = client->number();
  call->request = request;
  const uint64_t timeout_ms = request.timeout_ms() == 0 ? 10000 : request.timeout_ms();
  call->deadline = absl::Now() + absl::Milliseconds(
                                     static_cast<int64_t>(std::min<uint64_t>(timeout_ms, 3600000)));
  const bool attached = Caller(*call) != nullptr;
  using Kind = control::Request::CallCase;
  switch (request.call_case()) {
    case Kind::kAttach:
      return Attach(client, call);
    case Kind::kResolve:
      return Resolve(call);
    case Kind::kFind:
      return Find(call);
    case Kind::kDestroyObject:
      return DestroyObject(call);
    case Kind::kDestroyRegion:
      return Respond(*call, regions_->Destroy(request.destroy_region()));
    case Kind::kCreateMailbox:
      return CreateMailbox(call);
    case Kind::kDestroyMailbox:
      return DestroyMailbox(call);
    case Kind::kPurgeMailbox:
      return Purge(call);
    case Kind::kStatMailbox:
      return StatMailbox(call);
    case Kind::kBrowse:
      return Browse(call);
    case Kind::kRedrive:
      return Redrive(call);
    case Kind::kPost:
      return Post(call, std::move(fds));
    case Kind::kList:
      return List(call);
    case Kind::kPing:
      return Ping(call);
    case Kind::kMemoryUse:
      if (!attached) return;
      return memory_->OnUse(call->number, request.memory_use().used_bytes(),
                            request.memory_use().wanted_bytes());
    case Kind::kExpired:
      if (LocalProcess* const caller = Caller(*call)) {
        caller->expired += request.expired();
        registry_->SaveProcess(*caller).IgnoreError();
      }
      return;
    case Kind::kLookAtLane:
      if (attached) broker_->LookAtLane(request.look_at_lane());
      return;
    case Kind::kCloseObject:
      if (attached) CloseObject(call->number, request.close_object());
      return;
    case Kind::kSettleObject:
      if (attached) far_objects_->Settle(call->number, request.settle_object());
      return;
    case Kind::kCloseRegion:
      if (attached) regions_->Close(call->number, request.close_region());
      return;
    case Kind::kRegionPublished:
      if (attached) regions_->Published(request.region_published());
      return;
    case Kind::kLookAtMailbox:
      if (!attached) return;
      return broker_->LookAtMailbox(request.look_at_mailbox());
    default:
      break;
  }
  if (!attached) {
    return Respond(*call, absl::FailedPreconditionError("this program has not attached"));
  }
  switch (request.call_case()) {
    case Kind::kRegisterName:
      return RegisterName(call);
    case Kind::kConnectProcess:
      return ConnectProcess(call);
    case Kind::kConnectMailbox:
      return ConnectMailbox(call);
    case Kind::kListSubscriptions:
      return ListSubscriptions(call);
    case Kind::kConnectSubscription:
      return ConnectSubscription(call);
    case Kind::kOpenMailbox:
      return OpenMailbox(call);
    case Kind::kLaneExpires:
      broker_->LookAtLane(request.lane_expires());
      return Respond(*call, absl::OkStatus());
    case Kind::kExtendLease:
      return Respond(*call, broker_->ExtendLease(Caller(*call), request.extend_lease()));
    case Kind::kClose:
      broker_->Close(Caller(*call), request.close());
      return Respond(*call, absl::OkStatus());
    case Kind::kOpenObject:
      return OpenObject(call);
    case Kind::kOpenRegion:
      return OpenRegion(call);
    case Kind::kWaitForObject:
      return WaitForObject(call);
    case Kind::kWaitEnded:
      objects_->WaitEnded(call->number, request.wait_ended());
      return Respond(*call, absl::OkStatus());
    case Kind::kObjectOp:
      return DoObjectOp(call);
    case Kind::kWhoIs:
      return WhoIs(call);
    case Kind::kWatch:
      return Watch(call);
    case Kind::kUnwatch:
      watches_->Remove(call->number, request.unwatch());
      return Respond(*call, absl::OkStatus());
    default:
      return Respond(*call, absl::UnimplementedError("this agent does not know this request"));
  }
}

void LocalService::Attach(const ClientPtr& client, const CallPtr& call) {
  const control::Attach& attach = call->request.attach();
  if (attach.protocol_version() != internal::kControlProtocolVersion ||
      attach.layout_version() != kLayoutVersion) {
    return Respond(*call, absl::UnimplementedError(absl::StrCat(
                              "this program's library speaks version ", attach.protocol_version(),
                              ".", attach.layout_version(), ", the agent version ",
                              internal::kControlProtocolVersion, ".", kLayoutVersion)));
  }
  LocalProcess* process = Caller(*call);
  if (process == nullptr) {
    absl::StatusOr<LocalProcess*> added = Register(client);
    if (!added.ok()) return Respond(*call, added.status());
    process = *added;
  }
  control::Response response;
  control::Attached* attached = response.mutable_attached();
  ToProto(process->id, attached->mutable_process());
  attached->set_number(process->number);
  attached->set_inbox_id(process->inbox_id);
  attached->set_max_message_bytes(kDefaultMaxMessageBytes);
  absl::StatusOr<std::vector<Fd>> fds = process->inbox.GrantReceiver();
  if (!fds.ok()) return Respond(*call, fds.status());
  Respond(*call, std::move(response), *std::move(fds));
}

absl::StatusOr<LocalProcess*> LocalService::Register(const ClientPtr& client) {
  if (attached() >= options_.max_processes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this agent serves its limit of ", options_.max_processes,
                     " processes: end one, or raise the agent's --max-processes"));
  }
  Fd socket = client->DuplicateSocket();
  Fd pidfd = client->OpenPidfd();
  if (!socket.valid() || (!pidfd.valid() && errno != ESRCH)) {
    return OutOfDescriptors();
  }
  absl::StatusOr<LocalProcess*> process =
      registry_->AddProcess(client->pid(), client->uid(), std::move(socket), std::move(pidfd));
  if (!process.ok()) return process;
  client->SetNumber((*process)->number);
  newcomers_.erase(client->serial());
  clients_[(*process)->number] = client;
  WatchProcess(**process);
  memory_->OnAttach(**process);
  return process;
}

void LocalService::RegisterName(const CallPtr& call) {
  const std::string& name = call->request.register_name().name();
  LocalProcess* caller = Caller(*call);
  absl::Status status = CheckName("process", name);
  if (status.ok() && caller->names.size() >= kMaxNamesPerProcess && !caller->names.contains(name)) {
    status = absl::ResourceExhaustedError(
        absl::StrCat("this process has ", kMaxNamesPerProcess, " names already"));
  }
  if (status.ok()) status = registry_->AddName(caller, name);
  Respond(*call, status);
}

void LocalService::Resolve(const CallPtr& call) {
  resolver_.FindProcess(call->request.resolve(), call->deadline,
                        [this, call](absl::StatusOr<ProcessId> id) {
                          if (!id.ok()) return Respond(*call, id.status());
                          control::Response response;
                          ToProto(*id, response.mutable_process());
                          Respond(*call, std::move(response));
                        });
}

void LocalService::WhoIs(const CallPtr& call) {
  const ProcessId process = registry_->owner_names()->NameOf(call->request.who_is());
  if (process.pid() == 0) {
    return Respond(*call, absl::NotFoundError("nobody is known who has had this number"));
  }
  control::Response response;
  ToProto(process, response.mutable_process());
  Respond(*call, std::move(response));
}

void LocalService::Find(const CallPtr& call) {
  resolver_.Find(call->request.find(), call->deadline,
                 [this, call](absl::StatusOr<NameResolver::Found> found) {
                   if (!found.ok()) return Respond(*call, found.status());
                   control::Response response;
                   if (found->process.has_value()) {
                     ToProto(*found->process, response.mutable_process());
                   } else {
                     const NameResolver::Mailbox& mailbox = found->mailbox;
                     response.set_mailbox(QualifiedName{mailbox.name, mailbox.far.node}.ToString());
                   }
                   Respond(*call, std::move(response));
                 });
}

void LocalService::ConnectProcess(const CallPtr& call) {
  const LinkWish wish = WishOf(call->request.link_wish());
  resolver_.FindProcess(
      call->request.connect_process(), call->deadline,
      [this, call, wish](absl::StatusOr<ProcessId> id) {
        LocalProcess* caller = Caller(*call);
        if (caller == nullptr) return;
        if (!id.ok()) return Respond(*call, id.status());
        control::Response response;
        if (id->node() == registry_->node()) {
          LocalProcess* peer = registry_->FindProcess(*id);
          if (peer == nullptr) {
            return Respond(
                *call, absl::NotFoundError(absl::StrCat("process ", id->ToString(), " is gone")));
          }
          const auto client = clients_.find(peer->number);
          if (client != clients_.end() && client->second->links_untold() >= kMaxLinksUntold) {
            return Respond(*call, absl::ResourceExhaustedError(absl::StrCat(
                                      "process ", id->ToString(), " does not take in its ",
                                      kMaxLinksUntold, " new links; does it run?")));
          }
          absl::StatusOr<Link*> link = broker_->LinkLocal(caller, peer, wish);
          if (!link.ok()) return Respond(*call, link.status());
          response.mutable_link()->set_link_id((*link)->id);
          return Respond(*call, std::move(response));
        }
        absl::StatusOr<Link*> link = broker_->LinkRemote(caller, *id, MailboxOptions(), wish);
        if (!link.ok()) return Respond(*call, link.status());
        response.mutable_link()->set_link_id((*link)->id);
        // Of one that is the other's alone nothing is to be opened, unless that is asked for.
        const bool inward = (*link)->direction == LinkDirection::kFromB;
        if (inward ? wish == LinkWish::kAsItIs : open_links_.contains((*link)->id)) {
          return Respond(*call, std::move(response));
        }
        opening_[(*link)->id].push_back(call);
        loop_->RunAt(call->deadline, [this, call, id = (*link)->id] {
          const auto waiting = opening_.find(id);
          if (waiting == opening_.end() || std::erase(waiting->second, call) == 0) return;
          Respond(*call, absl::UnavailableError("the process's node was not reached in time"));
        });
      });
}

void LocalService::OnLaneState(uint64_t link_id, const absl::Status& status) {
  if (status.ok()) {
    open_links_[link_id] = true;
  } else {
    open_links_.erase(link_id);
  }
  const auto waiting = opening_.find(link_id);
  if (waiting == opening_.end()) return;
  const std::vector<CallPtr> calls = std::move(waiting->second);
  opening_.erase(waiting);
  for (const CallPtr& call : calls) {
    if (!status.ok()) {
      Respond(*call, status);
      continue;
    }
    const Link* link = registry_->FindLink(link_id);
    if (link == nullptr) {
      Respond(*call, absl::UnavailableError("the link ended at once"));
      continue;
    }
    control::Response response;
    std::vector<Fd> fds;
    response.mutable_link()->set_link_id(link_id);
    if (link->b.kind == Endpoint::Kind::kRemoteMailbox) {
      absl::StatusOr<std::vector<Fd>> grant = broker_->GrantFar(*link, response.mutable_link());
      if (!grant.ok()) {
        Respond(*call, grant.status());
        continue;
      }
      fds = *std::move(grant);
    }
    Respond(*call, std::move(response), std::move(fds));
  }
}

}  // namespace mailrail
