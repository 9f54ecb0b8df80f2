#include "core/base/seqpacket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/step.h"

namespace mailrail {
namespace {

absl::StatusOr<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("socket path '", path,
                                                   "' is empty or longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string LockPath(const std::string& path) { return path + ".lock"; }

bool StandsAt(const Fd& file, const std::string& path) {
  struct stat open_file, there;
  return fstat(file.get(), &open_file) == 0 && stat(path.c_str(), &there) == 0 &&
         open_file.st_dev == there.st_dev && open_file.st_ino == there.st_ino;
}

absl::Status TakenError(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat("another agent already listens at ", path));
}

absl::StatusOr<Fd> Lock(const std::string& path) {
  const std::string lock_path = LockPath(path);
  while (true) {
    Fd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen at ", path));
    const bool locked = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
    // Who left meanwhile has removed the file: a lock on that keeps nobody away.
    if (!StandsAt(lock, lock_path)) continue;
    if (!locked) return TakenError(path);
    return lock;
  }
}

absl::StatusOr<Fd> NewSocket() {
  Step();
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return DescriptorError(errno, "socket");
  return fd;
}

}  // namespace

absl::StatusOr<std::pair<Fd, Fd>> SeqpacketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  return std::pair<Fd, Fd>(Fd(fds[0]), Fd(fds[1]));
}

absl::StatusOr<Fd> SeqpacketConnect(const std::string& path, absl::Time deadline) {
  absl::StatusOr<sockaddr_un> address = Address(path);
  if (!address.ok()) return address.status();
  absl::StatusOr<Fd> fd = NewSocket();
  if (!fd.ok()) return fd.status();
  // A connection waits in the listener's queue, or for room there, as long as a send would.
  const auto set_patience = [&](absl::Duration patience) {
    const timeval value = absl::ToTimeval(patience);
    setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value));
  };
  const bool bounded = deadline != absl::InfiniteFuture();
  const auto left = [&] { return std::max(deadline - absl::Now(), absl::Milliseconds(1)); };
  if (bounded) set_patience(left());
  Step();
  while (connect(fd->get(), reinterpret_cast<sockaddr*>(&*address), sizeof(*address)) != 0) {
    if (errno == EINTR) {
      if (bounded) set_patience(left());
      continue;
    }
    if (errno == EAGAIN) {
      return absl::DeadlineExceededError(
          absl::StrCat("the agent at ", path, " takes no more connections"));
    }
    if (errno == EACCES || errno == EPERM) {
      return absl::PermissionDeniedError(absl::StrCat("no permission for the socket ", path));
    }
    return absl::UnavailableError(
        absl::StrCat("no agent answers at ", path, ": ", strerror(errno)));
  }
  if (bounded) set_patience(absl::ZeroDuration());
  return fd;
}

absl::StatusOr<Listener> SeqpacketListen(const std::string& path, unsigned mode) {
  absl::StatusOr<sockaddr_un> address = Address(path);
  if (!address.ok()) return address.status();
  struct stat status;
  if (lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " exists and is no socket"));
  }
  if (SeqpacketConnect(path).ok()) return TakenError(path);
  absl::StatusOr<Fd> lock = Lock(path);
  if (!lock.ok()) return lock.status();
  absl::StatusOr<Fd> fd = NewSocket();
  if (!fd.ok()) return fd.status();
  unlink(path.c_str());
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&*address), sizeof(*address)) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen at ", path));
  }
  if (chmod(path.c_str(), mode) != 0 || listen(fd->get(), 1024) != 0 ||
      fcntl(fd->get(), F_SETFL, O_NONBLOCK) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen at ", path));
  }
  return Listener{*std::move(fd), *std::move(lock)};
}

void SeqpacketUnlink(const std::string& path, const Fd& lock) {
  if (!StandsAt(lock, LockPath(path))) return;
  unlink(path.c_str());
  unlink(LockPath(path).c_str());
}

absl::Status SendPacket(int socket, absl::string_view bytes, absl::Span<const int> fds) {
  if (bytes.size() > kMaxPacketBytes || fds.size() > kMaxPacketFds) {
    return absl::InvalidArgumentError("packet exceeds the limits");
  }
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    memset(control, 0, message.msg_controllen);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  Step();
  while (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS || errno == ENOBUFS) {
      return absl::ResourceExhaustedError("the peer's queue is full");
    }
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
      return absl::UnavailableError("the peer has closed the connection");
    }
    return absl::ErrnoToStatus(errno, "sendmsg");
  }
  return absl::OkStatus();
}

absl::StatusOr<Packet> ReceivePacket(int socket, bool wait, bool* fds_lost) {
  Packet packet;
  packet.bytes.resize(kMaxPacketBytes);
  iovec part{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  Step();
  while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT))) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return absl::ResourceExhaustedError("no packet waits");
    }
    return absl::UnavailableError(absl::StrCat("connection lost: ", strerror(errno)));
  }
  Step();  // with descriptors that nobody has noted yet
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      packet.fds.emplace_back(fd);
    }
  }
  if (size == 0) return absl::UnavailableError("the peer has closed the connection");
  const bool truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  if (fds_lost != nullptr) *fds_lost = truncated;
  if ((message.msg_flags & MSG_TRUNC) != 0 || (truncated && fds_lost == nullptr) ||
      packet.fds.size() > kMaxPacketFds) {
    return absl::InvalidArgumentError("packet exceeds the limits");
  }
  packet.bytes.resize(static_cast<size_t>(size));
  return packet;
}

}  // namespace mailrail
