#include "node/agent/remote_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

using internal::FromProto;
using internal::ToProto;

namespace {

// How many things of one peer may wait for the loop.
constexpr uint64_t kMostWaiting = 4096;

absl::Status TooMuch() {
  return absl::ResourceExhaustedError("this node is asked for too much at a time");
}

void SetStatus(const absl::Status& status, proto::Reply* reply) {
  reply->mutable_status()->set_code(static_cast<int>(status.code()));
  reply->mutable_status()->set_message(std::string(status.message()));
}

}  // namespace

void RemoteService::Connect(Registry* registry, Broker* broker, LocalService* local,
                            PeerCalls* calls, Watches* watches, AwaitedEnds* awaited,
                            FarReceipts* receipts, Objects* objects, FarObjects* far_objects,
                            ObjectHost* object_host, DeadlockSearch* deadlocks, Regions* regions,
                            Carrier* carrier) {
  registry_ = registry;
  broker_ = broker;
  local_ = local;
  calls_ = calls;
  watches_ = watches;
  awaited_ = awaited;
  receipts_ = receipts;
  objects_ = objects;
  far_objects_ = far_objects;
  object_host_ = object_host;
  deadlocks_ = deadlocks;
  regions_ = regions;
  carrier_ = carrier;
}

void RemoteService::Meet(const std::string& node, uint64_t incarnation) {
  calls_->AddPeer(node);
  uint64_t& known = incarnations_[node];
  if (known == incarnation) return;
  if (known != 0) {
    options_.log(absl::StrCat("node ", node, " has started anew; what was on its way is unknown"));
    broker_->ForgetNode(node);
    awaited_->OnNodeAnew(node);
    watches_->OnNodeAnew(node);
    object_host_->OnNodeAnew(node);
    far_objects_->OnNodeAnew(node);
    regions_->feeds().OnPeerDown(node);
  }
  known = incarnation;
  broker_->SavePeer(node, incarnation);
}

bool RemoteService::PostFrom(const std::string& node, std::function<void()> call) {
  {
    absl::MutexLock lock(&mutex_);
    uint64_t& waiting = waiting_[node];
    if (waiting >= kMostWaiting) return false;
    ++waiting;
  }
  loop_->Post([this, node, call = std::move(call)] {
    {
      absl::MutexLock lock(&mutex_);
      const auto found = waiting_.find(node);
      if (--found->second == 0) waiting_.erase(found);
    }
    call();
  });
  return true;
}

void RemoteService::OnPeerUp(const std::string& node, uint64_t incarnation, const std::string&) {
  loop_->Post([this, node, incarnation] {
    Meet(node, incarnation);
    options_.log(absl::StrCat("node ", node, " is connected"));
    watches_->OnPeerUp(node);
    far_objects_->OnPeerUp(node);
    calls_->OnPeerUp(node);
  });
}

void RemoteService::OnPeerDown(const std::string& node) {
  loop_->Post([this, node] {
    options_.log(absl::StrCat("node ", node, " is no longer connected"));
    calls_->OnPeerDown(node);
    watches_->OnPeerDown(node);
    regions_->feeds().OnPeerDown(node);
  });
}

void RemoteService::OnPeerProblem(const std::string& node, absl::Status why) {
  loop_->Post([this, node, why] {
    options_.log(absl::StrCat("node ", node, " is not connected: ", why.message()));
  });
}

void RemoteService::OnLaneState(uint64_t lane, absl::Status status, const proto::LaneState&) {
  loop_->Post([this, lane, status] {
    // First: who waits for it is told then.
    if (status.ok()) broker_->OutboundOpened(lane);
    local_->OnLaneState(lane, status);
    if (status.ok()) return;
    const Link* link = registry_->FindLink(lane);
    if (link == nullptr) return;
    broker_->EndOutbound(lane, link->b.kind == Endpoint::Kind::kRemoteMailbox
                                   ? CloseReason::kDestroyed
                                   : CloseReason::kProcessGone);
  });
}

void RemoteService::OnReceivers(uint64_t lane, uint32_t count) {
  loop_->Post([this, lane, count] { broker_->SetFarReceivers(lane, count); });
}

void RemoteService::OnReceipts(const std::string& node, const proto::Receipts& receipts) {
  // What is not taken is told again.
  PostFrom(node, [this, node, receipts] { receipts_->Tell(node, receipts); });
}

