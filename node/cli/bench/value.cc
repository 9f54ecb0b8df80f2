// region: a shared value, read while nobody writes, and while its writer does.
#include <unistd.h>

#include <atomic>
#include <functional>

#include "absl/strings/str_cat.h"
#include "mailrail/shared_value.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/body.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/pairs.h"
#include "node/cli/bench/samples.h"

namespace mailrail::bench {
namespace {

struct Value {
  char bytes[1024];
};

// How often the writer publishes while the reader reads: never, often, and as fast as it can.
constexpr int64_t kPeriodsNs[] = {-1, 100'000, 0};
constexpr const char* kNames[] = {"read, nobody writes", "read, 10,000 new versions a second",
                                  "read, versions as fast as they go"};

struct Shared {
  Samples reads[3];
  Samples publishes;
  std::atomic<int> done{0};  // phases that the reader has ended
};

class ValueBench {
 public:
  explicit ValueBench(const BenchArguments& arguments)
      : arguments_(arguments), crew_(arguments.attach), name_(absl::StrCat("bench-", getpid())) {}

  absl::StatusOr<Report> Run() {
    crew_.Add("writer", [this] { return Write(); });
    crew_.Add("reader", [this] { return Read(); });
    if (absl::Status status = crew_.Run(); !status.ok()) return status;
    Report report;
    report.bench = "region";
    report.unit = "operations";
    report.mode = "a value of 1 KiB";
    for (size_t i = 0; i < 3; ++i) {
      report.rows.push_back(TimeRow(kNames[i], shared_->reads[i], kPairsPerSample));
    }
    report.rows.push_back(TimeRow("publish, nobody reads", shared_->publishes, kPairsPerSample));
    report.topology = crew_.topology();
    report.lines_ns = crew_.lines_ns();
    return report;
  }

 private:
  absl::Status Write() {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    absl::StatusOr<SharedValue<Value>> value =
        SharedValue<Value>::Create(*process, name_, /*schema=*/0, {.transient = true});
    if (!value.ok()) return value.status();
    uint64_t number = 0;
    Value next;
    absl::Status status;
    const auto publish = [&] {
      WriteBody(next.bytes, sizeof(next.bytes), ++number, BodyStyle::kWhole);
      return (status = value->Publish(next)).ok();
    };
    shared_->publishes.Prepare();
    publish();
    crew_.Meet();
    crew_.MeasureLine();
    for (int phase = 0; phase < 3; ++phase) {
      crew_.Meet();
      for (int64_t due = NowNs(); status.ok() && shared_->done <= phase;) {
        const bool writes = kPeriodsNs[phase] >= 0 && NowNs() >= due;
        if (!writes) continue;
        publish();
        due += kPeriodsNs[phase];
      }
      if (!status.ok()) return status;
    }
    if (!TimePairs(arguments_.seconds / 4, publish, &shared_->publishes)) return status;
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  absl::Status Read() {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    crew_.Meet();
    const absl::StatusOr<SharedValue<Value>> value = SharedValue<Value>::Open(*process, name_);
    if (!value.ok()) return value.status();
    absl::Status status;
    uint64_t last = 0;
    const auto read = [&] {
      const absl::StatusOr<Versioned<Value>> found = value->Read();
      uint64_t number = 0;
      if (!found.ok()) {
        status = found.status();
      } else if (!ReadBody({found->value.bytes, sizeof(found->value.bytes)}, BodyStyle::kWhole,
                           &number) ||
                 number != found->version || number < last) {
        status = absl::DataLossError("a version was read that was never published");
      }
      last = number;
      return status.ok();
    };
    crew_.MeasureLine();
    for (int phase = 0; phase < 3; ++phase) {
      Samples& samples = shared_->reads[phase];
      samples.Prepare();
      crew_.Meet();
      if (TimePairs(arguments_.seconds / 16, read, &samples)) {
        samples.Forget();
        TimePairs(arguments_.seconds / 4, read, &samples);
      }
      shared_->done = phase + 1;
      if (!status.ok()) return status;
    }
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  const BenchArguments arguments_;
  Crew crew_;
  SharedWithForks<Shared> shared_;
  const std::string name_;
};

}  // namespace

absl::StatusOr<Report> RunRegion(const BenchArguments& arguments) {
  ValueBench bench(arguments);
  return bench.Run();
}

}  // namespace mailrail::bench
