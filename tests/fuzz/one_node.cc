#include "tests/fuzz/one_node.h"

#include <fcntl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/agent_connection.h"
#include "core/process/grants.h"
#include "node/agent/agent_testing.h"
#include "tests/fuzz/input.h"

namespace mailrail {
namespace {

// So many turns of the loop settle whatever came before.
constexpr int kTurns = 6;

constexpr size_t kDestinationFds = 3;

constexpr uint64_t kMemoryBytes = uint64_t{64} << 20;

void Ignore(absl::string_view) {}

}  // namespace

OneNode::OneNode(bool carries) : bell_(Destination::Create("carrier").value()) {
  registry_ = std::make_unique<Registry>("alpha", 1, &vault_, Ignore);
  remote_ = std::make_unique<RemoteService>(RemoteService::Options{Ignore}, &loop_);
  if (carries) {
    Carrier::Options options;
    options.node = "alpha";
    options.bell = bell_.MapBell().value();
    options.gate = bell_.MapGate().value();
    options.name_of = [names = registry_->owner_names()](uint32_t number) {
      return names->NameOf(number);
    };
    carrier_ = Carrier::Start(std::move(options), remote_.get());
  } else {
    carrier_ = std::make_unique<RememberingCarrier>();
  }
  calls_ = std::make_unique<PeerCalls>(&loop_, carrier_.get());
  calls_->AddPeer("beta");
  directory_ = std::make_unique<EmbeddedDirectory>(calls_.get());
  Broker::Options broker_options;
  broker_options.notify = [this](uint32_t number, control::Notice notice, FdSource fds) {
    local_->Notify(number, std::move(notice), std::move(fds));
  };
  broker_options.log = Ignore;
  memory_ = std::make_unique<MemoryShares>(MemoryShares::Options{kMemoryBytes, 0, Ignore}, &loop_,
                                           registry_.get());
  broker_options.budget = memory_->agent_budget();
  broker_options.link_ended = [this](uint64_t link, const absl::Status& why) {
    local_->OnLaneState(link, why);
    awaited_->OnLinkEnded();
  };
  broker_options.process_gone = [this](const LocalProcess& process, EndReason reason) {
    watches_->OnProcessGone(process, reason);
    awaited_->OnProcessGone(process, reason);
    objects_->OnProcessGone(process.number);
    far_objects_->OnProcessGone(process.number);
    regions_->OnProcessGone(process.number);
  };
  broker_options.mailbox_destroyed = [this](const LocalMailbox& mailbox) {
    watches_->OnMailboxDestroyed(mailbox);
    awaited_->OnMailboxDestroyed(mailbox);
  };
  broker_ = std::make_unique<Broker>(std::move(broker_options), &loop_, registry_.get(), &bell_);
  broker_->set_carrier(carrier_.get());
  Watches::Options watch_options;
  watch_options.notify = [this](uint32_t number, control::Notice notice) {
    return local_->Notify(number, std::move(notice), nullptr);
  };
  watches_ =
      std::make_unique<Watches>(std::move(watch_options), &loop_, registry_.get(), calls_.get());
  awaited_ = std::make_unique<AwaitedEnds>(
      registry_.get(), [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
        remote_->Reply(node, id, reply);
      });
  FarReceipts::Options receipt_options;
  receipt_options.notify = [this](uint32_t number, control::Notice notice) {
    return local_->Notify(number, std::move(notice), nullptr);
  };
  receipt_options.send = [this](const std::string& node, proto::Frame frame) {
    return carrier_->Send(node, std::move(frame));
  };
  receipts_ = std::make_unique<FarReceipts>(std::move(receipt_options), registry_.get());
  objects_ = std::make_unique<Objects>(registry_.get());
  FarObjects::Options far_options;
  far_options.notify = [this](uint32_t number, control::Notice notice) {
    local_->Notify(number, std::move(notice), nullptr);
  };
  far_options.log = Ignore;
  far_objects_ =
      std::make_unique<FarObjects>(std::move(far_options), &loop_, registry_.get(), calls_.get());
  ObjectHost::Options host_options;
  host_options.answer = [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
    remote_->Reply(node, id, reply);
  };
  host_options.log = Ignore;
  object_host_ = std::make_unique<ObjectHost>(std::move(host_options), &loop_, registry_.get(),
                                              objects_.get());
  Regions::Options region_options;
  region_options.max_bytes = kMaxRegionBytes;
  region_options.answer = [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
    remote_->Reply(node, id, reply);
  };
  region_options.log = Ignore;
  regions_ = std::make_unique<Regions>(region_options, &loop_, registry_.get(), directory_.get(),
                                       calls_.get());
  LocalService::Options local_options;
  local_options.max_processes = 12;
  local_options.max_mailboxes = 8;
  local_options.nodes = [] { return std::vector<control::NodeRow>(1); };
  local_options.log = Ignore;
  local_ = std::make_unique<LocalService>(
      std::move(local_options), &loop_, registry_.get(), broker_.get(), memory_.get(),
      watches_.get(), receipts_.get(), objects_.get(), far_objects_.get(), deadlocks_.get(),
      regions_.get(), directory_.get(), calls_.get());
  remote_->Connect(registry_.get(), broker_.get(), local_.get(), calls_.get(), watches_.get(),
                   awaited_.get(), receipts_.get(), objects_.get(), far_objects_.get(),
                   object_host_.get(), deadlocks_.get(), regions_.get(), carrier_.get());
  registry_->Begin();
}

OneNode::~OneNode() { carrier_->Stop(); }

void OneNode::Settle() {
  for (int i = 0; i < kTurns; ++i) loop_.RunOnce();
}

Fd OneNode::Connect() {
  std::pair<Fd, Fd> sockets = SeqpacketPair().value();
  const int flags = fcntl(sockets.first.get(), F_GETFL);
  Promise(fcntl(sockets.first.get(), F_SETFL, flags | O_NONBLOCK) == 0, "a socket for the agent");
  local_->Accept(std::move(sockets.first));
  return std::move(sockets.second);
}

size_t OneNode::DescriptorsKnown() const {
  size_t count = 0;
  for (const auto& [number, process] : registry_->processes()) {
    count += kDestinationFds + process->socket.valid() + process->pidfd.valid();
  }
  count += registry_->mailboxes().size() * kDestinationFds;
  count += registry_->lanes().size() * 2;
  for (const auto& [id, link] : registry_->links()) {
    count += 2 + (link->b.remote() ? kDestinationFds : 0);
  }
  count += registry_->proxies().size() * (kDestinationFds + 2);
  count += registry_->objects().size();
  for (const auto& [id, region] : registry_->regions()) {
    for (const Fd* fd : {&region->control, &region->bell, &region->versions, &region->memory}) {
      count += fd->valid();
    }
  }
  return count;
}

Witness::Witness(OneNode* node) : node_(node), socket_(node->Connect()) {
  control::Request request;
  request.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
  request.mutable_attach()->set_layout_version(kLayoutVersion);
  std::vector<Fd> fds;
  const control::Response response = Call(std::move(request), &fds);
  Promise(response.has_attached() && fds.size() == kDestinationFds, "a sound program attaches");
  id_ = internal::FromProto(response.attached().process());
  inbox_id_ = response.attached().inbox_id();
  control_ = Mapping::Map(fds[0], sizeof(ControlPage), Access::kReadOnly).value();
}

bool Witness::ReadOne(control::Response* response, std::vector<Fd>* fds) {
  absl::StatusOr<Packet> packet = ReceivePacket(socket_.get(), /*wait=*/false);
  Promise(packet.ok() || absl::IsResourceExhausted(packet.status()),
          "the agent keeps the connection of a sound program");
  if (!packet.ok()) return false;
  control::ToProcess message;
  Promise(message.ParseFromString(packet->bytes), "the agent says what can be read");
  if (message.has_notice()) {
    Handle(message.notice(), std::move(packet->fds));
  } else {
    Promise(response != nullptr, "the agent answers what it was asked");
    *response = std::move(*message.mutable_response());
    *fds = std::move(packet->fds);
  }
  return true;
}

control::Response Witness::Call(control::Request request, std::vector<Fd>* fds) {
  request.set_id(++last_id_);
  Promise(SendPacket(socket_.get(), request.SerializeAsString()).ok(), "a sound program asks");
  std::vector<Fd> granted;
  control::Response response;
  for (int i = 0; i < 10 && response.id() != last_id_; ++i) {
    node_->Settle();
    while (response.id() != last_id_ && ReadOne(&response, &granted)) {
    }
  }
  Promise(response.id() == last_id_, "the agent answers a sound program");
  if (fds != nullptr) *fds = std::move(granted);
  return response;
}

void Witness::ReadNotices() {
  do {
    node_->Settle();
  } while (ReadOne(nullptr, nullptr));
}

void Witness::Handle(const control::Notice& notice, std::vector<Fd> fds) {
  if (notice.has_link_joined()) {
    const control::LinkGrant& grant = notice.link_joined();
    absl::StatusOr<internal::MappedLink> link = internal::MapLink(grant, fds);
    // None comes with the notice of one that has ended meanwhile.
    Promise(link.ok() || fds.empty(), "what the agent grants can be mapped");
    if (link.ok()) {
      const ProcessId peer = internal::FromProto(grant.peer());
      lanes_[peer.ToString()] = link->lane;
      inbox_.Join(std::make_shared<IncomingRing>(grant.link_id(), peer, grant.same_user(),
                                                 link->memory, grant.peer_is_agent()),
                  notice.members_version());
    }
  } else if (notice.has_lane_ended()) {
    inbox_.End(notice.lane_ended().lane_id(), notice.members_version(),
               internal::EndReasonOf(notice.lane_ended().end_reason()));
  }
  inbox_.Reach(notice.members_version());
  control::Request seen;
  seen.set_notices_seen(notice.number());
  Promise(SendPacket(socket_.get(), seen.SerializeAsString()).ok(), "a notice is acknowledged");
}

OutgoingLane* Witness::LaneTo(const ProcessId& other) {
  if (!lanes_.contains(other.ToString())) {
    control::Request request;
    request.set_connect_process(other.ToString());
    const control::Response response = Call(std::move(request));
    Promise(response.status().code() == 0, "a sound program is linked to another");
  }
  const auto lane = lanes_.find(other.ToString());
  Promise(lane != lanes_.end(), "a link comes before the answer");
  return lane->second.get();
}

bool Witness::Take(const ProcessId* only_from, Message* message) {
  ReadNotices();
  const auto* const page = reinterpret_cast<const ControlPage*>(control_.data());
  while (true) {
    switch (inbox_.Take(*page, only_from, message)) {
      case ReceiveQueue::Taken::kMessage:
        return true;
      case ReceiveQueue::Taken::kNothing:
        return false;
      case ReceiveQueue::Taken::kCorrupt:
        Promise(absl::IsDataLoss(inbox_.error()), "a closed lane is data loss");
        break;
      case ReceiveQueue::Taken::kBehind:
      case ReceiveQueue::Taken::kVoid:
        Promise(false, "all notices of a sound program have come");
    }
  }
}

void Witness::ExpectToHearFrom(Witness* sender) {
  OutgoingLane* const lane = sender->LaneTo(id_);
  const std::string body = absl::StrCat("still here ", ++sender->sent_);
  Promise(lane->Send(0, {{}, body}, absl::InfinitePast()).ok(), "a sound program sends");
  Message message;
  Promise(Take(&sender->id_, &message) && message.body() == body && message.sender() == sender->id_,
          "what a sound program sends comes");
}

}  // namespace mailrail
