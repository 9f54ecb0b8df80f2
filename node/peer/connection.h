#ifndef MAILRAIL_NODE_PEER_CONNECTION_H_
#define MAILRAIL_NODE_PEER_CONNECTION_H_

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/server_builder.h"
#include "node/peer/options.h"

// The settings of gRPC's connections, of both ends, which must agree.
namespace mailrail {

// A channel to a peer's agent with a connection of its own, which is shared with no other channel.
// It is made for one dial: what follows a failure is the dialer's choice, not the channel's.
//
// Must not be destroyed in a callback of gRPC: the last channel of a process joins the threads
// that callbacks run on.
std::shared_ptr<grpc::Channel> MakePeerChannel(const PeerTransportOptions& options,
                                               const std::string& address);

// The same for the port on which peers dial us.
void ConfigurePeerServer(const PeerTransportOptions& options, grpc::ServerBuilder* builder);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_CONNECTION_H_
