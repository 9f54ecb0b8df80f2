#include "node/peer/credentials.h"

namespace mailrail {

std::shared_ptr<grpc::ChannelCredentials> PeerChannelCredentials() {
  return grpc::InsecureChannelCredentials();
}

std::shared_ptr<grpc::ServerCredentials> PeerServerCredentials() {
  return grpc::InsecureServerCredentials();
}

}  // namespace mailrail
