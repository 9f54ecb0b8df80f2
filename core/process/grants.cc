#include "core/process/grants.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail::internal {
namespace {

absl::Status Misfit() {
  return absl::DataLossError("the agent granted something that this library does not understand");
}

}  // namespace

ProcessId FromProto(const proto::ProcessRef& ref) {
  return ProcessId(ref.node(), ref.pid(), ref.incarnation());
}

void ToProto(const ProcessId& id, proto::ProcessRef* ref) {
  ref->set_node(id.node());
  ref->set_pid(id.pid());
  ref->set_incarnation(id.incarnation());
}

MailboxOptions FromProto(const proto::MailboxSpec& spec) {
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
  options.pipe = spec.pipe();
  options.order = static_cast<MailboxOrder>(spec.order());
  options.hold_order = spec.hold_order();
  options.distribution = static_cast<Distribution>(spec.distribution());
  options.cutoff = spec.cutoff_ms() == 0
                       ? absl::InfiniteDuration()
                       : absl::Milliseconds(static_cast<int64_t>(spec.cutoff_ms()));
  return options;
}

void ToProto(const MailboxOptions& options, proto::MailboxSpec* spec) {
  spec->set_max_message_bytes(options.max_message_bytes);
  spec->set_fixed_size(options.fixed_size);
  spec->set_capacity_messages(options.capacity_messages);
  spec->set_when_full(static_cast<proto::FullPolicy>(options.when_full));
  spec->set_lease_time_ms(
      options.lease_time == absl::InfiniteDuration()
          ? 0
          : static_cast<uint64_t>(absl::ToInt64Milliseconds(options.lease_time)));
  spec->set_max_attempts(options.max_attempts);
  spec->set_dead_letter(options.dead_letter);
  spec->set_receive_policy(static_cast<proto::ReceivePolicy>(options.policy));
  spec->set_owned(options.owned);
  spec->set_pipe(options.pipe);
  spec->set_order(static_cast<proto::MailboxOrder>(options.order));
  spec->set_hold_order(options.hold_order);
  spec->set_distribution(static_cast<proto::Distribution>(options.distribution));
  spec->set_cutoff_ms(options.cutoff == absl::InfiniteDuration()
                          ? 0
                          : static_cast<uint64_t>(absl::ToInt64Milliseconds(options.cutoff)));
}

std::string ReplyMailboxOf(const ProcessId& process) {
  return absl::StrCat(kReplyMailboxPrefix, process.pid(), ".", process.incarnation());
}

EndReason EndReasonOf(uint32_t number) {
  return number <= static_cast<uint32_t>(EndReason::kDestroyed) ? static_cast<EndReason>(number)
                                                                : EndReason::kEnded;
}

absl::StatusOr<RingGeometry> FromProto(const control::RingGeometry& geometry) {
  RingGeometry result;
  result.ring_bytes = geometry.ring_bytes();
  result.slab_bytes = geometry.slab_bytes();
  result.cells = geometry.cells();
  if (!result.Valid()) return Misfit();
  return result;
}

absl::StatusOr<CellGeometry> FromProto(const control::CellGeometry& geometry) {
  CellGeometry result;
  result.slots = geometry.slots();
  result.slab_bytes = geometry.slab_bytes();
  if (!result.Valid()) return Misfit();
  return result;
}

absl::StatusOr<DestinationMemory> MapDestination(absl::Span<const Fd> fds) {
  if (fds.size() != 3) return Misfit();
  absl::StatusOr<Mapping> control = Mapping::Map(fds[0], sizeof(ControlPage), Access::kReadOnly);
  if (!control.ok()) return control.status();
  absl::StatusOr<Mapping> bell = Mapping::Map(fds[1], sizeof(BellWords), Access::kReadOnly);
  if (!bell.ok()) return bell.status();
  absl::StatusOr<Mapping> gate = Mapping::Map(fds[2], sizeof(GateWord), Access::kReadWrite);
  if (!gate.ok()) return gate.status();
  return DestinationMemory{*std::move(control), *std::move(bell), *std::move(gate)};
}

