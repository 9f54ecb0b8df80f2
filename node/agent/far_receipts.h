#ifndef MAILRAIL_NODE_AGENT_FAR_RECEIPTS_H_
#define MAILRAIL_NODE_AGENT_FAR_RECEIPTS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "node/agent/registry.h"
#include "proto/agent.pb.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What other nodes tell of the messages that processes of this one have sent there, and the
// processes are told. The other node keeps what it tells until it hears that it was read, and tells
// it again on new sessions: so neither agent's death loses any. Used on the loop alone.
class FarReceipts {
 public:
  struct Options {
    // Returns the number of the notice; 0 when the process has no connection now.
    std::function<uint64_t(uint32_t number, control::Notice notice)> notify;
    // False when there is no session with the node, which will tell it again.
    std::function<bool(const std::string& node, proto::Frame frame)> send;
  };

  // `registry` outlives it.
  FarReceipts(Options options, const Registry* registry)
      : options_(std::move(options)), registry_(registry) {}

  // Of a lane of this node to a mailbox of `node`.
  void Tell(const std::string& node, const proto::Receipts& receipts);

  // The process with this number has read its notices up to `notice`.
  void OnSeen(uint32_t number, uint64_t notice);

  // The process is gone, and what it was told with it.
  void OnProcessGone(uint32_t number) { told_.erase(number); }

 private:
  struct Told {
    uint64_t notice = 0;
    std::string node;
    proto::ReceiptsSeen seen;
  };

  void Answer(const std::string& node, proto::ReceiptsSeen seen);

  const Options options_;
  const Registry* const registry_;
  std::map<uint32_t, std::deque<Told>> told_;  // by the number of the process
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_FAR_RECEIPTS_H_
