#include "core/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/base/step.h"

namespace mailrail {

void Fd::Reset(int fd) {
  if (fd_ >= 0) {
    Step();
    close(fd_);
  }
  fd_ = fd;
}

Fd Fd::Duplicate() const { return Fd(fcntl(fd_, F_DUPFD_CLOEXEC, 0)); }

absl::Status OutOfDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return absl::ResourceExhaustedError(absl::StrCat(
      program_invocation_short_name, " (pid ", getpid(), ") is at its limit of ", limit.rlim_cur,
      " open descriptors (RLIMIT_NOFILE): close what is not needed, or raise that"));
}

absl::Status DescriptorError(int error, absl::string_view what) {
  return error == EMFILE ? OutOfDescriptors() : absl::ErrnoToStatus(error, what);
}

}  // namespace mailrail
