#ifndef MAILRAIL_NODE_PEER_RELAY_H_
#define MAILRAIL_NODE_PEER_RELAY_H_

#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace mailrail {

// For tests: passes what comes on its port of the loopback to another one and back, until it falls
// silent, as a cut network does: no byte gets through, and no connection is seen to end.
// Thread-safe.
class Relay {
 public:
  explicit Relay(int target_port);
  ~Relay();

  int port() const { return port_; }

  // Holds up every byte from now on, until Resume(), and until then refuses nobody: connections
  // are taken but lead nowhere.
  void FallSilent();
  void Resume();

 private:
  void Serve();
  void Pump(int from, int to);

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;

  absl::Mutex mu_;
  bool silent_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<int> sockets_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> pumps_ ABSL_GUARDED_BY(mu_);
  std::thread server_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_RELAY_H_
