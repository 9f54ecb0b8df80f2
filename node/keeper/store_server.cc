#include "node/keeper/store_server.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mailrail {

StoreServer::Reply StoreServer::Handle(Packet request) {
  absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(request.bytes);
  if (!packet.ok()) return Refuse(packet.status());
  if (packet->kind == KeeperPacketKind::kNext) return Next(packet->key);
  return Refuse(Apply(*packet, std::move(request.fds)));
}

StoreServer::Reply StoreServer::Refuse(const absl::Status& status) {
  return {EncodeKeeperPacket({.kind = KeeperPacketKind::kDone,
                              .number = static_cast<uint32_t>(status.code()),
                              .value = status.message()}),
          {}};
}

absl::Status StoreServer::Apply(const KeeperPacket& request, std::vector<Fd> fds) {
  const bool is_put = request.kind == KeeperPacketKind::kPut;
  if (fds.size() > (is_put ? kMaxKeptFds : 0)) {
    return absl::InvalidArgumentError("too many descriptors beside a request to the keeper");
  }
  if (request.kind == KeeperPacketKind::kLeave) {
    leave_ = static_cast<int>(request.number);
    return absl::OkStatus();
  }
  if (request.key.empty()) return absl::InvalidArgumentError("a kept record without a key");
  if (is_put) {
    records_.insert_or_assign(std::string(request.key),
                              Kept{std::string(request.value), std::move(fds)});
    return absl::OkStatus();
  }
  const auto it = records_.find(request.key);
  switch (request.kind) {
    case KeeperPacketKind::kPutValue:
      if (it == records_.end()) break;
      it->second.value = std::string(request.value);
      return absl::OkStatus();
    case KeeperPacketKind::kDrop:
      if (it == records_.end()) break;
      records_.erase(it);
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("no request to a keeper");
  }
  return absl::NotFoundError(absl::StrCat("the keeper has no record ", request.key));
}

StoreServer::Reply StoreServer::Next(absl::string_view key) const {
  const auto it = records_.upper_bound(key);
  if (it == records_.end()) return {EncodeKeeperPacket({.kind = KeeperPacketKind::kEnd}), {}};
  Reply reply{EncodeKeeperPacket(
                  {.kind = KeeperPacketKind::kRecord, .key = it->first, .value = it->second.value}),
              {}};
  for (const Fd& fd : it->second.fds) reply.fds.push_back(fd.get());
  return reply;
}

}  // namespace mailrail
