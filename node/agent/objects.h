#ifndef MAILRAIL_NODE_AGENT_OBJECTS_H_
#define MAILRAIL_NODE_AGENT_OBJECTS_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
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

  // What is known of threads of other nodes.
  struct Far {
    // Called when an object goes, while it is there yet.
    std::function<void(uint64_t object)> on_removed = [](uint64_t) {};
    // Those that wait for an object, and whether to read.
    std::function<std::vector<std::pair<Holder, bool>>(uint64_t object)> waiters = [](uint64_t) {
      return std::vector<std::pair<Holder, bool>>();
    };
  };
  void set_far(Far far) { far_ = std::move(far); }

  struct Opened {
    NamedObject* object = nullptr;
    uint64_t open_id = 0;
    bool created = false;
  };
  // For a process of this node or another, by its number. `name`: without a node. kNotFound,
  // kFailedPrecondition when it is there with other numbers, kInvalidArgument, kResourceExhausted.
  absl::StatusOr<Opened> Open(uint32_t number, const std::string& name,
                              const proto::ObjectSpec& spec, bool create);
  // The same for a process of this node: fills in `grant`; returns its descriptors.
  absl::StatusOr<std::vector<Fd>> Open(uint32_t number, const std::string& name,
                                       const control::OpenObject& open,
                                       control::ObjectGrant* grant);
  // False when that open is over already.
  bool Close(uint32_t number, uint64_t object_id, uint64_t open_id);
  // `object_id`: only if it is this one; 0: any. kNotFound.
  absl::Status Destroy(proto::ObjectKind kind, const std::string& name, uint64_t object_id);

  // A thread waits for an object: also sees to it that nobody holds it who is not there any more.
  // kFailedPrecondition, with the cycle in words, when it waits for itself by way of others; then
  // it waits no more. kNotFound when the object was destroyed.
  absl::Status Wait(const LocalProcess& process, const control::WaitForObject& wait);
  void WaitEnded(uint32_t number, uint32_t thread) {
    if (thread > Holder::kLargest) return;
    waits_.Remove({number, thread});
    refused_.erase({number, thread});
  }
  // What a thread of this node waits for, if it is a lock of this node.
  absl::optional<proto::ThreadWait> WaitOf(Holder who) const;
  // Wait is to return this for a thread, as long as it is the same wait, in case that nobody waits
  // for what is said now.
  void Refuse(Holder who, uint64_t serial, absl::Status why);
  // Those for whom `who` waits when it waits for a lock of this node.
  std::vector<Hold> Blockers(Holder who, uint64_t object, bool shared) const;

  // Whether a process has any object open, besides `except`.
  bool Uses(uint32_t number, uint64_t except = 0) const;

  // What it held is free for others, who are told.
  void OnProcessGone(uint32_t number);
  // After a restart, when all processes are known again: what those held who are gone.
  void Resume();

  control::ObjectRow Describe(const NamedObject& object);

 private:
  absl::StatusOr<NamedObject*> Make(const std::string& name, const proto::ObjectSpec& spec);
  std::string InWords(const std::vector<WaitGraph::Step>& cycle);
  std::string NameOf(Holder holder);
  void Release(NamedObject* object, uint32_t number);
  void Remove(NamedObject* object);

  Registry* const registry_;
  Far far_;
  WaitGraph waits_;
  struct Refusal {
    uint64_t serial = 0;
    absl::Status why;
  };
  std::map<std::pair<uint32_t, uint32_t>, Refusal> refused_;  // by number and thread
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_OBJECTS_H_
