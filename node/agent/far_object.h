#ifndef MAILRAIL_NODE_AGENT_FAR_OBJECT_H_
#define MAILRAIL_NODE_AGENT_FAR_OBJECT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "mailrail/process_id.h"
#include "proto/common.pb.h"
#include "proto/peer.pb.h"

namespace mailrail {

// An object of another node, its home, that processes of this one have open.
struct FarObject {
  struct User {
    ProcessId process;
    uint64_t open_id = 0;       // the last that the process was granted
    uint64_t home_open_id = 0;  // the last that the home has granted
    uint64_t epoch = 0;         // of this node at the home, in which that was
  };
  uint64_t id = 0;
  std::string node;
  uint64_t object_id = 0;  // there; 0: it was there before that node started anew
  std::string name;
  proto::ObjectSpec spec;
  std::map<uint32_t, User> users;  // by the number of their process
};

// How this node stands at another one, whose objects its processes use.
struct HomeState {
  uint64_t epoch = 0;      // proto/peer.proto
  absl::Time valid_until;  // what is held there is, at least until then
};

// A process of another node that has objects of this one open, and holds what it has of them by a
// number of this node's.
struct FarUser {
  uint32_t number = 0;
  ProcessId process;
  uint64_t epoch = 0;  // its node's, in which it came
};

// What an agent is asked until it has answered: one of both.
struct Settling {
  uint64_t id = 0;
  std::string node;
  proto::FarObjectOp op;
  proto::CloseFarObject close;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_FAR_OBJECT_H_
