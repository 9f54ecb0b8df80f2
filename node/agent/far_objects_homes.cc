// How this node stands at the homes of objects that its processes use: epochs and leases.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "node/agent/far_objects.h"

namespace mailrail {
namespace {

// As agents may be told (node/config): what a home says is bounded.
constexpr absl::Duration kShortestLease = absl::Milliseconds(600);
constexpr absl::Duration kLongestLease = absl::Hours(24);

}  // namespace

FarObjects::Home& FarObjects::HomeOf(const std::string& node) {
  Home& home = homes_[node];
  if (home.epoch != 0) return home;
  const auto kept = registry_->homes().find(node);
  if (kept != registry_->homes().end()) {
    home.epoch = kept->second.epoch;
    home.valid_until = kept->second.valid_until;
  } else {
    // Above those of all agents of this node before.
    home.epoch = static_cast<uint64_t>(absl::ToUnixMicros(absl::Now()));
    registry_->SetHome(node, {home.epoch, home.valid_until});
  }
  return home;
}

bool FarObjects::Uses(const std::string& node) const {
  return std::any_of(registry_->far_objects().begin(), registry_->far_objects().end(),
                     [&](const auto& entry) { return entry.second.node == node; });
}

void FarObjects::Renewed(const std::string& node, absl::Time asked, bool at_once,
                         uint64_t lease_ms) {
  Home& home = HomeOf(node);
  if (lease_ms != 0) {
    home.lease = std::clamp(
        absl::Milliseconds(static_cast<int64_t>(std::min<uint64_t>(lease_ms, uint64_t{1} << 40))),
        kShortestLease, kLongestLease);
  }
  // What was asked before it was connected, and is answered now, was asked again then; but one that
  // has waited there may be answered before.
  const absl::Time since = at_once ? std::max(asked, home.up_since) : asked;
  home.valid_until = std::max(home.valid_until, since + home.lease * 5 / 6);
  if (home.valid_until - registry_->homes().at(node).valid_until > home.lease / 12) {
    registry_->SetHome(node, {home.epoch, home.valid_until});
  }
  ExpectEnd(node);
  if (home.renew == 0) {
    home.renew = loop_->RunAfter(home.lease / 6, [this, node] { Renew(node); });
  }
}

void FarObjects::ExpectEnd(const std::string& node) {
  Home& home = HomeOf(node);
  loop_->Cancel(home.ends);
  home.ends = loop_->RunAt(home.valid_until, [this, node] {
    homes_[node].ends = 0;
    if (Uses(node)) Lose(node, "it was not reached for too long");
  });
}

void FarObjects::Renew(const std::string& node) {
  Home& home = HomeOf(node);
  loop_->Cancel(std::exchange(home.renew, 0));
  if (!Uses(node)) {
    loop_->Cancel(home.ends);
    home.ends = 0;
    return;
  }
  home.renew = loop_->RunAfter(home.lease / 6, [this, node] { Renew(node); });
  if (std::exchange(home.renewing, true)) return;
  proto::Request request;
  request.mutable_renew_holds();
  request.set_epoch(home.epoch);
  const absl::Time asked = absl::Now();
  peers_->Call(node, std::move(request), asked + home.lease,
               [this, node, asked, epoch = home.epoch](const absl::StatusOr<proto::Reply>& reply) {
                 Home& asked_home = HomeOf(node);
                 asked_home.renewing = false;
                 if (asked_home.epoch != epoch) return;
                 if (reply.ok()) return Renewed(node, asked, /*at_once=*/true, reply->lease_ms());
                 if (absl::IsAborted(reply.status()))
                   Lose(node, std::string(reply.status().message()));
               });
}

void FarObjects::Lose(std::string node, std::string why) {
  Home& home = HomeOf(node);
  options_.log(absl::StrCat("what processes of this node held of objects of node ", node,
                            " is lost: ", why));
  home.epoch = std::max(home.epoch + 1, static_cast<uint64_t>(absl::ToUnixMicros(absl::Now())));
  home.valid_until = absl::InfinitePast();
  registry_->SetHome(node, {home.epoch, home.valid_until});
  home.renewing = false;
  // The home frees it all with the first request of the new epoch, or of itself.
  std::vector<uint64_t> settlings;
  for (const auto& [id, settling] : registry_->settlings()) {
    if (settling.node == node) settlings.push_back(id);
  }
  for (const uint64_t id : settlings) registry_->RemoveSettling(id);
  home.unsettled.clear();
  home.held_back.clear();
  for (const auto& [id, object] : registry_->far_objects()) {
    if (object.node != node) continue;
    for (const auto& [number, user] : object.users) {
      control::Notice notice;
      notice.set_object_lost(id);
      options_.notify(number, std::move(notice));
    }
  }
  std::vector<uint64_t> serials;
  for (const auto& [serial, call] : calls_) {
    if (call.node == node) serials.push_back(serial);
  }
  for (const uint64_t serial : serials) {
    Finish(serial, absl::UnavailableError(absl::StrCat("node ", node, ": ", why)));
  }
}

void FarObjects::OnPeerUp(const std::string& node) {
  homes_[node].up_since = absl::Now();
  if (Uses(node)) Renew(node);
}

void FarObjects::OnNodeAnew(const std::string& node) {
  const bool asks = std::any_of(registry_->settlings().begin(), registry_->settlings().end(),
                                [&](const auto& entry) { return entry.second.node == node; });
  if (asks || Uses(node)) Lose(node, "it has started anew");
  // It gives the same ids to other objects.
  registry_->ForgetFarIds(node);
}

}  // namespace mailrail
