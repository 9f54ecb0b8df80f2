#include "node/cli/bench/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "node/cli/table.h"
#include "node/config/units.h"

namespace mailrail::bench {
namespace {

using cli::Table;
using Json = nlohmann::ordered_json;

std::string TimeText(double ns) {
  if (ns < 100 && ns != std::floor(ns)) return absl::StrFormat("%.1f ns", ns);
  if (ns < 10e3) return absl::StrFormat("%.0f ns", ns);
  if (ns < 10e6) return absl::StrFormat("%.1f us", ns / 1e3);
  return absl::StrFormat("%.1f ms", ns / 1e6);
}

std::string RateText(double rate) {
  if (rate >= 1e6) return absl::StrFormat("%.2f M/s", rate / 1e6);
  if (rate >= 1e3) return absl::StrFormat("%.1f k/s", rate / 1e3);
  return absl::StrFormat("%.0f /s", rate);
}

std::string BytesText(double rate) {
  return rate >= 1e9 ? absl::StrFormat("%.2f GB/s", rate / 1e9)
                     : absl::StrFormat("%.1f MB/s", rate / 1e6);
}

double Mean(const std::vector<uint32_t>& values) {
  double sum = 0;
  for (const uint32_t value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

std::string Places(const Topology& topology) {
  std::vector<std::string> places;
  for (const Topology::Place& place : topology.places) {
    if (place.processor >= 0) {
      places.push_back(absl::StrCat(place.role, " on processor ", place.processor));
    }
  }
  const std::string of =
      absl::StrCat(topology.processors, topology.processors == 1 ? " processor" : " processors");
  if (places.empty()) {
    return absl::StrCat(topology.places.size(), " processes on ", of, ", not pinned");
  }
  return absl::StrCat(absl::StrJoin(places, ", "), " (", topology.first_two, "; ", of, ")");
}

// Whole numbers as such.
Json Number(double value) {
  return value == std::floor(value) ? Json(static_cast<uint64_t>(value)) : Json(value);
}

std::string Nanoseconds(const std::vector<uint32_t>& values) {
  return absl::StrJoin(values, " ns, ") + " ns";
}

Json TopologyJson(const Topology& topology) {
  Json json = {{"processors", topology.processors}, {"first_two", topology.first_two}};
  json["processes"] = Json::array();
  for (const Topology::Place& place : topology.places) {
    Json one = {{"role", place.role}};
    one["processor"] = place.processor >= 0 ? Json(place.processor) : Json();
    json["processes"].push_back(one);
  }
  return json;
}

}  // namespace

ReportRow TimeRow(const std::string& name, const Samples& samples, uint32_t each) {
  const std::vector<uint32_t> sorted = samples.Sorted();
  ReportRow row;
  row.name = name;
  row.time = ReportRow::Time{static_cast<double>(Percentile(sorted, 0.5)) / each,
                             static_cast<double>(Percentile(sorted, 0.99)) / each,
                             static_cast<double>(Percentile(sorted, 0.999)) / each};
  row.samples = sorted.size();
  return row;
}

ReportRow RateRow(const std::string& name, const std::vector<double>& slices, uint64_t count) {
  ReportRow row;
  row.name = name;
  row.per_s = Median(slices);
  row.count = count;
  row.samples = slices.size();
  return row;
}

std::string FormatText(const Report& report) {
  const auto any = [&report](auto has) {
    return std::any_of(report.rows.begin(), report.rows.end(), has);
  };
  const bool times = any([](const ReportRow& row) { return row.time.has_value(); });
  const bool rates = any([](const ReportRow& row) { return row.per_s.has_value(); });
  std::vector<Table::Column> columns = {{"MEASURED"}};
  const auto add = [&columns](bool shown, const std::vector<std::string>& titles) {
    for (const std::string& title : titles) {
      if (shown) columns.push_back({title, Table::Align::kRight});
    }
  };
  add(times, {"P50", "P99", "P99.9", "P50 / L"});
  const bool of_messages = report.unit == Report().unit;
  add(rates, {absl::AsciiStrToUpper(report.unit)});
  add(rates && of_messages, {"BYTES"});
  add(true, {"SAMPLES"});
  Table table(columns);
  const double line = Mean(report.lines_ns);
  for (const ReportRow& row : report.rows) {
    std::vector<std::string> cells = {row.name};
    if (times) {
      const ReportRow::Time time = row.time.value_or(ReportRow::Time());
      const bool has = row.time.has_value();
      for (const double ns : {time.p50_ns, time.p99_ns, time.p999_ns}) {
        cells.push_back(has ? TimeText(ns) : "");
      }
      cells.push_back(has && line > 0 ? absl::StrFormat("%.2f", time.p50_ns / line) : "");
    }
    if (rates) {
      const double rate = row.per_s.value_or(0);
      const bool has = row.per_s.has_value();
      cells.push_back(has ? RateText(rate) : "");
      const std::string bytes = has ? BytesText(rate * static_cast<double>(report.size)) : "";
      if (of_messages) cells.push_back(bytes);
    }
    cells.push_back(absl::StrCat(row.samples));
    table.AddRow(std::move(cells));
  }
  std::string text = absl::StrCat(
      "bench ", report.bench, ": ", of_messages ? FormatSize(report.size) + " bytes, " : "",
      report.mode, report.to.empty() ? "" : " to ", report.to, "\n\n", table.ToString(), "\n");
  absl::StrAppend(&text, "where: ", Places(report.topology), "\n");
  if (!report.lines_ns.empty()) {
    absl::StrAppend(&text, "L, a cache line there and back: ", Nanoseconds(report.lines_ns),
                    " (before, after)\n");
  }
  if (!report.futexes_ns.empty()) {
    absl::StrAppend(&text, "a bare futex exchange: ", Nanoseconds(report.futexes_ns),
                    " (before, after)\n");
  }
  if (!report.sleeps_per_round_trip.empty()) {
    absl::StrAppend(&text, "sleeps per round trip: ",
                    absl::StrJoin(report.sleeps_per_round_trip, ", ",
                                  [](std::string* out, double sleeps) {
                                    absl::StrAppendFormat(out, "%.2f", sleeps);
                                  }),
                    " (the kernel's count of each process's voluntary switches)\n");
  }
  return text;
}

std::string FormatJson(const Report& report) {
  Json json = {{"bench", report.bench}};
  if (report.unit == Report().unit) json["size"] = report.size;
  json["mode"] = report.mode;
  if (!report.to.empty()) json["to"] = report.to;
  json["results"] = Json::array();
  for (const ReportRow& row : report.rows) {
    Json one = {{"name", row.name}, {"unit", row.time.has_value() ? "ns" : report.unit + "/s"}};
    one["percentiles"] = row.time.has_value() ? Json{{"p50", Number(row.time->p50_ns)},
                                                     {"p99", Number(row.time->p99_ns)},
                                                     {"p99.9", Number(row.time->p999_ns)}}
                                              : Json();
    one["rate"] = row.per_s.has_value() ? Json(*row.per_s) : Json();
    if (row.per_s.has_value()) one[report.unit] = row.count;
    one["samples"] = row.samples;
    json["results"].push_back(one);
  }
  json["topology"] = TopologyJson(report.topology);
  json["line_ns"] = report.lines_ns;
  if (!report.futexes_ns.empty()) json["futex_ns"] = report.futexes_ns;
  if (!report.sleeps_per_round_trip.empty()) {
    json["sleeps_per_round_trip"] = report.sleeps_per_round_trip;
  }
  return json.dump() + "\n";
}

}  // namespace mailrail::bench