void RemoteService::OnLaneFinished(uint64_t lane) {
  loop_->Post([this, lane] { broker_->OutboundDone(lane); });
}

void RemoteService::OnLaneCorrupt(uint64_t lane) {
  loop_->Post([this, lane] { broker_->EndOutbound(lane, CloseReason::kRefused); });
}

void RemoteService::OnLaneOpen(const std::string& node, uint64_t incarnation,
                               const proto::LaneOpen& open) {
  const bool posted = PostFrom(node, [this, node, incarnation, open] {
    Meet(node, incarnation);
    absl::StatusOr<InboundLane> lane = broker_->AcceptLane(node, open);
    if (lane.ok()) {
      carrier_->AddInbound(*std::move(lane));
    } else {
      // Whom the mailbox's policy refuses does not wait for room in it.
      const LocalMailbox* mailbox = registry_->FindMailbox(open.mailbox());
      const bool for_good =
          mailbox != nullptr &&
          broker_->CheckAssociate(*mailbox, FromProto(open.sender())) == lane.status();
      carrier_->RefuseLane(node, open.lane(), lane.status(), for_good);
    }
  });
  // It is asked for again soon.
  if (!posted) carrier_->RefuseLane(node, open.lane(), TooMuch(), /*for_good=*/false);
}

void RemoteService::OnLaneEnd(const std::string& node, uint64_t lane, uint32_t end_reason) {
  loop_->Post([this, node, lane, end_reason] {
    broker_->EndInbound(node, lane, internal::EndReasonOf(end_reason));
    // It may have ended before it was answered, and accepted since.
    carrier_->RemoveInbound(node, lane);
  });
}

void RemoteService::OnInboundClosed(const std::string& node, uint64_t lane, absl::Status why) {
  loop_->Post([this, node, lane, why] {
    if (broker_->InboundClosed(node, lane)) return;
    options_.log(absl::StrCat("lane ", lane, " of node ", node, " is closed: ", why.message()));
  });
}

void RemoteService::OnRequest(const std::string& node, uint64_t incarnation,
                              const proto::Request& request) {
  const bool posted = PostFrom(node, [this, node, incarnation, request] {
    Meet(node, incarnation);
    Answer(node, request);
  });
  if (posted) return;
  proto::Frame frame;
  frame.mutable_reply()->set_id(request.id());
  frame.mutable_reply()->mutable_status()->set_code(static_cast<int>(TooMuch().code()));
  frame.mutable_reply()->mutable_status()->set_message(std::string(TooMuch().message()));
  carrier_->Send(node, std::move(frame));
}

void RemoteService::Reply(const std::string& node, uint64_t id, const proto::Reply& reply) {
  proto::Frame frame;
  *frame.mutable_reply() = reply;
  frame.mutable_reply()->set_id(id);
  // If the session went away the other node asks again.
  carrier_->Send(node, std::move(frame));
}

