#include "node/peer/completions.h"

#include <pthread.h>

#include <utility>

namespace mailrail {

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
