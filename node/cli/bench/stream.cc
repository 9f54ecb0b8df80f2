// pipe: one process writes, another reads.
#include <unistd.h>

#include <atomic>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mailrail/pipe.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/body.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/samples.h"

namespace mailrail::bench {
namespace {

struct Shared {
  SliceMeter meter;
  std::atomic<int64_t> begin_ns{0};
  std::atomic<uint64_t> read{0};
};

class PipeBench {
 public:
  explicit PipeBench(const BenchArguments& arguments)
      : arguments_(arguments),
        times_(SliceTimes::Of(arguments.seconds)),
        crew_(arguments.attach),
        name_(absl::StrCat("bench-", getpid())) {}

  absl::StatusOr<Report> Run() {
    crew_.Add("writer", [this] { return WriteAll(); });
    crew_.Add("reader", [this] { return ReadAll(); });
    if (absl::Status status = crew_.Run(); !status.ok()) return status;
    std::vector<double> slices(times_.slices);
    for (size_t i = 0; i < slices.size(); ++i) slices[i] = shared_->meter.Rate(i);
    Report report;
    report.bench = "pipe";
    report.size = arguments_.size;
    report.mode = arguments_.in_place ? "read in place" : "read into a buffer";
    report.rows.push_back(RateRow("written by one, read by one", slices, shared_->read));
    report.topology = crew_.topology();
    report.lines_ns = crew_.lines_ns();
    return report;
  }

 private:
  absl::Status WriteAll() {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    absl::StatusOr<PipeWriter> writer = PipeWriter::Open(*process, name_, {.owned = true});
    if (!writer.ok()) return writer.status();
    std::vector<char> bytes(arguments_.size);
    crew_.MeasureLine();
    shared_->begin_ns = NowNs();
    crew_.Meet();
    const int64_t until = shared_->begin_ns + times_.total_ns();
    for (uint64_t number = 1; NowNs() < until; ++number) {
      WriteBody(bytes.data(), bytes.size(), number, BodyStyle::kWhole);
      if (absl::Status status = writer->Write({bytes.data(), bytes.size()}); !status.ok()) {
        return status;
      }
    }
    // The end of file.
    { const PipeWriter closed = *std::move(writer); }
    // The pipe ends with this process.
    crew_.Meet();
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  absl::Status ReadAll() {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    crew_.MeasureLine();
    crew_.Meet();
    absl::StatusOr<PipeReader> reader = PipeReader::Open(*process, name_, {.create = false});
    if (!reader.ok()) return reader.status();
    reader->receiver().set_wait_mode(
        arguments_.mode.value_or(crew_.processors() > 1 ? WaitMode::kSpin : WaitMode::kAdaptive));
    shared_->meter.Start(times_, shared_->begin_ns, ClockStep(arguments_.size));
    std::vector<char> buffer(arguments_.size);
    uint64_t read = 0;
    while (true) {
      absl::StatusOr<absl::string_view> body =
          arguments_.in_place ? reader->ReadView() : ReadInto(*reader, absl::MakeSpan(buffer));
      if (!body.ok()) return body.status();
      if (body->empty()) break;
      uint64_t number = 0;
      if (!ReadBody(*body, BodyStyle::kWhole, &number) ||
          number != Carried(read + 1, body->size())) {
        return absl::DataLossError("what was read is not what was written");
      }
      ++read;
      shared_->meter.Add(1);
    }
    shared_->read = read;
    crew_.Meet();
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  // All that was written at once; empty at the end of file.
  static absl::StatusOr<absl::string_view> ReadInto(PipeReader& reader, absl::Span<char> buffer) {
    size_t done = 0;
    while (done < buffer.size()) {
      const absl::StatusOr<size_t> read = reader.Read(buffer.subspan(done));
      if (!read.ok()) return read.status();
      if (*read == 0) break;
      done += *read;
    }
    return absl::string_view(buffer.data(), done);
  }

  const BenchArguments arguments_;
  const SliceTimes times_;
  Crew crew_;
  SharedWithForks<Shared> shared_;
  const std::string name_;
};

}  // namespace

absl::StatusOr<Report> RunPipe(const BenchArguments& arguments) {
  if (arguments.size == 0 || (arguments.in_place && arguments.size > kPipeAtomicBytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a write of ", arguments.size, " bytes: of 1 at least, and to be read in place of ",
        kPipeAtomicBytes, " at most"));
  }
  PipeBench bench(arguments);
  return bench.Run();
}

}  // namespace mailrail::bench
