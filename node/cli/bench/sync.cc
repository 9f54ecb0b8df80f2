// lock, sem and barrier: one process alone, and two that want the same.
#include "mailrail/sync.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/pairs.h"

namespace mailrail::bench {
namespace {

struct Shared {
  Samples alone[2];
  SliceMeter meters[2];
  std::atomic<int64_t> begin_ns{0};
  std::atomic<uint64_t> counts[2] = {};
  std::atomic<uint64_t> last_round{0};
  alignas(128) uint64_t guarded = 0;
};

double WarmUp(double seconds) { return std::min(seconds / 4, 0.1); }

// One thing that is measured by two processes that are pinned each to a processor. Its name is the
// caller's alone, and it goes with the processes.
class SyncBench {
 public:
  explicit SyncBench(const BenchArguments& arguments)
      : arguments_(arguments),
        times_(SliceTimes::Of(arguments.seconds)),
        crew_(arguments.attach),
        name_(absl::StrCat("bench-", getpid())) {}

  absl::StatusOr<Report> Run(const std::string& bench,
                             const std::function<absl::Status(size_t self)>& work) {
    for (size_t i = 0; i < 2; ++i) {
      crew_.Add(i == 0 ? "first" : "second", [&work, i] { return work(i); });
    }
    if (absl::Status status = crew_.Run(); !status.ok()) return status;
    Report report;
    report.bench = bench;
    report.unit = "operations";
    report.mode = "two processes";
    report.topology = crew_.topology();
    report.lines_ns = crew_.lines_ns();
    return report;
  }

  // The first process calls `pair` while the other one waits.
  template <typename P>
  absl::Status Alone(size_t self, size_t which, P pair) {
    if (self != 0) {
      crew_.Meet();
      return absl::OkStatus();
    }
    Samples& samples = shared_->alone[which];
    samples.Prepare();
    absl::Status status;
    const auto call = [&] { return (status = pair()).ok(); };
    if (TimePairs(WarmUp(arguments_.seconds), call, &samples)) {
      samples.Forget();
      TimePairs(arguments_.seconds, call, &samples);
    }
    crew_.Meet();
    return status;
  }

  // Both call `pair`, which adds to guarded() alone.
  template <typename P>
  absl::Status Together(size_t self, P pair) {
    if (self == 0) shared_->begin_ns = NowNs();
    crew_.Meet();
    shared_->meters[self].Start(times_, shared_->begin_ns, 64);
    absl::Status status;
    uint64_t count = 0;
    CountPairs(
        shared_->begin_ns + times_.total_ns(), [&] { return (status = pair()).ok(); },
        &shared_->meters[self], &count);
    shared_->counts[self] = count;
    return status;
  }

  ReportRow AloneRow(const std::string& name, size_t which) const {
    return TimeRow(name, shared_->alone[which], kPairsPerSample);
  }

  // kDataLoss when some were lost: then they were not alone.
  absl::StatusOr<ReportRow> TogetherRow(const std::string& name) const {
    const uint64_t count = shared_->counts[0] + shared_->counts[1];
    if (shared_->guarded != count) {
      return absl::DataLossError(
          absl::StrCat(count, " were counted, and under the lock ", shared_->guarded));
    }
    std::vector<double> slices(times_.slices);
    for (size_t i = 0; i < slices.size(); ++i) {
      slices[i] = shared_->meters[0].Rate(i) + shared_->meters[1].Rate(i);
    }
    return RateRow(name, slices, count);
  }

  const std::string& name() const { return name_; }
  Crew& crew() { return crew_; }
  Shared& shared() { return *shared_; }
  double seconds() const { return arguments_.seconds; }

