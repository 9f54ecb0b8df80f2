#include "node/agent/fd_source.h"

#include "core/shm/memory.h"

namespace mailrail {

absl::StatusOr<std::vector<Fd>> AllOpen(std::vector<Fd> fds) {
  for (const Fd& fd : fds) {
    if (!fd.valid()) return OutOfDescriptors();
  }
  return fds;
}

absl::StatusOr<std::vector<Fd>> ReadingEnd(const Fd& data, const Fd& state) {
  absl::StatusOr<Fd> readable = OpenReadOnly(data);
  if (!readable.ok()) return readable.status();
  std::vector<Fd> fds;
  fds.push_back(*std::move(readable));
  fds.push_back(state.Duplicate());
  return AllOpen(std::move(fds));
}

}  // namespace mailrail
