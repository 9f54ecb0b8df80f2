#ifndef MAILRAIL_NODE_AGENT_FD_SOURCE_H_
#define MAILRAIL_NODE_AGENT_FD_SOURCE_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/fd.h"

namespace mailrail {

// Opens the descriptors that a notice goes out with, when it goes out: so what waits for a receiver
// that does not read holds none. Empty: the notice has none. kNotFound when what they stood for is
// gone (the notice then goes without); any other error: not now.
using FdSource = std::function<absl::StatusOr<std::vector<Fd>>()>;

// Descriptors that are open already, to be taken once.
inline FdSource OpenedFds(std::vector<Fd> fds) {
  if (fds.empty()) return nullptr;
  return [fds = std::make_shared<std::vector<Fd>>(
              std::move(fds))]() -> absl::StatusOr<std::vector<Fd>> { return std::move(*fds); };
}

// `fds`, if none of them failed to be opened or duplicated; else kResourceExhausted.
absl::StatusOr<std::vector<Fd>> AllOpen(std::vector<Fd> fds);

// The descriptors for a receiver of a mailbox lane.
absl::StatusOr<std::vector<Fd>> ReadingEnd(const Fd& data, const Fd& state);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_FD_SOURCE_H_
