#include "node/peer/health_service.h"

#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/async_unary_call.h"

namespace mailrail {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthService::CheckCall {
 public:
  static void Await(HealthService* health) {
    auto* const call = new CheckCall(health);
    health->service_.RequestCheck(&call->context_, &call->request_, &call->answer_, health->queue_,
                                  health->queue_, static_cast<Completion*>(&call->called_));
  }

 private:
  explicit CheckCall(HealthService* health) : health_(health) {}

  void OnCalled(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    Await(health_);
    if (!request_.service().empty()) {
      answer_.FinishWithError({grpc::StatusCode::NOT_FOUND, "no such service"},
                              static_cast<Completion*>(&answered_));
      return;
    }
    HealthCheckResponse response;
    {
      absl::MutexLock lock(&health_->mu_);
      response.set_status(health_->status());
    }
    answer_.Finish(response, grpc::Status::OK, static_cast<Completion*>(&answered_));
  }
  void OnAnswered(bool /*ok*/) { delete this; }

  HealthService* const health_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<HealthCheckResponse> answer_{&context_};
  CompletionOf<CheckCall, &CheckCall::OnCalled> called_{this};
  CompletionOf<CheckCall, &CheckCall::OnAnswered> answered_{this};
};

// Ends when its client has gone, or the server is shut down.
class HealthService::WatchCall {
 public:
  static void Await(HealthService* health) {
    auto* const call = new WatchCall(health);
    call->context_.AsyncNotifyWhenDone(static_cast<Completion*>(&call->over_));
    health->service_.RequestWatch(&call->context_, &call->request_, &call->answers_, health->queue_,
                                  health->queue_, static_cast<Completion*>(&call->called_));
  }

  // Says `status`, the server's, if that was not said last. Whoever calls it holds the service's
  // lock, which no analysis sees from both sides.
  void Tell(Status status) {
    const Status now = request_.service().empty() ? status : HealthCheckResponse::SERVICE_UNKNOWN;
    if (is_over_ || writing_ || response_.status() == now) return;
    writing_ = true;
    response_.set_status(now);
    answers_.Write(response_, static_cast<Completion*>(&written_));
  }

 private:
  explicit WatchCall(HealthService* health) : health_(health) {}

  void OnCalled(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    Await(health_);
    absl::MutexLock lock(&health_->mu_);
    health_->watches_.insert(this);
    Tell(health_->status());
  }
  void OnWritten(bool /*ok*/) {
    bool last;
    {
      absl::MutexLock lock(&health_->mu_);
      writing_ = false;
      last = is_over_;
      Tell(health_->status());
    }
    if (last) delete this;
  }
  void OnOver(bool /*ok*/) {
    bool last;
    {
      absl::MutexLock lock(&health_->mu_);
      is_over_ = true;
      last = !writing_;
      health_->watches_.erase(this);
    }
    if (last) delete this;
  }

  HealthService* const health_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncWriter<HealthCheckResponse> answers_{&context_};
  HealthCheckResponse response_;  // the last one
  bool writing_ = false;
  bool is_over_ = false;
  CompletionOf<WatchCall, &WatchCall::OnCalled> called_{this};
  CompletionOf<WatchCall, &WatchCall::OnWritten> written_{this};
  CompletionOf<WatchCall, &WatchCall::OnOver> over_{this};
};

void HealthService::Start() {
  CheckCall::Await(this);
  WatchCall::Await(this);
}

void HealthService::AnnounceStop() {
  absl::MutexLock lock(&mu_);
  stopping_ = true;
  for (WatchCall* const watch : watches_) watch->Tell(status());
}

HealthService::Status HealthService::status() const {
  return stopping_ ? HealthCheckResponse::NOT_SERVING : HealthCheckResponse::SERVING;
}

}  // namespace mailrail
