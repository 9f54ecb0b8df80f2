// priority: an urgent message whose own sender's bulk has used up its room.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "node/cli/bench/benches.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/traffic.h"

namespace mailrail::bench {
namespace {

constexpr int64_t kHeadStartNs = 2000;
constexpr int kSpinsBeforeYield = 20'000;

struct Shared {
  Samples unloaded, loaded;
  // How many urgent messages were about to be sent: before that the receiver takes no bulk, so that
  // the room is used up whatever the receiver's speed.
  alignas(128) std::atomic<uint64_t> announced{0};
};

struct Urgent {
  NumberedSender::Style urgent, bulk;
  WaitMode mode;
  double seconds;
};

bool IsBulk(const Message& message) { return message.priority() < kUrgentPriority; }

// The end of the flow tells the receiver that all bulk before it has been taken.
absl::Status Settle(NumberedSender& bulk, Receiver& inbox, std::atomic<uint64_t>& announced) {
  ++announced;
  if (absl::Status status = bulk.SendEnd(); !status.ok()) return status;
  return inbox.Receive().status();
}

// Sends as much bulk as there is room for, until `until` at least.
absl::Status Fill(NumberedSender& bulk, uint64_t number, int64_t until) {
  while (true) {
    const absl::Status status = bulk.Send(number, absl::InfinitePast());
    if (status.ok()) continue;
    if (!absl::IsDeadlineExceeded(status)) return status;
    if (NowNs() >= until) return absl::OkStatus();
  }
}

// Fills the room of bulk, then sends an urgent message and waits for it to come back.
absl::Status Ask(NumberedSender& urgent, NumberedSender* bulk, Receiver& inbox, uint64_t number,
                 const Urgent& what, Shared& shared, Samples* samples) {
  if (bulk != nullptr) {
    if (absl::Status status = Fill(*bulk, number, 0); !status.ok()) return status;
  }
  ++shared.announced;
  // Meanwhile the receiver begins to receive.
  const int64_t send_at = NowNs() + kHeadStartNs;
  while (bulk == nullptr && NowNs() < send_at) {
  }
  if (bulk != nullptr) {
    if (absl::Status status = Fill(*bulk, number, send_at); !status.ok()) return status;
  }
  return RoundTrip(urgent, inbox, what.urgent, number, nullptr, samples);
}

absl::Status AskAll(Crew& crew, const Urgent& what, Shared& shared) {
  absl::StatusOr<Process> process = crew.Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> first = process->Connect(crew.IdOf(1));
  if (!first.ok()) return first.status();
  absl::StatusOr<Sender> second = process->Connect(crew.IdOf(1));
  if (!second.ok()) return second.status();
  NumberedSender urgent(*std::move(first), what.urgent), bulk(*std::move(second), what.bulk);
  Receiver& inbox = process->inbox();
  inbox.set_wait_mode(what.mode);
  shared.unloaded.Prepare();
  shared.loaded.Prepare();
  crew.MeasureLine();
  uint64_t number = 0;
  const absl::Status status = Alternate(
      what.seconds,
      [&](bool loaded) {
        return Ask(urgent, loaded ? &bulk : nullptr, inbox, ++number, what, shared,
                   loaded ? &shared.loaded : &shared.unloaded);
      },
      [&] { return Settle(bulk, inbox, shared.announced); },
      [&] {
        shared.unloaded.Forget();
        shared.loaded.Forget();
      });
  if (!status.ok()) return status;
  ++shared.announced;
  if (absl::Status ended = urgent.SendEnd(); !ended.ok()) return ended;
  crew.MeasureLine();
  return absl::OkStatus();
}

absl::Status AnswerAll(Crew& crew, const Urgent& what, Shared& shared) {
  absl::StatusOr<Process> process = crew.Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> channel = process->Connect(crew.IdOf(0));
  if (!channel.ok()) return channel.status();
  NumberedSender answers(*std::move(channel), what.urgent);
  process->inbox().set_wait_mode(what.mode);
  crew.MeasureLine();
  for (uint64_t answered = 0;;) {
    const absl::StatusOr<Message> message = process->inbox().Receive();
    if (!message.ok()) return message.status();
    absl::Status status;
    const NumberedSender::Style& style = IsBulk(*message) ? what.bulk : what.urgent;
    if (!IsEnd(*message, style.size)) {
      const absl::StatusOr<uint64_t> number = NumberIn(*message, style.size, style.body);
      if (!number.ok()) return number.status();
      if (IsBulk(*message)) continue;
      status = answers.Send(*number);
    } else if (IsBulk(*message)) {
      status = answers.SendEnd();
    } else {
      break;
    }
    if (!status.ok()) return status;
    ++answered;
    for (int spins = 0; shared.announced == answered; ++spins) {
      // Where both have a processor this would let others have it, when the message is about to
      // come.
      const bool yields = what.mode != WaitMode::kSpin;
      if (yields && spins % kSpinsBeforeYield == kSpinsBeforeYield - 1) sched_yield();
    }
  }
  crew.MeasureLine();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> RunPriority(const BenchArguments& arguments) {
  SharedWithForks<Shared> shared;
  Crew crew(arguments.attach);
  Urgent what;
  what.urgent.size = arguments.size;
  what.urgent.priority = kMaxPriority;
  what.bulk.size = arguments.bulk_size;
  what.mode = ModeFor(arguments.mode, 2, crew.processors());
  what.seconds = arguments.seconds;
  crew.Add("sender", [&] { return AskAll(crew, what, *shared); });
  crew.Add("receiver", [&] { return AnswerAll(crew, what, *shared); });
  if (absl::Status status = crew.Run(); !status.ok()) return status;
  Report report;
  report.bench = "priority";
  report.size = arguments.size;
  report.mode = ModeName(what.mode);
  report.rows.push_back(TimeRow("urgent round trip, unloaded", shared->unloaded));
  report.rows.push_back(TimeRow("urgent round trip, behind bulk", shared->loaded));
  report.topology = crew.topology();
  report.lines_ns = crew.lines_ns();
  return report;
}

}  // namespace mailrail::bench
