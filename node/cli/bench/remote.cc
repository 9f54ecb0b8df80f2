// remote and serve: to a process on another node and back. The client tells the server what is to
// come in a line of text; empty bodies end a flow.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/traffic.h"
#include "node/cli/command.h"

namespace mailrail::bench {
namespace {

constexpr absl::string_view kHello = "mailrail-bench";
constexpr absl::string_view kReady = "ready";
// Another client may be served first.
constexpr absl::Duration kReadyTimeout = absl::Minutes(2);
// What asks the server to take all bulk; between the priorities of bulk and of what is measured.
constexpr int kSettlePriority = kMaxPriority - 1;
// How much bulk the server takes for each urgent message: so it flows, and never gets room enough.
constexpr int kBulkPerUrgent = 4;
// Bulk that found no room for so long has used up the room everywhere.
constexpr int64_t kStuckNs = 20'000'000;

// --- The server ---

absl::StatusOr<std::vector<uint64_t>> ReadNumbers(const std::vector<std::string>& words,
                                                  size_t from, size_t count) {
  std::vector<uint64_t> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    if (from + i >= words.size() || !absl::SimpleAtoi(words[from + i], &numbers[i])) {
      return absl::InvalidArgumentError("not a command of this version");
    }
  }
  return numbers;
}

class Server {
 public:
  explicit Server(Process& process) : process_(process) {}

  // What a client asked for. An error concerns this client alone.
  absl::Status Answer(const ProcessId& client, absl::string_view command) {
    const std::vector<std::string> words = absl::StrSplit(command, ' ');
    if (words.size() < 2 || words[0] != kHello) return absl::OkStatus();  // the rest of a flow
    if (words[1] == "echo") return EchoAll(client, words);
    if (words[1] == "count") return CountAll(client, words);
    if (words[1] == "urgent") return AnswerUrgent(client, words);
    return absl::InvalidArgumentError("not a command of this version");
  }

 private:
  absl::StatusOr<NumberedSender> Channel(const ProcessId& client, size_t size, int priority) {
    absl::StatusOr<Sender> sender = process_.Connect(client);
    if (!sender.ok()) return sender.status();
    NumberedSender::Style style;
    style.size = size;
    style.priority = priority;
    NumberedSender channel(*std::move(sender), style);
    if (absl::Status status = channel.SendText(kReady); !status.ok()) return status;
    return channel;
  }

  absl::Status EchoAll(const ProcessId& client, const std::vector<std::string>& words) {
    const absl::StatusOr<std::vector<uint64_t>> sizes = ReadNumbers(words, 2, 1);
    if (!sizes.ok()) return sizes.status();
    NumberedSender::Style style;
    style.size = sizes->front();
    absl::StatusOr<NumberedSender> answers = Channel(client, style.size, 0);
    if (!answers.ok()) return answers.status();
    return Echo(*answers, process_.inbox(), style, &client);
  }

  absl::Status CountAll(const ProcessId& client, const std::vector<std::string>& words) {
    const absl::StatusOr<std::vector<uint64_t>> numbers = ReadNumbers(words, 2, 4);
    if (!numbers.ok()) return numbers.status();
    const size_t size = (*numbers)[0];
    SliceTimes times;
    times.warm_up_ns = static_cast<int64_t>((*numbers)[1]);
    times.slice_ns = std::max<int64_t>(1, static_cast<int64_t>((*numbers)[2]));
    times.slices = std::min<size_t>((*numbers)[3], SliceTimes::kMaxSlices);
    absl::StatusOr<NumberedSender> answers = Channel(client, size, 0);
    if (!answers.ok()) return answers.status();
    SliceMeter meter;
    uint64_t count = 0, sum = 0;
    while (true) {
      const absl::StatusOr<Message> message = process_.inbox().ReceiveFrom(client);
      if (!message.ok()) return message.status();
      if (IsEnd(*message, size)) break;
      const absl::StatusOr<uint64_t> number = NumberIn(*message, size, BodyStyle::kWhole);
      if (!number.ok()) return number.status();
      // The time begins with the first message: this host's clock is its own.
      if (count == 0) meter.Start(times, NowNs(), ClockStep(size));
      sum += *number;
      ++count;
      meter.Add(1);
    }
    std::vector<std::string> counted = {absl::StrCat(count), absl::StrCat(sum)};
    for (size_t i = 0; i < times.slices && count > 0; ++i) {
      counted.push_back(absl::StrCat(static_cast<uint64_t>(meter.Rate(i))));
    }
    return answers->SendText(absl::StrJoin(counted, " "));
  }

