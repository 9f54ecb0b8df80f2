#ifndef MAILRAIL_NODE_PEER_CREDENTIALS_H_
#define MAILRAIL_NODE_PEER_CREDENTIALS_H_

#include <memory>

#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace mailrail {

// How agents prove to each other who they are. This is the one place that decides it: for now they
// do not, and the port belongs in a network of its own.
std::shared_ptr<grpc::ChannelCredentials> PeerChannelCredentials();
std::shared_ptr<grpc::ServerCredentials> PeerServerCredentials();

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_CREDENTIALS_H_
