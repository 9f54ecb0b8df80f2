#ifndef MAILRAIL_NODE_AGENT_NAMED_OBJECT_H_
#define MAILRAIL_NODE_AGENT_NAMED_OBJECT_H_

#include <cstdint>
#include <map>
#include <string>

#include "core/base/fd.h"
#include "core/shm/memory.h"
#include "core/sync/any_sync.h"
#include "proto/common.pb.h"

namespace mailrail {

// A named mutex, shared mutex, semaphore, condition or barrier of this node.
struct NamedObject {
  uint64_t id = 0;
  std::string name;
  proto::ObjectSpec spec;
  Fd memory;  // core/sync/sync_layout.h
  Mapping map;
  // The processes that have it open, by number, with the id of the last open that each was granted.
  std::map<uint32_t, uint64_t> users;

  SyncSpec sync_spec() const {
    return {static_cast<SyncKind>(spec.kind()), spec.limit(), spec.initial()};
  }
  AnySync view() const {
    return AnySync(map.data(), map.size(), static_cast<SyncKind>(spec.kind()));
  }
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_NAMED_OBJECT_H_
