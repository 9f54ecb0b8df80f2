#include "node/peer/completions.h"

#include <grpc/grpc.h>
#include <pthread.h>

#include <utility>

#include "grpcpp/alarm.h"

namespace mailrail {
namespace {

// One that was taken out of a queue and put back into it.
class Returned final : public Completion {
 public:
  Returned(grpc::CompletionQueue* queue, Completion* completion, bool ok)
      : completion_(completion), ok_(ok) {
    alarm_.Set(queue, gpr_now(GPR_CLOCK_MONOTONIC), static_cast<Completion*>(this));
  }
  void Run(bool /*ok*/) override {
    completion_->Run(ok_);
    delete this;
  }

 private:
  Completion* const completion_;
  const bool ok_;
  grpc::Alarm alarm_;
};

// The completion that gRPC has put aside for this thread, and how the operation went.
std::pair<Completion*, bool> TakeAside(grpc::CompletionQueue* queue) {
  void* core_tag;
  int core_ok;
  if (grpc_completion_queue_thread_local_cache_flush(queue->cq(), &core_tag, &core_ok) == 0) {
    return {nullptr, false};
  }
  void* tag;
  bool ok = core_ok != 0;
  if (!static_cast<grpc::internal::CompletionQueueTag*>(core_tag)->FinalizeResult(&tag, &ok)) {
    return {nullptr, false};
  }
  return {static_cast<Completion*>(tag), ok};
}

}  // namespace

DoneAtOnce::DoneAtOnce(grpc::CompletionQueue* queue) : queue_(queue) {
  grpc_completion_queue_thread_local_cache_init(queue->cq());
}

DoneAtOnce::~DoneAtOnce() { (void)Take(nullptr); }

std::optional<bool> DoneAtOnce::Take(const Completion* completion) {
  const auto [done, ok] = TakeAside(queue_);
  if (done == nullptr) return std::nullopt;
  if (done == completion) return ok;
  // Of another operation, in which this thread had a part.
  PutBack(done, ok);
  return std::nullopt;
}

void DoneAtOnce::PutBack(Completion* completion, bool ok) {
  new Returned(queue_, completion, ok);  // deletes itself
}

Completions::Completions(std::unique_ptr<grpc::CompletionQueue> queue)
    : queue_(std::move(queue)), thread_(&Completions::Run, this) {}

Completions::~Completions() {
  queue_->Shutdown();
  thread_.join();
}

void Completions::Run() {
  pthread_setname_np(pthread_self(), "peers");
  void* tag;
  bool ok;
  while (queue_->Next(&tag, &ok)) static_cast<Completion*>(tag)->Run(ok);
}

}  // namespace mailrail