  absl::Status AnswerUrgent(const ProcessId& client, const std::vector<std::string>& words) {
    const absl::StatusOr<std::vector<uint64_t>> sizes = ReadNumbers(words, 2, 2);
    if (!sizes.ok()) return sizes.status();
    const absl::StatusOr<ProcessId> bulk = ProcessId::Parse(words.size() > 4 ? words[4] : "");
    if (!bulk.ok()) return bulk.status();
    absl::StatusOr<NumberedSender> answers = Channel(client, (*sizes)[0], kMaxPriority);
    if (!answers.ok()) return answers.status();
    while (true) {
      const absl::StatusOr<Message> message = process_.inbox().ReceiveFrom(client);
      if (!message.ok()) return message.status();
      const bool settle = message->priority() == kSettlePriority;
      if (!settle && IsEnd(*message, (*sizes)[0])) return absl::OkStatus();
      if (!settle) {
        const absl::StatusOr<uint64_t> number = NumberIn(*message, (*sizes)[0], BodyStyle::kWhole);
        if (!number.ok()) return number.status();
        if (absl::Status status = answers->Send(*number); !status.ok()) return status;
      }
      if (absl::Status status = TakeBulk(*bulk, (*sizes)[1], settle); !status.ok()) return status;
      if (!settle) continue;
      if (absl::Status status = answers->SendEnd(); !status.ok()) return status;
    }
  }

  // A few messages, or all up to the one that ends them.
  absl::Status TakeBulk(const ProcessId& bulk, size_t size, bool all) {
    for (int i = 0; all || i < kBulkPerUrgent; ++i) {
      const absl::StatusOr<Message> message =
          process_.inbox().ReceiveFrom(bulk, all ? absl::InfiniteFuture() : absl::InfinitePast());
      if (absl::IsDeadlineExceeded(message.status())) return absl::OkStatus();
      if (!message.ok()) return message.status();
      if (IsEnd(*message, size)) return absl::OkStatus();
      const absl::StatusOr<uint64_t> number = NumberIn(*message, size, BodyStyle::kWhole);
      if (!number.ok()) return number.status();
    }
    return absl::OkStatus();
  }

  Process& process_;
};

// --- The client ---

struct Shared {
  Samples round_trip, unloaded, loaded;
  double rates[SliceTimes::kMaxSlices] = {};
  size_t slices = 0;
  uint64_t messages = 0;
  char server[160] = {};
};

class Client {
 public:
  Client(const BenchArguments& arguments, WaitMode mode, Shared& shared)
      : arguments_(arguments), mode_(mode), shared_(shared) {
    shared.round_trip.Prepare();
    shared.unloaded.Prepare();
    shared.loaded.Prepare();
  }

  absl::Status Run(Process& process) {
    const std::string name = absl::StrCat(arguments_.name, "@", arguments_.node);
    absl::StatusOr<ProcessId> server = process.Resolve(name);
    if (absl::IsNotFound(server.status())) {
      return absl::NotFoundError(
          absl::StrCat("nobody is called ", name, "; start it there with: mailrail bench serve"));
    }
    if (!server.ok()) return server.status();
    server_ = *server;
    snprintf(shared_.server, sizeof(shared_.server), "%s", server_.ToString().c_str());
    process.inbox().set_wait_mode(mode_);
    if (absl::Status status = RoundTripPart(process); !status.ok()) return status;
    if (absl::Status status = FloodPart(process); !status.ok()) return status;
    return UrgentPart(process);
  }

 private:
  absl::StatusOr<NumberedSender> Channel(Process& process, size_t size, int priority) {
    absl::StatusOr<Sender> sender = process.Connect(server_);
    if (!sender.ok()) return sender.status();
    NumberedSender::Style style;
    style.size = size;
    style.priority = priority;
    return NumberedSender(*std::move(sender), style);
  }

