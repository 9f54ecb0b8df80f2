#ifndef MAILRAIL_NODE_PEER_COMPLETIONS_H_
#define MAILRAIL_NODE_PEER_COMPLETIONS_H_

#include <memory>
#include <thread>

#include "grpcpp/completion_queue.h"

namespace mailrail {

// What gRPC is given as the tag of an operation: is told when that is done.
class Completion {
 public:
  virtual void Run(bool ok) = 0;

 protected:
  ~Completion() = default;
};

// One that calls a method.
template <typename Owner, void (Owner::*kMethod)(bool)>
class CompletionOf final : public Completion {
 public:
  explicit CompletionOf(Owner* owner) : owner_(owner) {}
  void Run(bool ok) override { (owner_->*kMethod)(ok); }

 private:
  Owner* const owner_;
};

// gRPC's queue of what is done, and the one thread that takes from it: the same that waits for the
// sockets, so what a peer sends is handled by the thread which has read it. (gRPC's callback API
// has at least two threads, of which each event wakes the other one, too.) Thread-safe.
class Completions {
 public:
  // Starts the thread.
  explicit Completions(std::unique_ptr<grpc::CompletionQueue> queue);

  // Runs what is done until nothing is in progress any more. REQUIRES: nothing new is started, and
  // the server whose queue it is was shut down.
  ~Completions();

  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  // Tags are Completions.
  grpc::CompletionQueue* queue() const { return queue_.get(); }

 private:
  void Run();

  const std::unique_ptr<grpc::CompletionQueue> queue_;
  std::thread thread_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_COMPLETIONS_H_
