// The local service's part about mailboxes.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/mailbox/control_page.h"
#include "core/process/grants.h"
#include "node/agent/local_service.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

using internal::FromProto;
using internal::ToProto;

void LocalService::FindMailbox(
    const CallPtr& call, const std::string& text, std::function<void(LocalMailbox*)> here,
    std::function<void(const FoundMailbox&, const std::string& name)> far) {
  resolver_.FindMailbox(text, call->deadline,
                        [this, call, here = std::move(here),
                         far = std::move(far)](absl::StatusOr<NameResolver::Mailbox> mailbox) {
                          if (!mailbox.ok()) return Respond(*call, mailbox.status());
                          if (mailbox->here != nullptr) return here(mailbox->here);
                          far(mailbox->far, mailbox->name);
                        });
}

void LocalService::ConnectMailbox(const CallPtr& call) {
  FindMailbox(
      call, call->request.connect_mailbox(),
      [this, call](LocalMailbox* mailbox) {
        if (absl::Status status = broker_->CheckPublic(*mailbox); !status.ok()) {
          return Respond(*call, status);
        }
        if (!Broker::SentByGroup(*mailbox)) return GrantLane(call, mailbox);
        control::Response response;
        absl::StatusOr<std::vector<Fd>> fds =
            broker_->GrantGroup(*mailbox, response.mutable_broadcast());
        if (!fds.ok()) return Respond(*call, fds.status());
        Respond(*call, std::move(response), *std::move(fds));
      },
      [this, call](const FoundMailbox& found, const std::string& name) {
        ConnectFarMailbox(call, found, name);
      });
}

void LocalService::GrantLane(const CallPtr& call, LocalMailbox* mailbox) {
  LocalProcess* caller = Caller(*call);
  Endpoint sender;
  sender.kind = Endpoint::Kind::kProcess;
  sender.number = caller->number;
  absl::StatusOr<MailboxLane*> lane =
      broker_->JoinMailbox(mailbox, sender, caller->id, caller->uid, 0);
  if (!lane.ok()) return Respond(*call, lane.status());
  control::Response response;
  absl::StatusOr<std::vector<Fd>> fds =
      broker_->GrantLane(*mailbox, **lane, response.mutable_lane());
  if (!fds.ok()) return Respond(*call, fds.status());
  Respond(*call, std::move(response), *std::move(fds));
}

void LocalService::ListSubscriptions(const CallPtr& call) {
  const LocalMailbox* const mailbox = registry_->FindMailbox(call->request.list_subscriptions());
  if (mailbox == nullptr) {
    return Respond(*call, absl::UnavailableError("the mailbox was destroyed"));
  }
  control::Response response;
  for (const uint64_t id : mailbox->subscriptions) response.mutable_subscriptions()->add_ids(id);
  Respond(*call, std::move(response));
}

void LocalService::ConnectSubscription(const CallPtr& call) {
  LocalMailbox* const mailbox = registry_->FindMailbox(call->request.connect_subscription());
  if (mailbox == nullptr || !mailbox->subscription()) {
    return Respond(*call, absl::NotFoundError("its receiver has gone"));
  }
  GrantLane(call, mailbox);
}

void LocalService::ConnectFarMailbox(const CallPtr& call, const FoundMailbox& found,
                                     const std::string& name) {
  LocalProcess* caller = Caller(*call);
  if (caller == nullptr) return;
  Endpoint sender;
  sender.kind = Endpoint::Kind::kProcess;
  sender.number = caller->number;
  absl::StatusOr<Link*> link = broker_->LinkMailbox(sender, found.node, name, found.options);
  if (!link.ok()) return Respond(*call, link.status());
  const uint64_t id = (*link)->id;
  opening_[id].push_back(call);
  if (open_links_.contains(id)) return OnLaneState(id, absl::OkStatus());
  loop_->RunAt(call->deadline, [this, call, id] {
    const auto waiting = opening_.find(id);
    if (waiting == opening_.end() || std::erase(waiting->second, call) == 0) return;
    Respond(*call, absl::UnavailableError("the mailbox's node was not reached in time"));
  });
}

absl::Status LocalService::CheckDeadLetter(const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  const LocalMailbox* const mailbox = registry_->FindMailbox(name);
  if (mailbox == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("the dead-letter mailbox '", name, "' is not on this node: create it first"));
  }
  if (mailbox->options.policy == ReceivePolicy::kLink) {
    return absl::InvalidArgumentError(
        absl::StrCat("mailbox '", name, "' is a link of two processes: it takes no dead letters"));
  }
  if (mailbox->broadcasts() || mailbox->subscription()) {
    return absl::InvalidArgumentError(
        absl::StrCat("mailbox '", name, "' keeps nothing for later: it takes no dead letters"));
  }
  return absl::OkStatus();
}