void RemoteService::Answer(const std::string& node, const proto::Request& request) {
  if (request.has_await_end()) return awaited_->Await(node, request.id(), request.await_end());
  if (request.has_forget_end()) return awaited_->Forget(node, request.id(), request.forget_end());
  if (request.epoch() != 0) return object_host_->OnRequest(node, request);
  if (request.has_next_region()) {
    return regions_->feeds().Next(node, request.id(), request.next_region());
  }
  if (request.has_forget_region()) {
    return regions_->feeds().Forget(node, request.id(), request.forget_region());
  }
  if (request.has_browse()) return Browse(node, request);
  if (request.has_redrive()) return Redrive(node, request);
  proto::Reply answer;
  proto::Reply* const reply = &answer;
  absl::Status status;
  const auto mailbox_of = [&](const std::string& name) {
    LocalMailbox* mailbox = registry_->FindMailbox(name);
    if (mailbox == nullptr) {
      status = UnknownName(NameKind::kMailbox, name, registry_->node());
    }
    return mailbox;
  };
  const auto describe = [reply](const LocalMailbox& mailbox) {
    ToProto(mailbox.options, reply->mutable_spec());
    reply->set_mailbox_id(mailbox.id);
  };
  switch (request.call_case()) {
    case proto::Request::kResolveProcess: {
      const absl::StatusOr<ProcessId> id = ProcessId::Parse(request.resolve_process());
      const LocalProcess* process =
          id.ok() ? registry_->FindProcess(*id) : registry_->FindName(request.resolve_process());
      if (process == nullptr) {
        status = UnknownName(NameKind::kProcess, request.resolve_process(), registry_->node());
      } else {
        ToProto(process->id, reply->mutable_process());
      }
      break;
    }
    case proto::Request::kFindMailbox:
      if (const LocalMailbox* mailbox = mailbox_of(request.find_mailbox())) describe(*mailbox);
      break;
    case proto::Request::kFindName: {
      const std::string& name = request.find_name();
      if (const LocalProcess* process = registry_->FindName(name)) {
        ToProto(process->id, reply->mutable_process());
      } else if (const LocalMailbox* mailbox = registry_->FindMailbox(name)) {
        describe(*mailbox);
      } else {
        status = UnknownName(NameKind::kAny, name, registry_->node());
      }
      break;
    }
    case proto::Request::kOpenReceiver: {
      const proto::OpenReceiver& open = request.open_receiver();
      if (open.receiver().node() != node) {
        status = absl::PermissionDeniedError(
            absl::StrCat("node ", node, " may not receive for a process of another node"));
      } else if (LocalMailbox* mailbox = mailbox_of(open.mailbox())) {
        status = broker_->CheckPublic(*mailbox);
        if (status.ok()) {
          status = broker_->OpenRemoteReceiver(mailbox, node, open.receiver_key(),
                                               FromProto(open.receiver()), open.leases());
        }
        ToProto(mailbox->options, reply->mutable_spec());
      }
      break;
    }
    case proto::Request::kDestroyMailbox: {
      const proto::DestroyMailbox& destroy = request.destroy_mailbox();
      LocalMailbox* mailbox = FindMailbox(destroy.mailbox(), destroy.mailbox_id());
      if (mailbox != nullptr) {
        reply->set_purged(broker_->DestroyMailbox(mailbox));
      }
      break;
    }
    case proto::Request::kPurgeMailbox: {
      const proto::PurgeMailbox& purge = request.purge_mailbox();
      LocalMailbox* mailbox = FindMailbox(purge.mailbox(), purge.mailbox_id());
      if (mailbox != nullptr) {
        reply->set_purged(broker_->Purge(mailbox));
      } else {
        status = UnknownName(NameKind::kMailbox, purge.mailbox(), registry_->node());
      }
      break;
    }
    case proto::Request::kStatMailbox:
      if (const LocalMailbox* mailbox = mailbox_of(request.stat_mailbox())) {
        broker_->Describe(*mailbox, reply->mutable_mailbox_state());
      }
      break;
    case proto::Request::kFindObject: {
      const proto::FindObject& find = request.find_object();
      const NamedObject* const object = registry_->FindObject(find.kind(), find.name());
      if (object == nullptr) {
        status = UnknownObject(find.kind(), find.name(), registry_->node());
      } else {
        reply->mutable_object()->set_object_id(object->id);
      }
      break;
    }
    case proto::Request::kDestroyObject: {
      const proto::FindObject& find = request.destroy_object();
      status = objects_->Destroy(find.kind(), find.name(), find.object_id());
      break;
    }
    case proto::Request::kWaitOf:
      if (const auto wait = deadlocks_->WaitOf(request.wait_of())) *reply->mutable_wait() = *wait;
      break;
    case proto::Request::kHoldersOf:
      for (proto::ThreadHold& hold : deadlocks_->HoldersOf(request.holders_of())) {
        *reply->add_holders() = std::move(hold);
      }
      break;
    case proto::Request::kFindRegion: {
      absl::StatusOr<proto::FoundRegion> found = regions_->Find(request.find_region());
      status = found.status();
      if (found.ok()) *reply->mutable_region() = *std::move(found);
      break;
    }
    case proto::Request::kPing:
      break;
    default:
      status = absl::UnimplementedError("this node does not know this request");
  }
  SetStatus(status, reply);
  Reply(node, request.id(), answer);
}

LocalMailbox* RemoteService::FindMailbox(const std::string& name, uint64_t id) {
  LocalMailbox* const mailbox = registry_->FindMailbox(id);
  return mailbox != nullptr && mailbox->name == name ? mailbox : nullptr;
}

