// Requests of this host's programs that are about named regions and values.
#include <utility>

#include "node/agent/local_service.h"

namespace mailrail {

void LocalService::OpenRegion(const CallPtr& call) {
  regions_->Open(call->number, call->id, call->request.open_region(), call->deadline,
                 [this, call](absl::StatusOr<Regions::Opened> opened) {
                   if (!opened.ok()) return Respond(*call, opened.status());
                   control::Response response;
                   *response.mutable_region() = std::move(opened->grant);
                   Respond(*call, std::move(response), std::move(opened->fds));
                 });
}

}  // namespace mailrail
