#ifndef MAILRAIL_NODE_AGENT_NAMED_REGION_H_
#define MAILRAIL_NODE_AGENT_NAMED_REGION_H_

#include <cstdint>
#include <map>
#include <string>

#include "core/base/fd.h"
#include "core/region/region_control.h"
#include "core/shm/memory.h"
#include "proto/common.pb.h"

namespace mailrail {

// One handle that a process has on a region.
struct RegionOpen {
  uint32_t number = 0;   // the process
  uint64_t request = 0;  // which it was opened by: one that is repeated opens nothing more
  bool writes = false;
};

// A named region or value: one of this node, or a replica of another node's, whose versions this
// agent writes.
struct NamedRegion {
  uint64_t id = 0;
  std::string name;
  proto::RegionSpec spec;
  // Tells it from every other that has had, or will have, its name; a replica's is that of home.
  uint64_t stamp = 0;
  std::string home;  // of a replica
  Fd control;        // core/region/region_control.h
  Fd bell;
  Fd versions;  // none of one that is too large
  Fd memory;    // of a region of this node
  Mapping control_map;
  std::map<uint64_t, RegionOpen> opens;  // by their ids

  bool replica() const { return !home.empty(); }
  bool value() const { return spec.kind() == proto::RegionSpec::VALUE; }
  SnapshotGeometry geometry() const {
    return RegionGeometry(spec.bytes(), spec.schema(), replica());
  }
  RegionControl& words() const { return *reinterpret_cast<RegionControl*>(control_map.data()); }
  // The open that writes a value; 0: none.
  uint64_t writer() const {
    for (const auto& [open_id, open] : opens) {
      if (value() && open.writes) return open_id;
    }
    return 0;
  }
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_NAMED_REGION_H_
