#ifndef MAILRAIL_NODE_AGENT_REGION_MEMORIES_H_
#define MAILRAIL_NODE_AGENT_REGION_MEMORIES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "node/agent/named_region.h"
#include "proto/common.pb.h"

namespace mailrail {

// So many bytes in whole pages.
uint64_t RegionPages(uint64_t bytes);

// What a region or value takes of the node's memory, all of it.
uint64_t RegionMemoryOf(const proto::RegionSpec& spec, bool replica);

// Makes the memories of one whose spec and home are known, without a version. kResourceExhausted.
absl::Status MakeRegionMemories(NamedRegion* region);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGION_MEMORIES_H_
