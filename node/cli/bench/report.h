#ifndef MAILRAIL_NODE_CLI_BENCH_REPORT_H_
#define MAILRAIL_NODE_CLI_BENCH_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/samples.h"

namespace mailrail::bench {

// One measured thing: a time with its percentiles, or a rate.
struct ReportRow {
  std::string name;
  struct Time {
    double p50_ns = 0, p99_ns = 0, p999_ns = 0;
  };
  absl::optional<Time> time;
  absl::optional<double> per_s;  // of the report's unit: the median over slices
  uint64_t count = 0;            // how many came, if it is a rate
  uint64_t samples = 0;          // times, or slices
};

// `each`: so many make a sample; the row is of one.
ReportRow TimeRow(const std::string& name, const Samples& samples, uint32_t each = 1);
ReportRow RateRow(const std::string& name, const std::vector<double>& slices, uint64_t count);

// What a measurement found, and where it was made.
struct Report {
  std::string bench;
  std::string unit = "messages";  // else there is no size
  uint64_t size = 0;
  std::string mode;  // how the receivers waited
  std::vector<ReportRow> rows;
  // How often a process slept for each round trip, counted by the kernel: voluntary switches.
  std::vector<double> sleeps_per_round_trip;
  Topology topology;
  std::vector<uint32_t> lines_ns;    // L, before and after
  std::vector<uint32_t> futexes_ns;  // the bare futex exchange, likewise
  std::string to;                    // the far side
};

// A table and where it was measured.
std::string FormatText(const Report& report);

// One object on a line.
std::string FormatJson(const Report& report);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_REPORT_H_
