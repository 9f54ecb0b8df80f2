#ifndef MAILRAIL_CORE_BASE_FD_H_
#define MAILRAIL_CORE_BASE_FD_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mailrail {

// Owns one file descriptor and closes it. Move-only. Thread-compatible.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { Reset(); }

  // -1 when there is none.
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

  // Another descriptor of the same open file, closed on exec; invalid when the limit is reached.
  Fd Duplicate() const;

 private:
  int fd_ = -1;
};

// kResourceExhausted: says that this program is at its limit of open descriptors, which that is,
// and what to do.
absl::Status OutOfDescriptors();

// The status of an errno value of what makes descriptors: OutOfDescriptors for EMFILE.
absl::Status DescriptorError(int error, absl::string_view what);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_BASE_FD_H_
