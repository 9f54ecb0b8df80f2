#ifndef MAILRAIL_NODE_PEER_TEST_NODE_H_
#define MAILRAIL_NODE_PEER_TEST_NODE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "node/peer/options.h"
#include "node/peer/recording_handler.h"
#include "node/peer/transport.h"

namespace mailrail {

// For tests: the options of a node of the cluster "test", in its first incarnation, that listens
// on a port of the loopback and dials nobody.
inline PeerTransportOptions OptionsOf(const std::string& node) {
  PeerTransportOptions options;
  options.cluster_id = "test";
  options.node = node;
  options.node_incarnation = 1;
  options.listen_address = "127.0.0.1:0";
  options.dial_back = false;
  return options;
}

// For tests: a node, that is, a transport and its handler.
struct TestNode {
  explicit TestNode(PeerTransportOptions options) {
    auto started = PeerTransport::Start(std::move(options), &handler);
    EXPECT_TRUE(started.ok()) << started.status();
    transport = *std::move(started);
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", transport->port()); }

  RecordingHandler handler;
  std::unique_ptr<PeerTransport> transport;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_TEST_NODE_H_
