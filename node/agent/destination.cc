#include "node/agent/destination.h"

#include <utility>

#include "core/shm/barrier.h"

namespace mailrail {

absl::StatusOr<Destination> Destination::Create(const std::string& name, size_t control_bytes) {
  Destination destination;
  absl::StatusOr<Fd> control = CreateMemory(name + ".control", control_bytes);
  if (!control.ok()) return control.status();
  absl::StatusOr<Fd> bell = CreateMemory(name + ".bell", sizeof(BellWords));
  if (!bell.ok()) return bell.status();
  absl::StatusOr<Fd> gate = CreateMemory(name + ".gate", sizeof(GateWord));
  if (!gate.ok()) return gate.status();
  destination.control_ = *std::move(control);
  destination.bell_ = *std::move(bell);
  destination.gate_ = *std::move(gate);
  if (absl::Status status = destination.Map(); !status.ok()) return status;
  destination.page()->magic = kControlMagic;
  return destination;
}

absl::StatusOr<Destination> Destination::Adopt(std::vector<Fd> fds) {
  if (fds.size() != 3) return absl::DataLossError("a kept destination is incomplete");
  Destination destination;
  destination.control_ = std::move(fds[0]);
  destination.bell_ = std::move(fds[1]);
  destination.gate_ = std::move(fds[2]);
  if (absl::Status status = destination.Map(); !status.ok()) return status;
  return destination;
}

absl::Status Destination::Map() {
  absl::StatusOr<Mapping> control = MapControl();
  if (!control.ok()) return control.status();
  absl::StatusOr<Mapping> gate = MapGate();
  if (!gate.ok()) return gate.status();
  control_map_ = *std::move(control);
  gate_map_ = *std::move(gate);
  return absl::OkStatus();
}

absl::StatusOr<Mapping> Destination::MapControl(size_t bytes) const {
  return Mapping::Map(control_, bytes, Access::kReadWrite);
}
absl::StatusOr<Mapping> Destination::MapBell() const {
  return Mapping::Map(bell_, sizeof(BellWords), Access::kReadWrite);
}
absl::StatusOr<Mapping> Destination::MapGate() const {
  return Mapping::Map(gate_, sizeof(GateWord), Access::kReadWrite);
}

absl::StatusOr<DestinationMemory> Destination::MapSender(const Destination& bell) const {
  absl::StatusOr<Mapping> control_map = MapControl();
  if (!control_map.ok()) return control_map.status();
  absl::StatusOr<Mapping> bell_map = bell.MapBell();
  if (!bell_map.ok()) return bell_map.status();
  absl::StatusOr<Mapping> gate_map = bell.MapGate();
  if (!gate_map.ok()) return gate_map.status();
  return DestinationMemory{*std::move(control_map), *std::move(bell_map), *std::move(gate_map)};
}

absl::StatusOr<std::vector<Fd>> Destination::Grant(bool receiver) const {
  std::vector<Fd> fds;
  absl::StatusOr<Fd> control = OpenReadOnly(control_);
  if (!control.ok()) return control.status();
  absl::StatusOr<Fd> bell = receiver ? bell_.Duplicate() : OpenReadOnly(bell_);
  if (!bell.ok()) return bell.status();
  fds.push_back(*std::move(control));
  fds.push_back(*std::move(bell));
  fds.push_back(gate_.Duplicate());
  if (!fds[1].valid() || !fds[2].valid()) {
    return OutOfDescriptors();
  }
  return fds;
}

void Destination::BumpVersion() { page()->members_version.fetch_add(1); }

void Destination::Close(CloseReason reason) {
  uint32_t open = 0;
  page()->closed.compare_exchange_strong(open, static_cast<uint32_t>(reason));
  // A sender that streams publishes by a plain store, and then looks whether this is closed. After
  // this barrier either we see its message, or it sees that nobody will.
  BarrierForAll();
  Ring();
}

bool Destination::SetHolder(uint32_t number) {
  if (page()->holder.exchange(number) == number) return false;
  Ring();
  return true;
}

void Destination::SetReceivers(const std::vector<uint32_t>& numbers) {
  if (ReceiverTable::Of(page())->Write(numbers)) Ring();
}

void Destination::Ring() {
  page()->rings.fetch_add(1);
  FutexWakeAll(&page()->rings);
  RingGate(reinterpret_cast<GateWord*>(gate_map_.data()));
}

}  // namespace mailrail
