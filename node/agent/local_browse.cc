// The local service's part for who looks into mailboxes, and moves dead letters.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/seqpacket.h"
#include "node/agent/local_service.h"

namespace mailrail {
namespace {

// What another node has answered is passed on in a packet, beside a few bytes.
absl::Status CheckFits(const google::protobuf::MessageLite& answer, const std::string& node) {
  if (answer.ByteSizeLong() <= kMaxPacketBytes - 1024) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("node ", node, " has answered more than can be"));
}

}  // namespace

void LocalService::Browse(const CallPtr& call) {
  const auto answer = [this, call](absl::StatusOr<proto::Browsed> browsed) {
    if (!browsed.ok()) return Respond(*call, browsed.status());
    control::Response response;
    *response.mutable_browsed() = *std::move(browsed);
    Respond(*call, std::move(response));
  };
  const proto::Browse& browse = call->request.browse();
  FindMailbox(
      call, browse.mailbox(),
      [this, call, answer](LocalMailbox* mailbox) {
        broker_->browser().Browse(*mailbox, call->request.browse(),
                                  {[call] { return !call->client.expired(); }, answer});
      },
      [this, call, answer](const FoundMailbox& found, const std::string& name) {
        proto::Request request;
        *request.mutable_browse() = call->request.browse();
        request.mutable_browse()->set_mailbox(name);
        request.mutable_browse()->set_mailbox_id(found.id);
        peers_->Call(found.node, std::move(request), call->deadline,
                     [answer, node = found.node](absl::StatusOr<proto::Reply> reply) {
                       if (!reply.ok()) return answer(reply.status());
                       if (absl::Status status = CheckFits(reply->browsed(), node); !status.ok()) {
                         return answer(status);
                       }
                       answer(std::move(*reply->mutable_browsed()));
                     });
      });
}

void LocalService::Redrive(const CallPtr& call) {
  const auto answer = [this, call](absl::StatusOr<proto::Redriven> redriven) {
    if (!redriven.ok()) return Respond(*call, redriven.status());
    control::Response response;
    *response.mutable_redriven() = *std::move(redriven);
    Respond(*call, std::move(response));
  };
  const proto::Redrive& redrive = call->request.redrive();
  FindMailbox(
      call, redrive.mailbox(),
      [this, call, answer](LocalMailbox* mailbox) {
        broker_->browser().Redrive(*mailbox, call->request.redrive(),
                                   {[call] { return !call->client.expired(); }, answer});
      },
      [this, call, answer](const FoundMailbox& found, const std::string& name) {
        proto::Request request;
        *request.mutable_redrive() = call->request.redrive();
        request.mutable_redrive()->set_mailbox(name);
        request.mutable_redrive()->set_mailbox_id(found.id);
        peers_->Call(found.node, std::move(request), call->deadline,
                     [answer, node = found.node](absl::StatusOr<proto::Reply> reply) {
                       if (!reply.ok()) return answer(reply.status());
                       if (absl::Status status = CheckFits(reply->redriven(), node); !status.ok()) {
                         return answer(status);
                       }
                       answer(std::move(*reply->mutable_redriven()));
                     });
      });
}

}  // namespace mailrail
