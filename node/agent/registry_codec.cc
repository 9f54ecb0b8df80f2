#include "node/agent/registry_codec.h"

#include "core/process/grants.h"

namespace mailrail {
namespace {

using internal::FromProto;
using internal::ToProto;

void Encode(const Endpoint& endpoint, state::Endpoint* value) {
  switch (endpoint.kind) {
    case Endpoint::Kind::kProcess:
      value->set_process(endpoint.number);
      break;
    case Endpoint::Kind::kAgent:
      value->set_agent(true);
      break;
    case Endpoint::Kind::kRemoteProcess:
      ToProto(endpoint.process, value->mutable_remote_process());
      break;
    case Endpoint::Kind::kRemoteMailbox:
      value->mutable_remote_mailbox()->set_node(endpoint.node);
      value->mutable_remote_mailbox()->set_name(endpoint.mailbox);
      break;
  }
}

Endpoint Decode(const state::Endpoint& value) {
  Endpoint endpoint;
  switch (value.kind_case()) {
    case state::Endpoint::kProcess:
      endpoint.kind = Endpoint::Kind::kProcess;
      endpoint.number = value.process();
      break;
    case state::Endpoint::kRemoteProcess:
      endpoint.kind = Endpoint::Kind::kRemoteProcess;
      endpoint.process = FromProto(value.remote_process());
      break;
    case state::Endpoint::kRemoteMailbox:
      endpoint.kind = Endpoint::Kind::kRemoteMailbox;
      endpoint.node = value.remote_mailbox().node();
      endpoint.mailbox = value.remote_mailbox().name();
      break;
    default:
      endpoint.kind = Endpoint::Kind::kAgent;
  }
  return endpoint;
}

}  // namespace

state::Process Encode(const LocalProcess& process) {
  state::Process value;
  value.set_number(process.number);
  value.set_pid(process.id.pid());
  value.set_own_pid(process.own_pid);
  value.set_uid(process.uid);
  value.set_inbox_id(process.inbox_id);
  value.set_program(process.program);
  for (const std::string& name : process.names) value.add_names(name);
  value.set_dropped(process.dropped);
  value.set_expired(process.expired);
  return value;
}

void Decode(const state::Process& value, const std::string& node, LocalProcess* process) {
  process->number = value.number();
  process->id = ProcessId(node, value.pid(), value.number());
  process->own_pid = value.own_pid();
  process->uid = value.uid();
  process->inbox_id = value.inbox_id();
  process->program = value.program();
  process->names.insert(value.names().begin(), value.names().end());
  process->dropped = value.dropped();
  process->expired = value.expired();
}

state::Mailbox Encode(const LocalMailbox& mailbox) {
  state::Mailbox value;
  value.set_id(mailbox.id);
  value.set_name(mailbox.name);
  ToProto(mailbox.options, value.mutable_spec());
  value.set_creator(mailbox.creator);
  value.set_creator_request(mailbox.creator_request);
  value.set_dropped(mailbox.dropped);
  value.set_dead_letters(mailbox.dead_letters);
  value.set_broadcast_mailbox(mailbox.broadcast_mailbox);
  value.set_opened_stamp(mailbox.opened_stamp);
  value.set_distributor(mailbox.distributor);
  value.set_written(mailbox.written);
  return value;
}

state::Receiver EncodeReceiver(const LocalMailbox& mailbox, uint32_t number, uint64_t place) {
  state::Receiver value;
  value.set_mailbox(mailbox.id);
  value.set_number(number);
  value.set_open(place != 0);
  value.set_place(place);
  value.set_leases(mailbox.leasing.contains(number));
  return value;
}

state::Receiver EncodeReceiver(uint64_t mailbox, const std::string& node, uint64_t key,
                               const RemoteReceiverEntry& entry) {
  state::Receiver value;
  value.set_mailbox(mailbox);
  value.set_number(entry.number);
  value.set_open(true);
  value.set_place(entry.place);
  value.set_leases(entry.leases);
  value.set_node(node);
  value.set_key(key);
  ToProto(entry.process, value.mutable_process());
  return value;
}

void Decode(const state::Receiver& value, LocalMailbox* mailbox) {
  if (!value.node().empty()) {
    mailbox->remote_receivers[{value.node(), value.key()}] = {
        value.number(), FromProto(value.process()), value.leases(), value.place()};
  } else {
    if (value.leases()) mailbox->leasing.insert(value.number());
    (value.open() ? mailbox->receivers : mailbox->former_receivers).insert(value.number());
  }
  if (value.open() && value.place() != 0) mailbox->order.emplace(value.place(), value.number());
}

void Decode(const state::Mailbox& value, LocalMailbox* mailbox) {
  mailbox->id = value.id();
  mailbox->name = value.name();
  mailbox->options = FromProto(value.spec());
  mailbox->creator = value.creator();
  mailbox->creator_request = value.creator_request();
  mailbox->dropped = value.dropped();
  mailbox->dead_letters = value.dead_letters();
  mailbox->broadcast_mailbox = value.broadcast_mailbox();
  mailbox->opened_stamp = value.opened_stamp();
  mailbox->distributor = value.distributor();
  mailbox->written = value.written();
}

state::MailboxLane Encode(const MailboxLane& lane) {
  state::MailboxLane value;
  value.set_id(lane.id);
  value.set_mailbox(lane.mailbox);
  value.set_slots(lane.geometry.slots);
  value.set_slab_bytes(lane.geometry.slab_bytes);
  Encode(lane.sender, value.mutable_sender());
  ToProto(lane.sender_id, value.mutable_sender_id());
  value.set_origin_lane(lane.origin_lane);
  value.set_orphaned(lane.orphaned);
  value.set_sender_uid(lane.sender_uid);
  return value;
}

void Decode(const state::MailboxLane& value, MailboxLane* lane) {
  lane->id = value.id();
  lane->mailbox = value.mailbox();
  lane->geometry.slots = value.slots();
  lane->geometry.slab_bytes = value.slab_bytes();
  lane->sender = Decode(value.sender());
  lane->sender_id = FromProto(value.sender_id());
  lane->origin_lane = value.origin_lane();
  lane->orphaned = value.orphaned();
  lane->sender_uid = value.sender_uid();
}

state::Link Encode(const Link& link) {
  state::Link value;
  value.set_id(link.id);
  Encode(link.a, value.mutable_a());
  Encode(link.b, value.mutable_b());
  ToProto(link.options, value.mutable_spec());
  value.set_ring_bytes(link.geometry.ring_bytes);
  value.set_slab_bytes(link.geometry.slab_bytes);
  value.set_cells(link.geometry.cells);
  value.set_inbound_lane(link.inbound_lane);
  value.set_finishing(link.finishing);
  value.set_end_reason(static_cast<uint32_t>(link.end_reason));
  value.set_direction(static_cast<uint32_t>(link.direction));
  return value;
}

void Decode(const state::Link& value, Link* link) {
  link->id = value.id();
  link->a = Decode(value.a());
  link->b = Decode(value.b());
  link->options = FromProto(value.spec());
  link->geometry.ring_bytes = value.ring_bytes();
  link->geometry.slab_bytes = value.slab_bytes();
  link->geometry.cells = value.cells();
  link->inbound_lane = value.inbound_lane();
  link->finishing = value.finishing();
  link->end_reason = internal::EndReasonOf(value.end_reason());
  link->direction = static_cast<LinkDirection>(value.direction());
}

state::Proxy Encode(const Proxy& proxy) {
  state::Proxy value;
  value.set_id(proxy.id);
  value.set_process(proxy.number);
  value.set_node(proxy.node);
  value.set_mailbox(proxy.mailbox);
  ToProto(proxy.options, value.mutable_spec());
  value.set_slots(proxy.geometry.slots);
  value.set_slab_bytes(proxy.geometry.slab_bytes);
  value.set_lane_id(proxy.lane_id);
  value.set_leases(proxy.leases);
  return value;
}

void Decode(const state::Proxy& value, Proxy* proxy) {
  proxy->id = value.id();
  proxy->number = value.process();
  proxy->node = value.node();
  proxy->mailbox = value.mailbox();
  proxy->options = FromProto(value.spec());
  proxy->geometry.slots = value.slots();
  proxy->geometry.slab_bytes = value.slab_bytes();
  proxy->lane_id = value.lane_id();
  proxy->leases = value.leases();
}

state::Watch Encode(const Watch& watch) {
  state::Watch value;
  value.set_id(watch.id);
  value.set_process(watch.number);
  value.set_watch(watch.watch);
  value.set_kind(static_cast<proto::SubjectKind>(watch.subject.kind));
  if (watch.subject.kind == Ended::Kind::kProcess) {
    ToProto(watch.subject.process, value.mutable_subject());
  }
  value.set_node(watch.subject.node);
  value.set_mailbox(watch.subject.mailbox);
  value.set_mailbox_id(watch.subject.mailbox_id);
  value.set_end_reason(static_cast<uint32_t>(watch.ended));
  return value;
}

void Decode(const state::Watch& value, Watch* watch) {
  watch->id = value.id();
  watch->number = value.process();
  watch->watch = value.watch();
  switch (value.kind()) {
    case proto::PROCESS:
      watch->subject = Subject::OfProcess(FromProto(value.subject()));
      break;
    case proto::MAILBOX:
      watch->subject = Subject::OfMailbox(value.node(), value.mailbox(), value.mailbox_id());
      break;
    case proto::NODE:
      watch->subject = Subject::OfNode(value.node());
      break;
    default:
      break;
  }
  watch->ended = internal::EndReasonOf(value.end_reason());
}

}  // namespace mailrail
