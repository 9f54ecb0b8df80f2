#include "node/cli/bench/traffic.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/cli/bench/exchange.h"

namespace mailrail::bench {
namespace {

// How often a sender that asks for receipts takes those that have come.
constexpr size_t kSendsBetweenReceipts = 64;

absl::StatusOr<Message> Next(Receiver& receiver, const ProcessId* peer) {
  return peer == nullptr ? receiver.Receive() : receiver.ReceiveFrom(*peer);
}

}  // namespace

const char* ModeName(WaitMode mode) {
  switch (mode) {
    case WaitMode::kSpin:
      return "spin";
    case WaitMode::kBlock:
      return "block";
    case WaitMode::kAdaptive:
      break;
  }
  return "adaptive";
}

WaitMode ModeFor(absl::optional<WaitMode> asked, size_t processes, size_t processors) {
  if (asked.has_value()) return *asked;
  return processes <= processors ? WaitMode::kSpin : WaitMode::kAdaptive;
}

NumberedSender::NumberedSender(Sender sender, const Style& style)
    : sender_(std::move(sender)),
      style_(style),
      options_{style.priority},
      bodies_(style.batch, std::string(style.size, '\0')),
      views_(bodies_.begin(), bodies_.end()) {
  for (size_t i = 0; i < style.keys; ++i) keys_.push_back(absl::StrCat("key", i));
}

absl::Status NumberedSender::Send(uint64_t number, absl::Time deadline) {
  if (!keys_.empty()) options_.key = keys_[number % keys_.size()];
  if (!style_.in_place) {
    WriteBody(bodies_[0].data(), style_.size, number, style_.body);
    return sender_.Send(bodies_[0], options_, deadline);
  }
  absl::StatusOr<ClaimedMessage> claim = sender_.Claim(style_.size, options_, deadline);
  if (!claim.ok()) return claim.status();
  WriteBody(claim->body().data(), style_.size, number, style_.body);
  return claim->Commit(deadline);
}

absl::Status NumberedSender::TakeReceipts(absl::Time deadline) {
  if (!style_.receipts) return absl::OkStatus();
  while (true) {
    const absl::StatusOr<Receipt> receipt = sender_.NextReceipt(deadline);
    if (absl::IsNotFound(receipt.status())) return absl::OkStatus();
    if (deadline == absl::InfinitePast() && absl::IsDeadlineExceeded(receipt.status())) {
      return absl::OkStatus();
    }
    if (!receipt.ok()) return receipt.status();
    if (receipt->outcome != Receipt::Outcome::kReceived) {
      return absl::DataLossError("a message was not received");
    }
  }
}

absl::Status NumberedSender::SendBatch(uint64_t number) {
  if (style_.receipts) {
    options_.receipt = number;
    if (++sends_ % kSendsBetweenReceipts == 0) {
      if (absl::Status status = TakeReceipts(absl::InfinitePast()); !status.ok()) return status;
    }
  }
  if (style_.batch == 1) return Send(number);
  if (!keys_.empty()) options_.key = keys_[number / style_.batch % keys_.size()];
  for (std::string& body : bodies_) WriteBody(body.data(), style_.size, number++, style_.body);
  // Without a deadline all are sent, unless the destination has ended.
  const absl::StatusOr<size_t> sent = sender_.SendBatch(views_, options_);
  if (!sent.ok()) return sent.status();
  if (*sent < views_.size()) return absl::UnavailableError("the receiver has gone");
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> NumberIn(const Message& message, size_t size, BodyStyle style) {
  uint64_t number = 0;
  if (message.body().size() != size || !ReadBody(message.body(), style, &number)) {
    return absl::DataLossError("a message is not what was sent");
  }
  return number;
}

absl::Status RoundTrip(NumberedSender& sender, Receiver& receiver,
                       const NumberedSender::Style& style, uint64_t number, const ProcessId* peer,
                       Samples* samples) {
  const int64_t before = NowNs();
  if (absl::Status status = sender.Send(number); !status.ok()) return status;
  const absl::StatusOr<Message> answer = Next(receiver, peer);
  if (!answer.ok()) return answer.status();
  const absl::StatusOr<uint64_t> came = NumberIn(*answer, style.size, style.body);
  if (!came.ok()) return came.status();
  if (*came != Carried(number, style.size)) return absl::DataLossError("not the latest number");
  if (samples != nullptr) samples->Add(NowNs() - before);
  return absl::OkStatus();
}

absl::Status RoundTrips(NumberedSender& sender, Receiver& receiver,
                        const NumberedSender::Style& style, double seconds, const ProcessId* peer,
                        Samples* samples) {
  const int64_t until = NowNs() + static_cast<int64_t>(seconds * 1e9);
  uint64_t number = 0;
  do {
    const absl::Status status = RoundTrip(sender, receiver, style, ++number, peer, samples);
    if (!status.ok()) return status;
  } while (NowNs() < until);
  return absl::OkStatus();
}

absl::Status Echo(NumberedSender& sender, Receiver& receiver, const NumberedSender::Style& style,
                  const ProcessId* peer) {
  while (true) {
    const absl::StatusOr<Message> message = Next(receiver, peer);
    if (!message.ok()) return message.status();
    if (IsEnd(*message, style.size)) return sender.SendEnd();
    const absl::StatusOr<uint64_t> number = NumberIn(*message, style.size, style.body);
    if (!number.ok()) return number.status();
    if (absl::Status status = sender.Send(*number); !status.ok()) return status;
  }
}

absl::Status Alternate(double seconds, const std::function<absl::Status(bool loaded)>& ask,
                       const std::function<absl::Status()>& settle,
                       const std::function<void()>& forget) {
  const int turns = std::max(1, static_cast<int>(seconds / 0.1));
  const int64_t turn_ns = static_cast<int64_t>(seconds * 1e9 / (2 * turns));
  for (int turn = -2; turn < 2 * turns; ++turn) {
    if (turn == 0) forget();
    const int64_t until = NowNs() + turn_ns;
    do {
      if (absl::Status status = ask(turn % 2 != 0); !status.ok()) return status;
    } while (NowNs() < until);
    if (absl::Status status = settle(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mailrail::bench