void LocalService::CreateMailbox(const CallPtr& call) {
  const control::CreateMailbox& create = call->request.create_mailbox();
  const MailboxOptions options = FromProto(create.spec());
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("mailbox", create.name());
  if (!name.ok()) return Respond(*call, name.status());
  if (absl::Status status = CheckOptions(options); !status.ok()) return Respond(*call, status);
  if (options.owned && Caller(*call) == nullptr) {
    return Respond(
        *call, absl::FailedPreconditionError("only a process that is attached can own a mailbox"));
  }
  if (!name->node.empty() && name->node != registry_->node()) {
    return Respond(*call, absl::InvalidArgumentError(
                              absl::StrCat("a mailbox is created on its own node: this is ",
                                           registry_->node(), ", not ", name->node)));
  }
  const auto taken = [this, call, name = name->name](absl::string_view node) {
    Respond(*call, MailboxExists(name, node));
  };
  const auto exists = [this, call, taken, name = name->name] {
    const LocalMailbox* mailbox = registry_->FindMailbox(name);
    if (mailbox == nullptr) return false;
    // The same request again, after this agent was started again: it was done.
    if (call->number != 0 && mailbox->creator == call->number &&
        mailbox->creator_request == call->id) {
      Respond(*call, absl::OkStatus());
    } else {
      taken(registry_->node());
    }
    return true;
  };
  if (exists()) return;
  if (absl::Status status = CheckDeadLetter(options.dead_letter); !status.ok()) {
    return Respond(*call, status);
  }
  if (registry_->mailboxes().size() >= options_.max_mailboxes) {
    return Respond(*call, absl::ResourceExhaustedError(absl::StrCat(
                              "this node has ", options_.max_mailboxes, " mailboxes already")));
  }
  // The one of the process that asks, and nobody else's: no other node need be asked.
  const LocalProcess* caller = Caller(*call);
  if (caller != nullptr && options.owned && name->name == internal::ReplyMailboxOf(caller->id)) {
    return Respond(*call,
                   registry_->AddMailbox(name->name, options, call->number, call->id).status());
  }
  if (absl::StartsWith(name->name, internal::kReplyMailboxPrefix)) {
    return Respond(*call, absl::InvalidArgumentError(
                              absl::StrCat("names that begin with ", internal::kReplyMailboxPrefix,
                                           " are of mailboxes for answers")));
  }
  // Half of the time, so that who asks still waits when another node has not answered.
  const absl::Time now = absl::Now();
  directory_->CheckMailbox(
      name->name, now + (call->deadline - now) / 2,
      [this, call, options, taken, exists, name = name->name](absl::StatusOr<FoundMailbox> found) {
        if (found.ok()) return taken(found->node);
        if (!absl::IsNotFound(found.status())) {
          return Respond(*call, absl::UnavailableError(
                                    absl::StrCat("whether the cluster has a mailbox '", name,
                                                 "' is not known: ", found.status().message())));
        }
        if (exists()) return;  // created while we asked
        // Nobody waits for the answer, and nobody would end it.
        if (options.owned && Caller(*call) == nullptr) return;
        absl::StatusOr<LocalMailbox*> mailbox =
            registry_->AddMailbox(name, options, call->number, call->id);
        Respond(*call, mailbox.status());
      });
}

void LocalService::OpenMailbox(const CallPtr& call) {
  FindMailbox(
      call, call->request.open_mailbox().name(),
      [this, call](LocalMailbox* mailbox) {
        if (absl::Status status = broker_->CheckPublic(*mailbox); !status.ok()) {
          return Respond(*call, status);
        }
        if (mailbox->broadcasts()) {
          absl::StatusOr<LocalMailbox*> own = broker_->Subscribe(mailbox, call->number, call->id);
          if (!own.ok()) return Respond(*call, own.status());
          mailbox = *own;
        }
        control::Response response;
        control::Opened* opened = response.mutable_opened();
        absl::StatusOr<std::vector<Fd>> fds = mailbox->destination.GrantReceiver();
        absl::Status status = fds.status();
        if (status.ok()) {
          status =
              broker_->OpenReceiver(Caller(*call), mailbox, call->request.open_mailbox().leases());
        }
        if (!status.ok()) {
          if (mailbox->subscription()) broker_->DestroyMailbox(mailbox);
          return Respond(*call, status);
        }
        opened->set_sole(mailbox->subscription());
        opened->set_destination_id(mailbox->id);
        ToProto(mailbox->options, opened->mutable_spec());
        opened->set_mailbox(broker_->PublicName(*mailbox));
        opened->set_members_version(mailbox->destination.version());
        Respond(*call, std::move(response), *std::move(fds));
      },
      [this, call](const FoundMailbox& found, const std::string& name) {
        OpenFarMailbox(call, found, name);
      });
}

