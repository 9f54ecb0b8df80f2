#include "node/cli/object_rows.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/process/grants.h"
#include "node/cli/table.h"

namespace mailrail::cli {
namespace {

using Json = nlohmann::ordered_json;
using Holders = google::protobuf::RepeatedPtrField<control::ObjectHolder>;

std::string StateText(const control::ObjectRow& row) {
  switch (row.spec().kind()) {
    case proto::MUTEX:
      return row.holders().empty() ? "free" : "held";
    case proto::SHARED_MUTEX:
      if (row.holders().empty()) return "free";
      for (const control::ObjectHolder& holder : row.holders()) {
        if (!holder.shared()) return "held to write";
      }
      return absl::StrCat("held to read, ", row.holders_size());
    case proto::SEMAPHORE:
      return absl::StrCat(row.value(), " of ", row.spec().limit(), " free");
    case proto::CONDITION:
      return absl::StrCat(row.value(), row.value() == 1 ? " waits" : " wait");
    case proto::BARRIER:
      return absl::StrCat(row.value(), " of ", row.spec().limit(), " have come");
    default:
      return "";
  }
}

std::string ProcessText(const control::ObjectHolder& holder) {
  const proto::ProcessRef& process = holder.thread().process();
  return process.pid() == 0 ? "" : internal::FromProto(process).ToString();
}

// Threads other than the first of their process are told.
std::string HoldersText(const Holders& holders) {
  return absl::StrJoin(holders, ", ", [](std::string* out, const control::ObjectHolder& holder) {
    const std::string process = ProcessText(holder);
    absl::StrAppend(out, process.empty() ? "gone" : process);
    if (holder.thread().thread() > 1) absl::StrAppend(out, " thread ", holder.thread().thread());
    if (holder.shared()) absl::StrAppend(out, " to read");
  });
}

Json ToJson(const Holders& holders) {
  Json array = Json::array();
  for (const control::ObjectHolder& holder : holders) {
    array.push_back({{"process", ProcessText(holder)},
                     {"thread", holder.thread().thread()},
                     {"to_read", holder.shared()}});
  }
  return array;
}

}  // namespace

absl::string_view NameOf(proto::ObjectKind kind) {
  switch (kind) {
    case proto::MUTEX:
      return "mutex";
    case proto::SHARED_MUTEX:
      return "shared-mutex";
    case proto::SEMAPHORE:
      return "semaphore";
    case proto::CONDITION:
      return "condition";
    case proto::BARRIER:
      return "barrier";
    default:
      return "object";
  }
}

std::string FormatObjects(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    Json array = Json::array();
    for (const control::ObjectRow& row : listing.objects()) {
      array.push_back({{"kind", std::string(NameOf(row.spec().kind()))},
                       {"name", row.name()},
                       {"state", StateText(row)},
                       {"limit", row.spec().limit()},
                       {"value", row.value()},
                       {"processes", row.users()},
                       {"transient", row.spec().transient()},
                       {"held_by", ToJson(row.holders())},
                       {"waited_for_by", ToJson(row.waiters())}});
    }
    return absl::StrCat(
        absl::string_view(array.dump(2, ' ', false, Json::error_handler_t::replace)), "\n");
  }
  Table table({{"KIND"},
               {"NAME"},
               {"STATE"},
               {"PROCESSES", Table::Align::kRight},
               {"HELD BY"},
               {"WAITED FOR BY"}});
  for (const control::ObjectRow& row : listing.objects()) {
    table.AddRow({std::string(NameOf(row.spec().kind())), row.name(), StateText(row),
                  absl::StrCat(row.users()), HoldersText(row.holders()),
                  HoldersText(row.waiters())});
  }
  return table.ToString();
}

}  // namespace mailrail::cli
