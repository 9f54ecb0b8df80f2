#include "node/cli/region_rows.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/process/grants.h"
#include "node/cli/table.h"

namespace mailrail::cli {
namespace {

using Json = nlohmann::ordered_json;

// A replica by its name in full.
std::string NameIn(const control::RegionRow& row) {
  return row.home().empty() ? row.name() : absl::StrCat(row.name(), "@", row.home());
}

std::string WriterOf(const control::RegionRow& row) {
  return row.has_writer() ? internal::FromProto(row.writer()).ToString() : "";
}

Json ToJson(const control::RegionRow& row) {
  Json replicas = Json::array();
  for (const std::string& node : row.replicas()) replicas.push_back(node);
  return {{"kind", std::string(NameOf(row.spec().kind()))},
          {"name", row.name()},
          {"home", row.home()},
          {"bytes", row.spec().bytes()},
          {"schema", row.spec().schema()},
          {"version", row.version()},
          {"opens", row.opens()},
          {"writer", WriterOf(row)},
          {"replicas", std::move(replicas)},
          {"transient", row.spec().transient()},
          {"memory_bytes", row.memory_bytes()}};
}

std::string Dump(const Json& json) {
  return absl::StrCat(absl::string_view(json.dump(2, ' ', false, Json::error_handler_t::replace)),
                      "\n");
}

}  // namespace

absl::string_view NameOf(proto::RegionSpec::Kind kind) {
  return kind == proto::RegionSpec::VALUE ? "value" : "region";
}

std::string FormatRegions(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    Json array = Json::array();
    for (const control::RegionRow& row : listing.regions()) array.push_back(ToJson(row));
    return Dump(array);
  }
  Table table({{"KIND"},
               {"NAME"},
               {"BYTES", Table::Align::kRight},
               {"VERSION", Table::Align::kRight},
               {"OPEN", Table::Align::kRight},
               {"WRITER"},
               {"REPLICAS"}});
  for (const control::RegionRow& row : listing.regions()) {
    table.AddRow({std::string(NameOf(row.spec().kind())), NameIn(row),
                  absl::StrCat(row.spec().bytes()), absl::StrCat(row.version()),
                  absl::StrCat(row.opens()), WriterOf(row), absl::StrJoin(row.replicas(), ", ")});
  }
  return table.ToString();
}

std::string FormatRegion(const control::RegionRow& row, OutputFormat format) {
  if (format == OutputFormat::kJson) return Dump(ToJson(row));
  Table table({{"KEY"}, {"VALUE"}});
  table.AddRow({"kind", std::string(NameOf(row.spec().kind()))});
  table.AddRow({"name", NameIn(row)});
  table.AddRow({"bytes", absl::StrCat(row.spec().bytes())});
  table.AddRow({"version", absl::StrCat(row.version())});
  table.AddRow({"open", absl::StrCat(row.opens())});
  table.AddRow({"writer", WriterOf(row)});
  table.AddRow({"replicas", absl::StrJoin(row.replicas(), ", ")});
  table.AddRow({"transient", row.spec().transient() ? "yes" : "no"});
  table.AddRow({"memory bytes", absl::StrCat(row.memory_bytes())});
  return table.ToString();
}

}  // namespace mailrail::cli
