// The local service's part for the command line: post, list, ping.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/base/seqpacket.h"
#include "core/message/message_extras.h"
#include "core/message/prefix.h"
#include "core/process/grants.h"
#include "node/agent/local_service.h"
#include "node/directory/unknown_name.h"

namespace mailrail {
namespace {

using internal::ToProto;

// A page of a list, beyond its last row; a row is smaller than what is left of a packet.
constexpr size_t kPageBytes = kMaxPacketBytes / 2;

// For the id of a sender that has not attached, and is gone before it could be answered: above all
// numbers of processes, so that what is sent to it reaches nobody, not a later process with its
// pid.
uint64_t UnattachedIncarnation() { return static_cast<uint64_t>(absl::ToUnixMicros(absl::Now())); }

// The body that a sender has in memory of its own. Read, not mapped: pages of such memory may be
// impossible to get (huge ones), and a fault would be ours.
absl::StatusOr<std::string> ReadBody(const Fd& memory, uint64_t bytes) {
  if (bytes > kLargestMaxMessageBytes) {
    return absl::InvalidArgumentError("the message is too large");
  }
  // Only memory has seals: reading anything else might wait.
  const int seals = fcntl(memory.get(), F_GET_SEALS);
  struct stat status;
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(memory.get(), &status) != 0 ||
      static_cast<uint64_t>(status.st_size) < bytes) {
    return absl::DataLossError("memory is too small, or not sealed against shrinking");
  }
  std::string body(bytes, '\0');
  for (size_t have = 0; have < bytes;) {
    const ssize_t got =
        pread(memory.get(), body.data() + have, bytes - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::DataLossError("the message's memory cannot be read");
    have += static_cast<size_t>(got);
  }
  return body;
}

// One page of a list, built row by row.
class Page {
 public:
  explicit Page(control::Listing* listing) : listing_(listing) {}

  // Whether there is room for `row` after those that were put in. If not, the next page begins
  // after the row before, whose place in the order is `last`.
  bool Takes(const google::protobuf::MessageLite& row, uint64_t last) {
    bytes_ += row.ByteSizeLong();
    if (bytes_ <= kPageBytes || rows_++ == 0) return true;
    listing_->set_next(absl::StrCat(last));
    return false;
  }

