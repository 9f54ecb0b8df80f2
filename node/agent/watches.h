#ifndef MAILRAIL_NODE_AGENT_WATCHES_H_
#define MAILRAIL_NODE_AGENT_WATCHES_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mailrail/limits.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"
#include "node/directory/peer_caller.h"
#include "proto/agent.pb.h"

namespace mailrail {

// What the processes of this node watch. A watch is kept before it is promised, an end before it is
// told, and it is told again after a restart, until the process has read it.
//
// The end of what is on another node that node tells: it is asked, and answers when the end has
// come (AwaitedEnds). A question is asked again after each reconnect, so neither a break nor a
// restart of either agent loses an end, and none of them is taken for one.
//
// One thread at a time: the loop's.
class Watches {
 public:
  struct Options {
    // Sends a notice to a process; returns its number, 0 when there is no connection now.
    std::function<uint64_t(uint32_t number, control::Notice notice)> notify;
    absl::Duration unreachable_after = kUnreachableAfter;
  };

  // All outlive it.
  Watches(Options options, Loop* loop, Registry* registry, PeerCaller* peers)
      : options_(std::move(options)), loop_(loop), registry_(registry), peers_(peers) {}

  // The watch that tells this process of this end: an earlier one, if there is one that has not
  // been told. The subject is there, or was when its node was asked. Errors as Registry::AddWatch.
  absl::StatusOr<Watch*> Add(const LocalProcess& process, uint64_t watch, const Subject& subject);
  // Nothing happens when it is not there.
  void Remove(uint32_t number, uint64_t watch);
  // A process has read its notices up to this one.
  void OnSeen(uint32_t number, uint64_t notice);

  // A process of this node is gone, after its links and lanes; a mailbox is destroyed, after it was
  // closed.
  void OnProcessGone(const LocalProcess& process, EndReason reason);
  void OnMailboxDestroyed(const LocalMailbox& mailbox);
  // Another node has started anew, without what it had; or is reached, or is no longer.
  void OnNodeAnew(const std::string& node);
  void OnPeerUp(const std::string& node);
  void OnPeerDown(const std::string& node);

  // After a restart, once everything else has resumed.
  void Resume();

 private:
  bool IsHere(const Subject& subject) const { return subject.node == registry_->node(); }
  // Whether anybody waits to be told of it.
  bool Wanted(const Subject& subject) const;
  // Sees to it that the end of something that is not here will be known.
  void Follow(const Subject& subject);
  void Ask(const Subject& subject);
  void AskLater(const Subject& subject);
  void OnAnswer(const Subject& subject, const absl::StatusOr<proto::Reply>& reply);
  // Nobody wants to know any more.
  void Forget(const Subject& subject);
  void AwaitReturn(const std::string& node);
  void End(const Subject& subject, EndReason reason);
  void Tell(const Watch& watch);
  void Drop(uint64_t id);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  PeerCaller* const peers_;
  // The ends that were told and perhaps not read, by process: number of the notice, id of the
  // watch.
  std::map<uint32_t, std::deque<std::pair<uint64_t, uint64_t>>> told_;
  std::set<std::string> asked_;  // keys of subjects whose nodes have a question of ours
  std::set<std::string> up_;     // nodes that are reached
  std::map<std::string, Loop::TimerId> returns_;  // nodes that are waited for
};

// What is asked of the home of a subject.
proto::AwaitEnd ToProto(const Subject& subject);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_WATCHES_H_
