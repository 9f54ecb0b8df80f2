#include "core/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

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

}  // namespace mailrail
