#ifndef MAILRAIL_NODE_AGENT_OBJECTS_H_
#define MAILRAIL_NODE_AGENT_OBJECTS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"
#include "node/agent/registry.h"
#include "node/agent/wait_graph.h"
#include "proto/agent.pb.h"

namespace mailrail {

// What the agent does for named objects: makes them, hands out their memory, takes from the dead
// what they held, and keeps the graph of who waits for whom. Locking and unlocking is the
// processes' own business.
//
// The waits are not kept: who waits says so again every second, to the next agent too.
//
// One thread at a time: the loop's.
class Objects {
 public:
  // `registry` outlives it.
  explicit Objects(Registry* registry) : registry_(registry) {}

  // Fills in `grant`; returns its descriptors. kNotFound, kFailedPrecondition when it is there with
  // other numbers, kInvalidArgument, kResourceExhausted.
  absl::StatusOr<std::vector<Fd>> Open(LocalProcess* process, const control::OpenObject& open,
                                       control::ObjectGrant* grant);
  void Close(uint32_t number, const control::CloseObject& close);
  // kNotFound.
  absl::Status Destroy(const control::DestroyObject& destroy);

  // A thread waits for an object: also sees to it that nobody holds it who is not there any more.
  // kFailedPrecondition, with the cycle in words, when it waits for itself by way of others; then
  // it waits no more. kNotFound when the object was destroyed.
  absl::Status Wait(const LocalProcess& process, const control::WaitForObject& wait);
  void WaitEnded(uint32_t number, uint32_t thread) {
    if (thread <= Holder::kLargest) waits_.Remove({number, thread});
  }

  // What it held is free for others, who are told.
  void OnProcessGone(uint32_t number);
  // After a restart, when all processes are known again: what those held who are gone.
  void Resume();

  control::ObjectRow Describe(const NamedObject& object);

 private:
  // A name of this node. kUnimplemented for one of another.
  absl::StatusOr<std::string> LocalName(absl::string_view name) const;
  absl::StatusOr<NamedObject*> Make(const std::string& name, const proto::ObjectSpec& spec);
  // As WaitGraph::HoldersOf.
  std::vector<Holder> Blockers(Holder who, uint64_t object, bool shared);
  std::string InWords(const std::vector<WaitGraph::Step>& cycle);
  std::string NameOf(Holder holder);
  void Release(NamedObject* object, uint32_t number);
  void Remove(NamedObject* object);

  Registry* const registry_;
  WaitGraph waits_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_OBJECTS_H_
