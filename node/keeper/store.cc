#include "node/keeper/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

// There is nothing to wait for when too many descriptors of this user are in flight, so it is
// tried again after this time.
constexpr int kRetryMs = 1;

absl::Status BadReply() { return absl::InternalError("the keeper's answer makes no sense"); }

absl::Status CheckRecord(absl::string_view key, absl::string_view value, size_t fd_count) {
  if (key.empty() || key.size() > kMaxKeptKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a kept record's key has 1 to ", kMaxKeptKeyBytes, " bytes"));
  }
  if (value.size() > kMaxKeptValueBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the value of the kept record ", key, " is larger than ", kMaxKeptValueBytes, " bytes"));
  }
  if (fd_count > kMaxKeptFds) {
    return absl::InvalidArgumentError(
        absl::StrCat("the kept record ", key, " has more than ", kMaxKeptFds, " descriptors"));
  }
  return absl::OkStatus();
}

int SocketOption(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeeperClient>> KeeperClient::FromFd(Fd fd) {
  if (SocketOption(fd.get(), SO_DOMAIN) != AF_UNIX ||
      SocketOption(fd.get(), SO_TYPE) != SOCK_SEQPACKET) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", fd.get(), " is no socket of a keeper"));
  }
  if (fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "fcntl");
  return std::unique_ptr<KeeperClient>(new KeeperClient(std::move(fd)));
}

absl::Status KeeperClient::Put(absl::string_view key, absl::string_view value,
                               absl::Span<const int> fds) {
  absl::Status valid = CheckRecord(key, value, fds.size());
  if (!valid.ok()) return valid;
  return CallForStatus({.kind = KeeperPacketKind::kPut, .key = key, .value = value}, fds);
}

absl::Status KeeperClient::PutValue(absl::string_view key, absl::string_view value) {
  absl::Status valid = CheckRecord(key, value, 0);
  if (!valid.ok()) return valid;
  return CallForStatus({.kind = KeeperPacketKind::kPutValue, .key = key, .value = value});
}

absl::Status KeeperClient::Drop(absl::string_view key) {
  absl::Status valid = CheckRecord(key, "", 0);
  if (!valid.ok()) return valid;
  return CallForStatus({.kind = KeeperPacketKind::kDrop, .key = key});
}

absl::StatusOr<std::vector<KeptRecord>> KeeperClient::List() {
  std::vector<KeptRecord> records;
  absl::MutexLock lock(&mutex_);
  for (;;) {
    absl::string_view last = records.empty() ? absl::string_view() : records.back().key;
    absl::StatusOr<Packet> reply = Call({.kind = KeeperPacketKind::kNext, .key = last}, {});
    if (!reply.ok()) return reply.status();
    absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(reply->bytes);
    if (!packet.ok()) return BadReply();
    if (packet->kind == KeeperPacketKind::kEnd) return records;
    if (packet->kind != KeeperPacketKind::kRecord || packet->key <= last) return BadReply();
    records.push_back(
        {std::string(packet->key), std::string(packet->value), std::move(reply->fds)});
  }
}

absl::Status KeeperClient::Leave(int exit_code) {
  return CallForStatus(
      {.kind = KeeperPacketKind::kLeave, .number = static_cast<uint32_t>(exit_code)});
}

absl::StatusOr<Packet> KeeperClient::Call(const KeeperPacket& request, absl::Span<const int> fds) {
  const std::string bytes = EncodeKeeperPacket(request);
  absl::Status sent;
  while (absl::IsResourceExhausted(sent = SendPacket(fd_.get(), bytes, fds))) {
    pollfd hang_up = {.fd = fd_.get(), .events = 0, .revents = 0};
    poll(&hang_up, 1, kRetryMs);
  }
  if (!sent.ok()) return sent;
  absl::StatusOr<Packet> reply = ReceivePacket(fd_.get(), /*wait=*/true);
  if (absl::IsUnavailable(reply.status())) return absl::UnavailableError("the keeper is gone");
  if (absl::IsInvalidArgument(reply.status())) {
    return absl::ResourceExhaustedError("no descriptors left to take a record from the keeper");
  }
  return reply;
}

absl::Status KeeperClient::CallForStatus(const KeeperPacket& request, absl::Span<const int> fds) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Packet> reply = Call(request, fds);
  if (!reply.ok()) return reply.status();
  absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(reply->bytes);
  if (!packet.ok() || packet->kind != KeeperPacketKind::kDone) return BadReply();
  return absl::Status(static_cast<absl::StatusCode>(packet->number), packet->value);
}

}  // namespace mailrail
