#ifndef MAILRAIL_NODE_PEER_HEALTH_SERVICE_H_
#define MAILRAIL_NODE_PEER_HEALTH_SERVICE_H_

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/completion_queue.h"
#include "node/peer/completions.h"
#include "proto/health.grpc.pb.h"

namespace mailrail {

// The standard health service (grpc.health.v1.Health) of a server, which it knows as a whole: by
// the empty name. gRPC's own would bring threads that take part in each event of each peer.
// Thread-safe.
class HealthService {
 public:
  // `queue`, whose tags are Completions, outlives it.
  explicit HealthService(grpc::ServerCompletionQueue* queue) : queue_(queue) {}

  HealthService(const HealthService&) = delete;
  HealthService& operator=(const HealthService&) = delete;

  grpc::Service* service() { return &service_; }

  // Takes calls until the server is shut down.
  void Start();

  // NOT_SERVING from now on.
  void AnnounceStop();

 private:
  class CheckCall;
  class WatchCall;
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;

  Status status() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  grpc::ServerCompletionQueue* const queue_;
  grpc::health::v1::Health::AsyncService service_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::set<WatchCall*> watches_ ABSL_GUARDED_BY(mu_);  // they delete themselves
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_HEALTH_SERVICE_H_
