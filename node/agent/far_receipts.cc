#include "node/agent/far_receipts.h"

#include <utility>

namespace mailrail {

void FarReceipts::Answer(const std::string& node, proto::ReceiptsSeen seen) {
  proto::Frame frame;
  *frame.mutable_receipts_seen() = std::move(seen);
  options_.send(node, std::move(frame));
}

void FarReceipts::Tell(const std::string& node, const proto::Receipts& receipts) {
  Told told;
  told.node = node;
  told.seen.set_lane(receipts.lane());
  for (const proto::Receipt& receipt : receipts.receipts()) {
    told.seen.add_receipts(receipt.receipt());
  }
  const Link* const link = registry_->FindLink(receipts.lane());
  const bool known = link != nullptr && link->a.kind == Endpoint::Kind::kProcess &&
                     link->b.kind == Endpoint::Kind::kRemoteMailbox && link->b.node == node;
  // Nobody is left to be told.
  if (!known) return Answer(node, std::move(told.seen));
  control::Notice notice;
  *notice.mutable_receipts()->mutable_receipts() = receipts.receipts();
  told.notice = options_.notify(link->a.number, std::move(notice));
  if (told.notice != 0) told_[link->a.number].push_back(std::move(told));
}

void FarReceipts::OnSeen(uint32_t number, uint64_t notice) {
  const auto told = told_.find(number);
  if (told == told_.end()) return;
  std::deque<Told>& all = told->second;
  for (; !all.empty() && all.front().notice <= notice; all.pop_front()) {
    Answer(all.front().node, std::move(all.front().seen));
  }
  if (all.empty()) told_.erase(told);
}

}  // namespace mailrail
