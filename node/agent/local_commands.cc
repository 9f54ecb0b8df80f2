// The local service's part for the command line: post, list, ping.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/message/prefix.h"
#include "core/process/grants.h"
#include "node/agent/local_service.h"

namespace mailrail {
namespace {

using internal::ToProto;

constexpr absl::Duration kRetryPost = absl::Milliseconds(2);
constexpr size_t kRowsPerPage = 200;

// For the id of a sender that has not attached, and is gone before it could be answered: above all
// numbers of processes, so that what is sent to it reaches nobody, not a later process with its
// pid.
uint64_t UnattachedIncarnation() { return static_cast<uint64_t>(absl::ToUnixMicros(absl::Now())); }

}  // namespace

void LocalService::Post(const CallPtr& call, std::vector<Fd> fds) {
  control::Post* post = call->request.mutable_post();
  if (!fds.empty()) {
    // The body is in memory of the sender's: copied once, and sealed so that it cannot shrink.
    if (post->memory_bytes() > kLargestMaxMessageBytes) {
      return Respond(*call, absl::InvalidArgumentError("the message is too large"));
    }
    absl::StatusOr<Mapping> body =
        Mapping::Map(fds[0], std::max<uint64_t>(post->memory_bytes(), 1), Access::kReadOnly);
    if (!body.ok()) return Respond(*call, body.status());
    post->set_body(body->data(), post->memory_bytes());
  }
  const ClientPtr client = call->client.lock();
  const LocalProcess* caller = Caller(*call);
  const ProcessId sender =
      caller != nullptr ? caller->id
                        : ProcessId(registry_->node(), client->pid(), UnattachedIncarnation());
  const std::string prefix = EncodePrefix({.sender = sender});
  if (call->request.post().priority() > static_cast<uint32_t>(kMaxPriority)) {
    return Respond(*call, absl::InvalidArgumentError(absl::StrCat("priority ", post->priority(),
                                                                  " is not in 0..", kMaxPriority)));
  }
  FindProcess(post->destination(), call->deadline,
              [this, call, prefix](absl::StatusOr<ProcessId> id) {
                if (absl::IsNotFound(id.status()) &&
                    ParseQualifiedName("mailbox", call->request.post().destination()).ok()) {
                  return PostToMailbox(call, prefix);
                }
                if (!id.ok()) return Respond(*call, id.status());
                LocalProcess* process =
                    id->node() == registry_->node() ? registry_->FindProcess(*id) : nullptr;
                absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = absl::UnavailableError("gone");
                if (process != nullptr) {
                  lane = broker_->AgentLane(process);
                } else if (id->node() != registry_->node()) {
                  absl::StatusOr<Link*> link = broker_->LinkAgent(*id);
                  lane = link.ok() ? broker_->AgentLane(**link) : link.status();
                }
                if (!lane.ok()) return Respond(*call, lane.status());
                TryPost(call, *std::move(lane), prefix);
              });
}

void LocalService::PostToMailbox(const CallPtr& call, const std::string& prefix) {
  FindMailbox(
      call, call->request.post().destination(),
      [this, call, prefix](LocalMailbox* mailbox) {
        absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = broker_->AgentLane(mailbox);
        if (!lane.ok()) return Respond(*call, lane.status());
        TryPost(call, *std::move(lane), prefix);
      },
      [this, call, prefix](const FoundMailbox& found, const std::string& name) {
        absl::StatusOr<Link*> link =
            broker_->LinkMailbox(Endpoint(), found.node, name, found.options);
        if (!link.ok()) return Respond(*call, link.status());
        absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = broker_->AgentLane(**link);
        if (!lane.ok()) return Respond(*call, lane.status());
        TryPost(call, *std::move(lane), prefix);
      });
}

void LocalService::TryPost(const CallPtr& call, std::shared_ptr<OutgoingLane> lane,
                           std::string prefix) {
  if (call->client.expired()) return;
  const control::Post& post = call->request.post();
  const absl::Status status =
      lane->Send(static_cast<int>(post.priority()), {prefix, post.body()}, absl::InfinitePast());
  if (!absl::IsDeadlineExceeded(status) || absl::Now() >= call->deadline) {
    return Respond(*call, status);
  }
  // Full: the loop does not wait, it comes back.
  loop_->RunAfter(kRetryPost, [this, call, lane = std::move(lane), prefix = std::move(prefix)] {
    TryPost(call, lane, prefix);
  });
}

void LocalService::List(const CallPtr& call) {
  const control::List& list = call->request.list();
  control::Response response;
  control::Listing* listing = response.mutable_listing();
  listing->set_version("0.1.0");
  uint64_t after = 0;
  if (!list.after().empty() && !absl::SimpleAtoi(list.after(), &after)) {
    return Respond(*call, absl::InvalidArgumentError("bad place to continue"));
  }
  size_t rows = 0;
  const auto page_full = [&](uint64_t id) {
    if (rows++ < kRowsPerPage) return false;
    listing->set_next(absl::StrCat(id - 1));
    return true;
  };
  switch (list.kind()) {
    case control::PROCESSES:
      for (const auto& [number, process] : registry_->processes()) {
        if (number <= after) continue;
        if (page_full(number)) break;
        control::ProcessRow* row = listing->add_processes();
        ToProto(process->id, row->mutable_process());
        row->set_own_pid(process->own_pid);
        row->set_uid(process->uid);
        row->set_program(process->program);
        for (const std::string& name : process->names) row->add_names(name);
        row->set_links(static_cast<uint32_t>(process->links.size()));
        row->set_dropped(process->dropped);
      }
      break;
    case control::MAILBOXES:
      for (const auto& [id, mailbox] : registry_->mailboxes()) {
        if (id <= after || (!list.name().empty() && list.name() != mailbox->name)) continue;
        if (page_full(id)) break;
        control::MailboxRow* row = listing->add_mailboxes();
        row->set_name(mailbox->name);
        ToProto(mailbox->options, row->mutable_spec());
        row->set_senders(static_cast<uint32_t>(mailbox->lanes.size()));
        row->set_receivers(
            static_cast<uint32_t>(mailbox->receivers.size() + mailbox->remote_receivers.size()));
        const CellReader::Counts counts = broker_->Count(*mailbox);
        row->set_waiting(counts.waiting);
        row->set_leased(counts.leased);
        row->set_sent(counts.sent);
        row->set_dropped(mailbox->dropped);
      }
      if (!list.name().empty() && listing->mailboxes().empty()) {
        return Respond(*call, absl::NotFoundError(absl::StrCat("there is no mailbox '", list.name(),
                                                               "' on this node")));
      }
      break;
    case control::LINKS:
      for (const auto& [id, link] : registry_->links()) {
        if (id <= after) continue;
        if (page_full(id)) break;
        control::LinkRow* row = listing->add_links();
        row->set_link_id(id);
        broker_->Describe(*link, row);
      }
      break;
    case control::NODES:
      for (control::NodeRow& row : options_.nodes()) *listing->add_nodes() = std::move(row);
      break;
    default:
      break;
  }
  Respond(*call, std::move(response));
}

void LocalService::Ping(const CallPtr& call) {
  const std::string& whom = call->request.ping();
  const absl::Time begin = absl::Now();
  const auto pong = [this, call, begin](const std::string& by) {
    control::Response response;
    response.mutable_pong()->set_round_trip_ns(
        static_cast<uint64_t>(absl::ToInt64Nanoseconds(absl::Now() - begin)));
    response.mutable_pong()->set_answered_by(by);
    Respond(*call, std::move(response));
  };
  if (whom.empty() || whom == registry_->node()) return pong("node " + registry_->node());
  const std::vector<std::string> peers = peers_->Peers();
  if (std::find(peers.begin(), peers.end(), whom) != peers.end()) {
    proto::Request request;
    request.mutable_ping();
    return peers_->Call(whom, std::move(request), call->deadline,
                        [this, call, pong, whom](absl::StatusOr<proto::Reply> reply) {
                          if (!reply.ok()) return Respond(*call, reply.status());
                          pong("node " + whom);
                        });
  }
  FindProcess(whom, call->deadline, [this, call, pong](absl::StatusOr<ProcessId> id) {
    if (!id.ok()) return Respond(*call, id.status());
    pong("process " + id->ToString());
  });
}

}  // namespace mailrail