 private:
  control::Listing* const listing_;
  size_t bytes_ = 0;
  size_t rows_ = 0;
};

control::ProcessRow RowOf(const LocalProcess& process, const MemoryShares::Use& memory,
                          size_t watches) {
  control::ProcessRow row;
  ToProto(process.id, row.mutable_process());
  row.set_own_pid(process.own_pid);
  row.set_uid(process.uid);
  row.set_program(process.program);
  for (const std::string& name : process.names) row.add_names(name);
  row.set_links(static_cast<uint32_t>(process.links.size()));
  row.set_dropped(process.dropped);
  row.set_expired(process.expired);
  row.set_memory_bytes(memory.used_bytes);
  row.set_memory_limit_bytes(memory.limit_bytes);
  row.set_watches(static_cast<uint32_t>(watches));
  return row;
}

// `owner`: of an owned one.
control::MailboxRow RowOf(const LocalMailbox& mailbox, const CellReader::Counts& counts,
                          const LocalProcess* owner) {
  control::MailboxRow row;
  if (owner != nullptr) ToProto(owner->id, row.mutable_owner());
  row.set_name(mailbox.name);
  ToProto(mailbox.options, row.mutable_spec());
  row.set_senders(static_cast<uint32_t>(mailbox.lanes.size()));
  row.set_receivers(
      static_cast<uint32_t>(mailbox.receivers.size() + mailbox.remote_receivers.size()));
  row.set_waiting(counts.waiting);
  row.set_leased(counts.leased);
  row.set_sent(counts.sent);
  row.set_dropped(mailbox.dropped + counts.dropped);
  row.set_delayed(counts.delayed);
  row.set_dead_letters(mailbox.dead_letters);
  return row;
}

}  // namespace

void LocalService::FindForPost(const control::Post& post, absl::Time deadline,
                               NameResolver::FoundCallback done) {
  if (!post.to_mailbox()) return resolver_.Find(post.destination(), deadline, std::move(done));
  resolver_.FindMailbox(post.destination(), deadline,
                        [done = std::move(done)](absl::StatusOr<NameResolver::Mailbox> mailbox) {
                          if (!mailbox.ok()) return done(mailbox.status());
                          done(NameResolver::Found{absl::nullopt, *std::move(mailbox)});
                        });
}

void LocalService::Post(const CallPtr& call, std::vector<Fd> fds) {
  control::Post* post = call->request.mutable_post();
  if (!fds.empty()) {
    absl::StatusOr<std::string> body = ReadBody(fds[0], post->memory_bytes());
    if (!body.ok()) return Respond(*call, body.status());
    post->set_body(*std::move(body));
  }
  const ClientPtr client = call->client.lock();
  const LocalProcess* caller = Caller(*call);
  const ProcessId sender =
      caller != nullptr ? caller->id
                        : ProcessId(registry_->node(), client->pid(), UnattachedIncarnation());
  if (post->priority() > static_cast<uint32_t>(kMaxPriority)) {
    return Respond(*call, absl::InvalidArgumentError(absl::StrCat("priority ", post->priority(),
                                                                  " is not in 0..", kMaxPriority)));
  }
  Prefix prefix = {.sender = sender, .reply_to = post->reply_to(), .key = post->key()};
  if (post->time_to_live_ms() != 0) {
    constexpr uint64_t kMostMs = uint64_t{1000} * 3600 * 24 * 365 * 100;
    prefix.expires_ns = MonotonicTime() +
                        static_cast<int64_t>(std::min(post->time_to_live_ms(), kMostMs)) * 1000000;
  }
  const int64_t most_delay_ms = absl::ToInt64Milliseconds(internal::kLongestDelay);
  if (post->delay_ms() > static_cast<uint64_t>(most_delay_ms)) {
    return Respond(*call, absl::InvalidArgumentError("a delay is from 0 to six days"));
  }
  const int64_t due_ns = post->delay_ms() == 0
                             ? 0
                             : MonotonicTime() + static_cast<int64_t>(post->delay_ms()) * 1000000;
  size_t header_bytes = prefix.reply_to.size() + prefix.key.size();
  for (const proto::Header& header : post->headers()) {
    header_bytes += header.name().size() + header.value().size();
    prefix.headers.push_back({header.name(), header.value()});
  }
  if (header_bytes > kMaxHeaderBytes) {
    return Respond(*call, absl::InvalidArgumentError(absl::StrCat("headers of ", header_bytes,
                                                                  " bytes; a message has at most ",
                                                                  kMaxHeaderBytes)));
  }
  FindForPost(
      *post, call->deadline,
      [this, call, prefix, due_ns](absl::StatusOr<NameResolver::Found> found) mutable {
        if (!found.ok()) return Respond(*call, found.status());
        absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = LaneTo(*found);
        if (!lane.ok()) return Respond(*call, lane.status());
        control::Post* what = call->request.mutable_post();
        bool look = what->delay_ms() != 0;
        if (look || what->time_to_live_ms() != 0) look |= (*lane)->SetExpires();
        if (what->delay_ms() != 0 && !(*lane)->to_mailbox()) {
          return Respond(*call,
                         absl::InvalidArgumentError("only a mailbox keeps a message for later"));
        }
        const bool near = (*lane)->to_near_mailbox();
        // To make room it may have something to bury.
        look |= (*lane)->options().when_full == FullPolicy::kDropOldest;
        if (!near) prefix.due_ns = due_ns;
        posts_.Add({.lane = *std::move(lane),
                    .priority = static_cast<int>(what->priority()),
                    .prefix = EncodePrefix(prefix),
                    .due_tick = near && due_ns != 0 ? DueTick::At(due_ns) : DueTick::kAtOnce,
                    .body = std::move(*what->mutable_body()),
                    .deadline = what->no_wait() ? absl::InfinitePast() : call->deadline,
                    .wanted = [call] { return !call->client.expired(); },
                    .done = [this, call](const absl::Status& status) { Respond(*call, status); }});
        if (near && look) broker_->LookAtMailbox(found->mailbox.here->id);
      });
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> LocalService::LaneTo(
    const NameResolver::Found& found) {
  absl::StatusOr<Link*> link = absl::InternalError("no link");
  if (found.process.has_value()) {
    if (found.process->node() == registry_->node()) {
      return broker_->AgentLane(registry_->FindProcess(*found.process));
    }
    link = broker_->LinkAgent(*found.process);
  } else {
    const NameResolver::Mailbox& mailbox = found.mailbox;
    const MailboxOptions& options =
        mailbox.here != nullptr ? mailbox.here->options : mailbox.far.options;
    if (options.policy == ReceivePolicy::kLink) {
      return absl::FailedPreconditionError(absl::StrCat(
          "mailbox '", mailbox.name, "' is a link of two processes: attach to be one of them"));
    }
    if (mailbox.here != nullptr) return broker_->AgentLane(mailbox.here);
    link = broker_->LinkMailbox(Endpoint(), mailbox.far.node, mailbox.name, mailbox.far.options);
  }
  if (!link.ok()) return link.status();
  return broker_->AgentLane(**link);
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
  Page page(listing);
  uint64_t last = after;
  // Puts a row in, in the order of `id`; false when the page is full.
  const auto put = [&](auto row, uint64_t id, auto* rows) {
    if (!page.Takes(row, last)) return false;
    *rows->Add() = std::move(row);
    last = id;
    return true;
  };
  switch (list.kind()) {
    case control::PROCESSES:
      for (const auto& [number, process] : registry_->processes()) {
        if (number <= after) continue;
        control::ProcessRow row =
            RowOf(*process, memory_->Of(*process), registry_->CountWatches(number));
        if (!put(std::move(row), number, listing->mutable_processes())) break;
      }
      break;
    case control::MAILBOXES:
      for (const auto& [id, mailbox] : registry_->mailboxes()) {
        if (id <= after || (!list.name().empty() && list.name() != mailbox->name)) continue;
        // It is shown with its broadcast mailbox.
        if (list.name().empty() && mailbox->subscription()) continue;
        control::MailboxRow row =
            RowOf(*mailbox, broker_->Count(*mailbox),
                  mailbox->options.owned ? registry_->FindProcess(mailbox->creator) : nullptr);
        if (mailbox->broadcasts()) broker_->DescribeSubscriptions(*mailbox, &row);
        if (!put(std::move(row), id, listing->mutable_mailboxes())) break;
      }
      if (!list.name().empty() && listing->mailboxes().empty()) {
        return Respond(*call, UnknownName(NameKind::kMailbox, list.name(), registry_->node()));
      }
      break;
    case control::LINKS:
      for (const auto& [id, link] : registry_->links()) {
        if (id <= after) continue;
        control::LinkRow row;
        row.set_link_id(id);
        broker_->Describe(*link, &row);
        if (!put(std::move(row), id, listing->mutable_links())) break;
      }
      break;
    case control::NODES: {
      uint64_t place = 0;
      for (control::NodeRow& row : options_.nodes()) {
        if (++place <= after) continue;
        if (!put(std::move(row), place, listing->mutable_nodes())) break;
      }
      break;
    }
    case control::OBJECTS:
      for (const auto& [id, object] : registry_->objects()) {
        if (id <= after || (!list.name().empty() && list.name() != object->name)) continue;
        if (!put(objects_->Describe(*object), id, listing->mutable_objects())) break;
      }
      break;
    case control::REGIONS:
      for (const auto& [id, region] : registry_->regions()) {
        if (id <= after || (!list.name().empty() && list.name() != region->name)) continue;
        if (!put(regions_->Describe(*region), id, listing->mutable_regions())) break;
      }
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
  resolver_.FindProcess(whom, call->deadline, [this, call, pong](absl::StatusOr<ProcessId> id) {
    if (!id.ok()) return Respond(*call, id.status());
    pong("process " + id->ToString());
  });
}

}  // namespace mailrail