  absl::Status Order(Process& process, NumberedSender& sender, const std::string& command) {
    absl::Status status = sender.SendText(absl::StrCat(kHello, " ", command));
    if (!status.ok()) return status;
    const absl::StatusOr<Message> answer =
        process.inbox().ReceiveFrom(server_, absl::Now() + kReadyTimeout);
    if (!answer.ok()) return answer.status();
    return answer->body() == kReady ? absl::OkStatus()
                                    : absl::UnimplementedError(std::string(answer->body()));
  }

  absl::Status RoundTripPart(Process& process) {
    absl::StatusOr<NumberedSender> sender = Channel(process, arguments_.size, 0);
    if (!sender.ok()) return sender.status();
    absl::Status status = Order(process, *sender, absl::StrCat("echo ", arguments_.size));
    if (!status.ok()) return status;
    NumberedSender::Style style;
    style.size = arguments_.size;
    for (Samples* const samples : {static_cast<Samples*>(nullptr), &shared_.round_trip}) {
      const double seconds = samples == nullptr ? arguments_.seconds / 4 : arguments_.seconds;
      status = RoundTrips(*sender, process.inbox(), style, seconds, &server_, samples);
      if (!status.ok()) return status;
    }
    if (status = sender->SendEnd(); !status.ok()) return status;
    return process.inbox().ReceiveFrom(server_).status();
  }

  absl::Status FloodPart(Process& process) {
    absl::StatusOr<NumberedSender> sender = Channel(process, arguments_.size, 0);
    if (!sender.ok()) return sender.status();
    const SliceTimes times = SliceTimes::Of(arguments_.seconds);
    absl::Status status = Order(process, *sender,
                                absl::StrCat("count ", arguments_.size, " ", times.warm_up_ns, " ",
                                             times.slice_ns, " ", times.slices));
    if (!status.ok()) return status;
    uint64_t number = 0, sum = 0;
    // The far side's time begins a little later.
    const int64_t until = NowNs() + times.total_ns() + times.slice_ns / 4;
    do {
      for (uint32_t i = ClockStep(arguments_.size); i > 0; --i) {
        sum += Carried(++number, arguments_.size);
        if (status = sender->Send(number); !status.ok()) return status;
      }
    } while (NowNs() < until);
    if (status = sender->SendEnd(); !status.ok()) return status;
    const absl::StatusOr<Message> answer = process.inbox().ReceiveFrom(server_);
    if (!answer.ok()) return answer.status();
    const std::vector<std::string> words = absl::StrSplit(answer->body(), ' ');
    const absl::StatusOr<std::vector<uint64_t>> counted = ReadNumbers(words, 0, words.size());
    if (!counted.ok()) return counted.status();
    if (counted->size() != 2 + times.slices || (*counted)[0] != number || (*counted)[1] != sum) {
      return absl::DataLossError("what was received is not what was sent");
    }
    shared_.slices = times.slices;
    shared_.messages = number;
    for (size_t i = 0; i < times.slices; ++i) {
      shared_.rates[i] = static_cast<double>((*counted)[2 + i]);
    }
    return absl::OkStatus();
  }

  // The bulk comes from another process, of this program too, so that the far side can take the one
  // and leave the other.
  absl::Status UrgentPart(Process& process) {
    absl::StatusOr<Process> other = Process::Attach(arguments_.attach);
    if (!other.ok()) return other.status();
    absl::StatusOr<NumberedSender> bulk = Channel(*other, arguments_.bulk_size, 0);
    absl::StatusOr<NumberedSender> urgent = Channel(process, arguments_.size, kMaxPriority);
    absl::StatusOr<NumberedSender> settle = Channel(process, 1, kSettlePriority);
    for (const absl::Status& status : {bulk.status(), urgent.status(), settle.status()}) {
      if (!status.ok()) return status;
    }
    absl::Status status = Order(process, *urgent,
                                absl::StrCat("urgent ", arguments_.size, " ", arguments_.bulk_size,
                                             " ", other->id().ToString()));
    if (!status.ok()) return status;
    NumberedSender::Style style;
    style.size = arguments_.size;
    uint64_t number = 0;
    bool stuck = false;
    status = Alternate(
        arguments_.seconds,
        [&](bool loaded) {
          absl::Status filled = loaded ? Fill(*bulk, ++number, stuck ? 0 : kStuckNs) : status;
          stuck = loaded;
          if (!filled.ok()) return filled;
          return RoundTrip(*urgent, process.inbox(), style, ++number, &server_,
                           loaded ? &shared_.loaded : &shared_.unloaded);
        },
        [&] {
          stuck = false;
          // First the far side is asked to make room.
          if (absl::Status asked = settle->SendEnd(); !asked.ok()) return asked;
          if (absl::Status ended = bulk->SendEnd(); !ended.ok()) return ended;
          return process.inbox().ReceiveFrom(server_).status();
        },
        [&] {
          shared_.unloaded.Forget();
          shared_.loaded.Forget();
        });
    return status.ok() ? urgent->SendEnd() : status;
  }

