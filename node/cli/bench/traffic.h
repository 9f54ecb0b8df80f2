// What the measurements share: messages that change, sent and checked.
#ifndef MAILRAIL_NODE_CLI_BENCH_TRAFFIC_H_
#define MAILRAIL_NODE_CLI_BENCH_TRAFFIC_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "mailrail/message.h"
#include "mailrail/receiver.h"
#include "mailrail/sender.h"
#include "node/cli/bench/body.h"
#include "node/cli/bench/samples.h"

namespace mailrail::bench {

// "spin", "adaptive", "block".
const char* ModeName(WaitMode mode);

// `asked`, or what suits so many processes on so many processors.
WaitMode ModeFor(absl::optional<WaitMode> asked, size_t processes, size_t processors);

// Sends messages of one size. Thread-compatible.
class NumberedSender {
 public:
  struct Style {
    size_t size = 64;
    bool in_place = false;  // written into the claimed room, not copied
    BodyStyle body = BodyStyle::kWhole;
    int priority = 0;
    size_t batch = 1;
    size_t keys = 0;        // so many, one after the other; 0: none
    bool receipts = false;  // asks for one for each message, and takes them, some at a time
  };

  NumberedSender(Sender sender, const Style& style);

  // Sends the message that carries `number`.
  absl::Status Send(uint64_t number, absl::Time deadline = absl::InfiniteFuture());

  // Sends a batch: `number` and those after it.
  absl::Status SendBatch(uint64_t number);

  // Waits for all receipts that are to come. kDataLoss when a message was not received.
  absl::Status TakeReceipts(absl::Time deadline = absl::InfiniteFuture());

  // Sends what ends a flow: an empty body, or one of a byte where the flow's are empty. It has no
  // key, and no receipt.
  absl::Status SendEnd() {
    options_.key.clear();
    options_.receipt = 0;
    return sender_.Send(style_.size == 0 ? "." : "", options_);
  }

  // Sends a body of its own kind.
  absl::Status SendText(absl::string_view text) { return sender_.Send(text, options_); }

 private:
  Sender sender_;
  const Style style_;
  SendOptions options_;
  size_t sends_ = 0;
  std::vector<std::string> keys_;
  std::vector<std::string> bodies_;
  std::vector<absl::string_view> views_;
};

// Whether a message ends a flow of such bodies.
inline bool IsEnd(const Message& message, size_t size) {
  return message.body().size() == (size == 0 ? 1 : 0);
}

// The number that `message` carries. kDataLoss when the body is not what was written.
absl::StatusOr<uint64_t> NumberIn(const Message& message, size_t size, BodyStyle style);

// Sends `number` and receives it back from `receiver` (in an inbox: from `peer`, if given); adds
// the time to `samples` if it is not null.
absl::Status RoundTrip(NumberedSender& sender, Receiver& receiver,
                       const NumberedSender::Style& style, uint64_t number, const ProcessId* peer,
                       Samples* samples);

// The same again and again for `seconds`.
absl::Status RoundTrips(NumberedSender& sender, Receiver& receiver,
                        const NumberedSender::Style& style, double seconds, const ProcessId* peer,
                        Samples* samples);

// Sends what it receives from `receiver` (from `peer`, if given) back through `sender`, until an
// empty body has come, and that too.
absl::Status Echo(NumberedSender& sender, Receiver& receiver, const NumberedSender::Style& style,
                  const ProcessId* peer);

// Calls `ask(loaded)` for `seconds`, in turns of about 50 ms without and with load, so that both
// see the same machine, and `settle` after each turn. One turn of each comes before, to warm up,
// and then `forget`.
absl::Status Alternate(double seconds, const std::function<absl::Status(bool loaded)>& ask,
                       const std::function<absl::Status()>& settle,
                       const std::function<void()>& forget);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_TRAFFIC_H_
