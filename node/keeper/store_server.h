// The keeper's side of the store of descriptors.
#ifndef MAILRAIL_NODE_KEEPER_STORE_SERVER_H_
#define MAILRAIL_NODE_KEEPER_STORE_SERVER_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "node/keeper/codec.h"

namespace mailrail {

// An ordered map of key -> value and descriptors, and what each request does to it. It neither
// reads nor writes a socket. Whatever a request holds, it is answered. Thread-compatible.
class StoreServer {
 public:
  // `fds` are the store's: valid until the next call of Handle.
  struct Reply {
    std::string bytes;
    std::vector<int> fds;
  };

  // Carries out one request. It is kInvalidArgument for the sender if it is not well-formed.
  Reply Handle(Packet request);

  // The answer to a request that could not be received.
  static Reply Refuse(const absl::Status& status);

  // The exit code that the agent announced since the last call, if it did.
  std::optional<int> TakeLeave() { return std::exchange(leave_, std::nullopt); }

  size_t size() const { return records_.size(); }

 private:
  struct Kept {
    std::string value;
    std::vector<Fd> fds;
  };

  absl::Status Apply(const KeeperPacket& request, std::vector<Fd> fds);
  Reply Next(absl::string_view key) const;

  std::map<std::string, Kept, std::less<>> records_;
  std::optional<int> leave_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_STORE_SERVER_H_