  // Until there was no room for so long.
  static absl::Status Fill(NumberedSender& bulk, uint64_t number, int64_t stuck_ns) {
    for (int64_t full_since = 0;;) {
      const absl::Status status = bulk.Send(number, absl::InfinitePast());
      if (status.ok()) {
        full_since = 0;
        continue;
      }
      if (!absl::IsDeadlineExceeded(status)) return status;
      const int64_t now = NowNs();
      if (full_since == 0) full_since = now;
      if (now - full_since >= stuck_ns) return absl::OkStatus();
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  const BenchArguments& arguments_;
  const WaitMode mode_;
  Shared& shared_;
  ProcessId server_;
};

}  // namespace

absl::StatusOr<Report> RunRemote(const BenchArguments& arguments) {
  SharedWithForks<Shared> shared;
  Crew crew(arguments.attach);
  crew.DoNotPin();
  const WaitMode mode = arguments.mode.value_or(WaitMode::kAdaptive);
  crew.Add("client", [&] {
    absl::StatusOr<Process> process = crew.Join();
    if (!process.ok()) return process.status();
    crew.MeasureLine();
    if (absl::Status status = Client(arguments, mode, *shared).Run(*process); !status.ok()) {
      return status;
    }
    crew.MeasureLine();
    return absl::OkStatus();
  });
  crew.Add("the other end of L", [&] {
    crew.JoinWithoutAttaching();
    crew.MeasureLine();
    crew.MeasureLine();
    return absl::OkStatus();
  });
  if (absl::Status status = crew.Run(); !status.ok()) return status;
  Report report;
  report.bench = "remote";
  report.size = arguments.size;
  report.mode = ModeName(mode);
  report.rows.push_back(TimeRow("round trip", shared->round_trip));
  report.rows.push_back(
      RateRow("one way", {shared->rates, shared->rates + shared->slices}, shared->messages));
  report.rows.push_back(TimeRow("urgent round trip, unloaded", shared->unloaded));
  report.rows.push_back(TimeRow("urgent round trip, behind bulk", shared->loaded));
  report.topology = crew.topology();
  report.lines_ns = crew.lines_ns();
  report.to = shared->server;
  return report;
}

absl::Status RunServe(const BenchArguments& arguments) {
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction end = {};
    end.sa_handler = [](int) { _exit(0); };
    sigaction(number, &end, nullptr);
  }
  absl::StatusOr<Process> process = Process::Attach(arguments.attach);
  if (!process.ok()) return process.status();
  if (absl::Status status = process->RegisterName(arguments.name); !status.ok()) return status;
  process->inbox().set_wait_mode(arguments.mode.value_or(WaitMode::kAdaptive));
  absl::Status status = cli::Print(
      absl::StrCat("serving as ", process->id().ToString(), ", also called ", arguments.name,
                   "; from another node: mailrail bench remote --to ", process->id().node(), "\n"));
  if (!status.ok()) return status;
  Server server(*process);
  while (true) {
    const absl::StatusOr<Message> message = process->inbox().Receive();
    // Damaged memory ends its sender's lane alone.
    if (absl::IsDataLoss(message.status())) continue;
    if (!message.ok()) return message.status();
    // A client that has gone, or is of another version, is no reason not to serve the next.
    const absl::Status answered =
        server.Answer(message->sender(), std::string(message->body().substr(0, 400)));
    if (!answered.ok()) {
      cli::Report(cli::Annotate(message->sender().ToString(), answered));
    }
  }
}

}  // namespace mailrail::bench
