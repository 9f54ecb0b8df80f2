#include "node/carrier/lease_name.h"

#include "absl/strings/str_cat.h"

namespace mailrail {

proto::LeaseName NameOf(const Lease& lease, uint64_t delivery) {
  proto::LeaseName name;
  name.set_lane(lease.lane->id());
  name.set_priority(static_cast<uint32_t>(lease.priority));
  name.set_sequence(lease.sequence);
  name.set_attempts(lease.attempts);
  name.set_delivery(delivery);
  return name;
}

bool SameMessage(const proto::LeaseName& a, const proto::LeaseName& b) {
  return a.lane() == b.lane() && a.priority() == b.priority() && a.sequence() == b.sequence();
}

absl::StatusOr<ProcessId> ToProcessId(const proto::ProcessRef& process) {
  return ProcessId::Parse(
      absl::StrCat(process.pid(), ".", process.incarnation(), "@", process.node()));
}

}  // namespace mailrail