void RemoteService::Browse(const std::string& node, const proto::Request& request) {
  const auto answer = [this, node, id = request.id()](absl::StatusOr<proto::Browsed> browsed) {
    proto::Reply reply;
    SetStatus(browsed.status(), &reply);
    if (browsed.ok()) *reply.mutable_browsed() = *std::move(browsed);
    Reply(node, id, reply);
  };
  const LocalMailbox* const mailbox =
      FindMailbox(request.browse().mailbox(), request.browse().mailbox_id());
  if (mailbox == nullptr) {
    return answer(UnknownName(NameKind::kMailbox, request.browse().mailbox(), registry_->node()));
  }
  broker_->browser().Browse(*mailbox, request.browse(), {[] { return true; }, answer});
}

void RemoteService::Redrive(const std::string& node, const proto::Request& request) {
  const auto answer = [this, node, id = request.id()](absl::StatusOr<proto::Redriven> redriven) {
    proto::Reply reply;
    SetStatus(redriven.status(), &reply);
    if (redriven.ok()) *reply.mutable_redriven() = *std::move(redriven);
    Reply(node, id, reply);
  };
  const LocalMailbox* const mailbox =
      FindMailbox(request.redrive().mailbox(), request.redrive().mailbox_id());
  if (mailbox == nullptr) {
    return answer(UnknownName(NameKind::kMailbox, request.redrive().mailbox(), registry_->node()));
  }
  broker_->browser().Redrive(*mailbox, request.redrive(), {[] { return true; }, answer});
}

void RemoteService::OnReply(const std::string& node, const proto::Reply& reply) {
  PostFrom(node, [this, node, reply] { calls_->OnReply(node, reply); });
}

void RemoteService::OnRequestsLost(const std::string&) {
  // Peer calls are sent again after a reconnect, until their deadlines.
}

void RemoteService::OnReceiverGone(const std::string& node, uint64_t key) {
  // One that is not heard now is found out by the next check.
  PostFrom(node, [this, node, key] { broker_->CloseRemoteReceiver(node, key); });
}

void RemoteService::OnProxyGone(const std::string& node, uint64_t key) {
  loop_->Post([this, node, key] { broker_->CloseProxy(node, key); });
}

void RemoteService::OnProxyCheck(const std::string& node, uint64_t key) {
  PostFrom(node, [this, node, key] {
    // It is there from before the other node was asked to open it.
    const Proxy* proxy = registry_->FindProxy(key);
    if (proxy == nullptr || proxy->node != node) carrier_->RemoveProxy(node, key);
  });
}

void RemoteService::OnReceiverBehind(const std::string& node, uint64_t key) {
  loop_->Post([this, node, key] { broker_->CatchUpRemoteReceiver(node, key); });
}

void RemoteService::OnReceiverCutOff(const std::string& node, uint64_t key) {
  loop_->Post([this, node, key] { broker_->CutOffRemoteReceiver(node, key); });
}

void RemoteService::OnReceiverReached(const std::string& node, uint64_t key) {
  loop_->Post([this, node, key] { broker_->ReachRemoteReceiver(node, key); });
}

void RemoteService::OnMessageDropped(uint64_t mailbox) {
  // A sender decides how many there are: one call at a time waits for the loop.
  bool first;
  {
    absl::MutexLock lock(&mutex_);
    first = dropped_.empty();
    ++dropped_[mailbox];
  }
  if (first) loop_->Post([this] { CountDropped(); });
}

void RemoteService::OnInboundLook(const std::string& node, uint64_t lane) {
  PostFrom(node, [this, node, lane] { broker_->OnInboundLook(node, lane); });
}

void RemoteService::OnMessageReturned(uint64_t mailbox) {
  loop_->Post([this, mailbox] { broker_->LookAtMailbox(mailbox); });
}

void RemoteService::CountDropped() {
  std::map<uint64_t, uint64_t> dropped;
  {
    absl::MutexLock lock(&mutex_);
    dropped.swap(dropped_);
  }
  for (const auto& [id, messages] : dropped) {
    LocalMailbox* mailbox = registry_->FindMailbox(id);
    if (mailbox == nullptr) continue;
    mailbox->dropped += messages;
    registry_->SaveMailbox(*mailbox);
  }
}

}  // namespace mailrail