 private:
  const BenchArguments arguments_;
  const SliceTimes times_;
  Crew crew_;
  SharedWithForks<Shared> shared_;
  const std::string name_;
};

constexpr OpenOptions kTransient = {.create = true, .transient = true};

absl::Status LockMember(SyncBench& bench, size_t self) {
  absl::StatusOr<Process> process = bench.crew().Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Mutex> mutex = Mutex::Open(*process, bench.name(), kTransient);
  if (!mutex.ok()) return mutex.status();
  uint64_t* const guarded = &bench.shared().guarded;
  const auto lock_and_unlock = [&mutex](uint64_t* counted) {
    if (absl::Status status = mutex->Lock().status(); !status.ok()) return status;
    ++*counted;
    return mutex->Unlock();
  };
  bench.crew().MeasureLine();
  uint64_t own = 0;
  absl::Status status = bench.Alone(self, 0, [&] { return lock_and_unlock(&own); });
  if (!status.ok()) return status;
  status = bench.Together(self, [&] { return lock_and_unlock(guarded); });
  bench.crew().MeasureLine();
  return status;
}

absl::Status SemaphoreMember(SyncBench& bench, size_t self) {
  absl::StatusOr<Process> process = bench.crew().Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Semaphore> semaphore =
      Semaphore::Open(*process, bench.name(), {.units = 1, .most_units = 1, .open = kTransient});
  if (!semaphore.ok()) return semaphore.status();
  uint64_t* const guarded = &bench.shared().guarded;
  const auto acquire_and_release = [&semaphore](uint64_t* counted) {
    absl::StatusOr<Semaphore::Permit> permit = semaphore->Acquire();
    if (!permit.ok()) return permit.status();
    ++*counted;
    return permit->Release();
  };
  const auto wait_and_post = [&semaphore] {
    if (absl::Status status = semaphore->Wait(); !status.ok()) return status;
    return semaphore->Post();
  };
  bench.crew().MeasureLine();
  uint64_t own = 0;
  absl::Status status = bench.Alone(self, 0, [&] { return acquire_and_release(&own); });
  if (!status.ok()) return status;
  if (status = bench.Alone(self, 1, wait_and_post); !status.ok()) return status;
  status = bench.Together(self, [&] { return acquire_and_release(guarded); });
  bench.crew().MeasureLine();
  return status;
}

absl::Status BarrierMember(SyncBench& bench, size_t self) {
  absl::StatusOr<Process> process = bench.crew().Join();
  if (!process.ok()) return process.status();
  absl::StatusOr<Barrier> barrier = Barrier::Open(*process, bench.name(), 2, kTransient);
  if (!barrier.ok()) return barrier.status();
  Samples* const samples = self == 0 ? &bench.shared().alone[0] : nullptr;
  if (samples != nullptr) samples->Prepare();
  bench.crew().MeasureLine();
  absl::Status status;
  const auto round = [&] { return (status = barrier->Wait().status()).ok(); };
  TimeRounds(bench.seconds(), round, &bench.shared().last_round, samples);
  if (!status.ok()) return status;
  bench.crew().MeasureLine();
  return status;
}

}  // namespace

absl::StatusOr<Report> RunLock(const BenchArguments& arguments) {
  SyncBench bench(arguments);
  absl::StatusOr<Report> report =
      bench.Run("lock", [&bench](size_t self) { return LockMember(bench, self); });
  if (!report.ok()) return report;
  report->rows.push_back(bench.AloneRow("lock and unlock, alone", 0));
  const absl::StatusOr<ReportRow> together = bench.TogetherRow("lock and unlock, two processes");
  if (!together.ok()) return together.status();
  report->rows.push_back(*together);
  return report;
}

absl::StatusOr<Report> RunSemaphore(const BenchArguments& arguments) {
  SyncBench bench(arguments);
  absl::StatusOr<Report> report =
      bench.Run("sem", [&bench](size_t self) { return SemaphoreMember(bench, self); });
  if (!report.ok()) return report;
  report->rows.push_back(bench.AloneRow("acquire and release, alone", 0));
  report->rows.push_back(bench.AloneRow("wait and post, alone", 1));
  const absl::StatusOr<ReportRow> together =
      bench.TogetherRow("acquire and release, two processes");
  if (!together.ok()) return together.status();
  report->rows.push_back(*together);
  return report;
}

absl::StatusOr<Report> RunBarrier(const BenchArguments& arguments) {
  SyncBench bench(arguments);
  absl::StatusOr<Report> report =
      bench.Run("barrier", [&bench](size_t self) { return BarrierMember(bench, self); });
  if (!report.ok()) return report;
  report->rows.push_back(TimeRow("a round of two processes", bench.shared().alone[0]));
  return report;
}

}  // namespace mailrail::bench
