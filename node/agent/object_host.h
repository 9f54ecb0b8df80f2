#ifndef MAILRAIL_NODE_AGENT_OBJECT_HOST_H_
#define MAILRAIL_NODE_AGENT_OBJECT_HOST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/process/watcher.h"
#include "core/sync/sync_call.h"
#include "node/agent/loop.h"
#include "node/agent/objects.h"
#include "node/agent/registry.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What the agent does with the objects of this node for processes of other nodes: their calls, as
// one of those that use the memory; the other side is FarObjects.
//
// What such a process holds is its own as long as its node renews, which each of its requests does.
// When it has not for the time of a lease, all that its processes hold is free. All requests of a
// node say its epoch there: of one that is over nothing is done any more, and in a new one nothing
// is held of the one before.
//
// A call that is repeated, because its answer was lost, is done once: by its ticket, and after a
// restart of this agent by what its holder has (SyncCall).
//
// One thread at a time: the loop's.
class ObjectHost {
 public:
  struct Options {
    absl::Duration lease = absl::Seconds(30);
    std::function<void(const std::string& node, uint64_t id, const proto::Reply& reply)> answer;
    std::function<void(absl::string_view)> log;
  };

  // All outlive it.
  ObjectHost(Options options, Loop* loop, Registry* registry, Objects* objects);
  ~ObjectHost();

  // REQUIRES: `request` is one of those that have an epoch.
  void OnRequest(const std::string& node, const proto::Request& request);
  // Another node has started anew: its processes are gone.
  void OnNodeAnew(const std::string& node);
  // After a restart: leases begin anew.
  void Resume();

 private:
  class Waiter;
  // Of one holder of one object.
  using Key = std::tuple<uint64_t, uint32_t, uint32_t>;  // object, number, holder
  struct Answered {
    uint64_t ticket = 0;
    proto::Reply reply;
  };
  struct Peer {
    uint64_t epoch = 0;
    absl::Time lease_ends;
    Loop::TimerId timer = 0;
    size_t waits = 0;
  };

  // kAborted for what is of an epoch that is over.
  absl::Status CheckEpoch(const std::string& node, uint64_t epoch);
  void Renew(const std::string& node);
  void OnLeaseTime(const std::string& node);
  // Takes all that processes of a node hold; whether there were such.
  bool TakeAll(const std::string& node);

  absl::Status Open(const std::string& node, uint64_t epoch, const proto::OpenFarObject& open,
                    proto::FarObjectGrant* grant);
  // Null when no such process of that node has anything open.
  const FarUser* FindUser(const std::string& node, const proto::ProcessRef& process);
  void Close(const std::string& node, const proto::CloseFarObject& close);
  void Do(const std::string& node, uint64_t id, const proto::FarObjectOp& op);
  void Reply(const std::string& node, uint64_t id, const absl::Status& status,
             proto::Reply reply = {});
  void Finish(const Key& key, const std::string& node, uint64_t id, uint64_t ticket,
              const absl::StatusOr<SyncCall::Result>& result);

  // Tries until it has to sleep, or has ended.
  void Try(Waiter* waiter);
  void OnWoken(uint64_t serial);
  void OnTime(uint64_t serial);
  using Waiters = std::map<Key, std::unique_ptr<Waiter>>;
  // Ends a wait: with an answer, or without.
  void End(Waiters::iterator waiter, const absl::StatusOr<SyncCall::Result>& result);
  void Drop(Waiters::iterator waiter);
  std::unique_ptr<Waiter> Take(Waiters::iterator waiter);
  void Forget(uint64_t object, uint32_t number);
  // As Objects::Far.
  void OnObjectRemoved(uint64_t object);
  std::vector<std::pair<Holder, bool>> WaitersOf(uint64_t object) const;

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  Objects* const objects_;
  const uint32_t life_;  // of this agent
  std::map<std::string, Peer> peers_;
  uint64_t last_serial_ = 0;
  std::map<Key, Answered> answered_;  // the last of each holder
  internal::Watcher watcher_;
  Waiters waiters_;
  std::map<uint64_t, Waiter*> by_serial_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_OBJECT_HOST_H_