absl::StatusOr<MappedLink> MapLink(const control::LinkGrant& grant, absl::Span<const Fd> fds,
                                   const std::shared_ptr<Budget>& budget) {
  absl::StatusOr<RingGeometry> geometry = FromProto(grant.geometry());
  if (!geometry.ok()) return geometry.status();
  if (fds.size() != 5) return Misfit();
  absl::StatusOr<Mapping> own = Mapping::Map(fds[0], geometry->memory_bytes(), Access::kReadWrite);
  if (!own.ok()) return own.status();
  absl::StatusOr<Mapping> peer = Mapping::Map(fds[1], geometry->memory_bytes(), Access::kReadOnly);
  if (!peer.ok()) return peer.status();
  absl::StatusOr<DestinationMemory> destination = MapDestination(fds.subspan(2));
  if (!destination.ok()) return destination.status();
  // Last: a grant that was not taken over whole can be asked for again.
  if (absl::Status status = SealAgainstWriting(fds[0]); !status.ok()) return status;
  MappedLink link;
  link.memory =
      std::make_shared<LinkMemory>(LinkMemory{*geometry, *std::move(own), *std::move(peer)});
  link.memory->ReserveBy(budget);
  const std::string name = grant.mailbox().empty()
                               ? absl::StrCat("process ", FromProto(grant.peer()).ToString())
                               : absl::StrCat("mailbox ", grant.mailbox());
  link.lane = std::make_shared<OutgoingLane>(name, FromProto(grant.spec()), link.memory,
                                             *std::move(destination));
  if (!grant.mailbox().empty()) link.lane->set_to_far_mailbox();
  return link;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> MapLane(const control::LaneGrant& grant,
                                                      uint32_t number, absl::Span<const Fd> fds,
                                                      const std::shared_ptr<Budget>& budget) {
  absl::StatusOr<CellGeometry> geometry = FromProto(grant.geometry());
  if (!geometry.ok()) return geometry.status();
  if (fds.size() != 5) return Misfit();
  if (budget != nullptr) {
    const absl::Status room = budget->CheckRoom(
        CellWriter::FirstStepBytes(*geometry), absl::StrCat("a lane to mailbox ", grant.mailbox()));
    if (!room.ok()) return room;
  }
  absl::StatusOr<Mapping> data = Mapping::Map(fds[0], geometry->data_bytes(), Access::kReadWrite);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state = Mapping::Map(fds[1], geometry->state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  absl::StatusOr<DestinationMemory> destination = MapDestination(fds.subspan(2));
  if (!destination.ok()) return destination.status();
  if (absl::Status status = SealAgainstWriting(fds[0]); !status.ok()) return status;
  return std::make_shared<OutgoingLane>(
      absl::StrCat("mailbox ", grant.mailbox()), FromProto(grant.spec()), *geometry,
      *std::move(data), *std::move(state), number, *std::move(destination), ReserveOf(budget));
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> MapGroup(const control::BroadcastGrant& grant,
                                                       absl::Span<const Fd> fds,
                                                       OutgoingLane::FetchLanes fetch) {
  absl::StatusOr<DestinationMemory> destination = MapDestination(fds);
  if (!destination.ok()) return destination.status();
  return std::make_shared<OutgoingLane>(absl::StrCat("mailbox ", grant.mailbox()),
                                        FromProto(grant.spec()), *std::move(destination),
                                        std::move(fetch));
}

absl::StatusOr<std::shared_ptr<const CellMemory>> MapIncoming(const control::LaneJoined& joined,
                                                              absl::Span<const Fd> fds) {
  absl::StatusOr<CellGeometry> geometry = FromProto(joined.geometry());
  if (!geometry.ok()) return geometry.status();
  if (fds.size() != 2) return Misfit();
  absl::StatusOr<Mapping> data = Mapping::Map(fds[0], geometry->data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state = Mapping::Map(fds[1], geometry->state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  return std::make_shared<const CellMemory>(
      CellMemory{*geometry, *std::move(data), *std::move(state)});
}

}  // namespace mailrail::internal
