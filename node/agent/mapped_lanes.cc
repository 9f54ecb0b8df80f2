#include "node/agent/mapped_lanes.h"

#include <utility>

namespace mailrail {

absl::StatusOr<std::shared_ptr<IncomingCells>> MapCells(const MailboxLane& lane) {
  absl::StatusOr<Mapping> data =
      Mapping::Map(lane.data, lane.geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state =
      Mapping::Map(lane.state, lane.geometry.state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  auto memory = std::make_shared<const CellMemory>(
      CellMemory{lane.geometry, *std::move(data), *std::move(state)});
  auto cells = std::make_shared<IncomingCells>(
      lane.id, lane.sender_id, /*same_user=*/false, std::move(memory),
      /*by_agent=*/lane.sender.kind != Endpoint::Kind::kProcess);
  cells->reader().set_max_attempts(lane.max_attempts);
  return cells;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> MapCellSender(
    std::string name, const MailboxOptions& options, const CellGeometry& geometry, const Fd& data,
    const Fd& state, const Destination& destination, const std::shared_ptr<Budget>& budget) {
  absl::StatusOr<Mapping> data_map = Mapping::Map(data, geometry.data_bytes(), Access::kReadWrite);
  if (!data_map.ok()) return data_map.status();
  absl::StatusOr<Mapping> state_map =
      Mapping::Map(state, geometry.state_bytes(), Access::kReadWrite);
  if (!state_map.ok()) return state_map.status();
  absl::StatusOr<DestinationMemory> memory = destination.MapSender(destination);
  if (!memory.ok()) return memory.status();
  auto sender = std::make_shared<OutgoingLane>(std::move(name), options, geometry,
                                               *std::move(data_map), *std::move(state_map),
                                               /*number=*/0, *std::move(memory), ReserveOf(budget));
  sender->KeepEnds();
  if (absl::Status status = sender->Recover(); !status.ok()) return status;
  return sender;
}

absl::StatusOr<std::shared_ptr<LinkMemory>> MapLinkEnd(const Link& link, bool end_a,
                                                       const std::shared_ptr<Budget>& budget) {
  const Fd& own = end_a ? link.memory_a : link.memory_b;
  const Fd& peer = end_a ? link.memory_b : link.memory_a;
  absl::StatusOr<Mapping> own_map =
      Mapping::Map(own, link.geometry.memory_bytes(), Access::kReadWrite);
  if (!own_map.ok()) return own_map.status();
  absl::StatusOr<Mapping> peer_map =
      Mapping::Map(peer, link.geometry.memory_bytes(), Access::kReadOnly);
  if (!peer_map.ok()) return peer_map.status();
  auto memory = std::make_shared<LinkMemory>(
      LinkMemory{link.geometry, *std::move(own_map), *std::move(peer_map)});
  memory->ReserveBy(budget);
  return memory;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> MapLinkSender(std::string name, const Link& link,
                                                            bool end_a, const Destination& control,
                                                            const Destination& bell,
                                                            const std::shared_ptr<Budget>& budget) {
  absl::StatusOr<std::shared_ptr<LinkMemory>> memory = MapLinkEnd(link, end_a, budget);
  if (!memory.ok()) return memory.status();
  absl::StatusOr<DestinationMemory> destination = control.MapSender(bell);
  if (!destination.ok()) return destination.status();
  auto lane = std::make_shared<OutgoingLane>(std::move(name), link.options, *std::move(memory),
                                             *std::move(destination));
  if (absl::Status status = lane->Recover(); !status.ok()) return status;
  return lane;
}

uint64_t CountUnconsumed(const Link& link, bool of_end_a) {
  absl::StatusOr<Mapping> sent =
      Mapping::Map(of_end_a ? link.memory_a : link.memory_b, kRingCountsBytes, Access::kReadOnly);
  absl::StatusOr<Mapping> received =
      Mapping::Map(of_end_a ? link.memory_b : link.memory_a, kRingCountsBytes, Access::kReadOnly);
  if (!sent.ok() || !received.ok()) return 0;
  return CountUnconsumed(sent->data(), received->data());
}

uint64_t CountPublished(const Link& link, bool of_end_a) {
  absl::StatusOr<Mapping> sent =
      Mapping::Map(of_end_a ? link.memory_a : link.memory_b, kRingCountsBytes, Access::kReadOnly);
  return sent.ok() ? CountPublished(sent->data()) : 0;
}

}  // namespace mailrail