void LocalService::OpenFarMailbox(const CallPtr& call, const FoundMailbox& found,
                                  const std::string& name) {
  LocalProcess* caller = Caller(*call);
  if (caller == nullptr) return;
  const bool leases = call->request.open_mailbox().leases();
  absl::StatusOr<Proxy*> proxy = broker_->AddProxy(caller, found.node, name, found.options, leases);
  if (!proxy.ok()) return Respond(*call, proxy.status());
  proto::Request request;
  proto::OpenReceiver* open = request.mutable_open_receiver();
  open->set_mailbox(name);
  ToProto(caller->id, open->mutable_receiver());
  open->set_receiver_key((*proxy)->id);
  open->set_leases(leases);
  peers_->Call(found.node, std::move(request), call->deadline,
               [this, call, id = (*proxy)->id](absl::StatusOr<proto::Reply> reply) {
                 const Proxy* opened_proxy = registry_->FindProxy(id);
                 if (opened_proxy == nullptr) return;
                 LocalProcess* process = registry_->FindProcess(opened_proxy->number);
                 control::Response response;
                 absl::StatusOr<std::vector<Fd>> fds =
                     reply.ok() ? opened_proxy->destination.GrantReceiver() : reply.status();
                 if (!fds.ok()) {
                   broker_->CloseReceiver(process, id);
                   return Respond(*call, fds.status());
                 }
                 fds->push_back(broker_->DuplicateCarrierGate());
                 if (!fds->back().valid()) {
                   broker_->CloseReceiver(process, id);
                   return Respond(*call, OutOfDescriptors());
                 }
                 broker_->StartProxy(*opened_proxy);
                 control::Opened* opened = response.mutable_opened();
                 opened->set_destination_id(id);
                 ToProto(opened_proxy->options, opened->mutable_spec());
                 opened->set_mailbox(absl::StrCat(opened_proxy->mailbox, "@", opened_proxy->node));
                 opened->set_remote(true);
                 opened->set_sole(true);
                 opened->set_members_version(opened_proxy->destination.version());
                 Respond(*call, std::move(response), *std::move(fds));
               });
}

void LocalService::DestroyMailbox(const CallPtr& call) {
  FindMailbox(
      call, call->request.destroy_mailbox(),
      [this, call](LocalMailbox* mailbox) {
        control::Response response;
        response.set_purged(broker_->DestroyMailbox(mailbox));
        Respond(*call, std::move(response));
      },
      [this, call](const FoundMailbox& found, const std::string& name) {
        proto::Request request;
        request.mutable_destroy_mailbox()->set_mailbox(name);
        request.mutable_destroy_mailbox()->set_mailbox_id(found.id);
        peers_->Call(found.node, std::move(request), call->deadline,
                     [this, call](absl::StatusOr<proto::Reply> reply) {
                       if (!reply.ok()) return Respond(*call, reply.status());
                       control::Response response;
                       response.set_purged(reply->purged());
                       Respond(*call, std::move(response));
                     });
      });
}

void LocalService::StatMailbox(const CallPtr& call) {
  FindMailbox(
      call, call->request.stat_mailbox(),
      [this, call](LocalMailbox* mailbox) {
        control::Response response;
        broker_->Describe(*mailbox, response.mutable_mailbox_state());
        Respond(*call, std::move(response));
      },
      [this, call](const FoundMailbox& found, const std::string& name) {
        proto::Request request;
        request.set_stat_mailbox(name);
        peers_->Call(found.node, std::move(request), call->deadline,
                     [this, call](absl::StatusOr<proto::Reply> reply) {
                       if (!reply.ok()) return Respond(*call, reply.status());
                       control::Response response;
                       *response.mutable_mailbox_state() = reply->mailbox_state();
                       Respond(*call, std::move(response));
                     });
      });
}

void LocalService::Purge(const CallPtr& call) {
  FindMailbox(
      call, call->request.purge_mailbox(),
      [this, call](LocalMailbox* mailbox) {
        control::Response response;
        response.set_purged(broker_->Purge(mailbox));
        Respond(*call, std::move(response));
      },
      [this, call](const FoundMailbox& found, const std::string& name) {
        proto::Request request;
        request.mutable_purge_mailbox()->set_mailbox(name);
        request.mutable_purge_mailbox()->set_mailbox_id(found.id);
        peers_->Call(found.node, std::move(request), call->deadline,
                     [this, call](absl::StatusOr<proto::Reply> reply) {
                       if (!reply.ok()) return Respond(*call, reply.status());
                       control::Response response;
                       response.set_purged(reply->purged());
                       Respond(*call, std::move(response));
                     });
      });
}

}  // namespace mailrail
