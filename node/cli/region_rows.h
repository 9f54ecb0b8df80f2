// How named regions and values are printed. In JSON the keys are stable: scripts read them.
#ifndef MAILRAIL_NODE_CLI_REGION_ROWS_H_
#define MAILRAIL_NODE_CLI_REGION_ROWS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "node/cli/command.h"
#include "proto/agent.pb.h"

namespace mailrail::cli {

// "region", "value".
absl::string_view NameOf(proto::RegionSpec::Kind kind);

// A table, or an array with an object for each row.
std::string FormatRegions(const control::Listing& listing, OutputFormat format);

// One of them: lines of `key: value`, or the object.
std::string FormatRegion(const control::RegionRow& row, OutputFormat format);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_REGION_ROWS_H_
