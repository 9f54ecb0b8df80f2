// latency and wakeup: two processes and a message between them.
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "node/cli/bench/benches.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/traffic.h"

namespace mailrail::bench {
namespace {

struct Shared {
  Samples samples;
  uint64_t sleeps[2] = {};
};

uint64_t Sleeps() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_nvcsw);
}

struct Setting {
  NumberedSender::Style style;
  WaitMode mode;
  double seconds;
  bool futex;  // measure that too
};

absl::Status RunMember(Crew& crew, size_t self, const Setting& what, Shared& shared) {
  absl::StatusOr<Process> process = crew.Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> channel = process->Connect(crew.IdOf(1 - self));
  if (!channel.ok()) return channel.status();
  NumberedSender sender(*std::move(channel), what.style);
  Receiver& inbox = process->inbox();
  inbox.set_wait_mode(what.mode);
  if (self == 0) shared.samples.Prepare();
  crew.MeasureLine(what.futex);
  uint64_t sleeps = 0;
  if (self == 0) {
    const double warm_up = std::min(what.seconds / 4, 0.1);
    absl::Status status = RoundTrips(sender, inbox, what.style, warm_up, nullptr, nullptr);
    if (!status.ok()) return status;
    sleeps = Sleeps();
    status = RoundTrips(sender, inbox, what.style, what.seconds, nullptr, &shared.samples);
    if (!status.ok()) return status;
    shared.sleeps[0] = Sleeps() - sleeps;
    if (status = sender.SendEnd(); !status.ok()) return status;
    if (status = inbox.Receive().status(); !status.ok()) return status;
  } else {
    sleeps = Sleeps();
    if (absl::Status status = Echo(sender, inbox, what.style, nullptr); !status.ok()) return status;
    shared.sleeps[1] = Sleeps() - sleeps;
  }
  crew.MeasureLine(what.futex);
  return absl::OkStatus();
}

absl::StatusOr<Report> Run(const BenchArguments& arguments, const std::string& bench,
                           const std::string& name, Setting what) {
  SharedWithForks<Shared> shared;
  Crew crew(arguments.attach);
  what.style.size = arguments.size;
  what.seconds = arguments.seconds;
  for (size_t i = 0; i < 2; ++i) {
    crew.Add(i == 0 ? "ping" : "pong",
             [&crew, &shared, &what, i] { return RunMember(crew, i, what, *shared); });
  }
  if (absl::Status status = crew.Run(); !status.ok()) return status;
  Report report;
  report.bench = bench;
  report.size = arguments.size;
  report.mode = ModeName(what.mode);
  report.rows.push_back(TimeRow(name, shared->samples));
  if (what.futex) {
    for (const uint64_t sleeps : shared->sleeps) {
      report.sleeps_per_round_trip.push_back(static_cast<double>(sleeps) /
                                             static_cast<double>(shared->samples.count()));
    }
  }
  report.topology = crew.topology();
  report.lines_ns = crew.lines_ns();
  report.futexes_ns = crew.futexes_ns();
  return report;
}

}  // namespace

absl::StatusOr<Report> RunLatency(const BenchArguments& arguments) {
  Setting what = {};
  what.mode = ModeFor(arguments.mode, 2, Crew(arguments.attach).processors());
  what.style.in_place = arguments.in_place;
  if (arguments.in_place) what.style.body = BodyStyle::kEnds;
  return Run(arguments, "latency", arguments.in_place ? "handed over, and back" : "round trip",
             what);
}

absl::StatusOr<Report> RunWakeup(const BenchArguments& arguments) {
  Setting what = {};
  what.mode = WaitMode::kBlock;
  what.futex = true;
  return Run(arguments, "wakeup", "round trip, asleep", what);
}

}  // namespace mailrail::bench
