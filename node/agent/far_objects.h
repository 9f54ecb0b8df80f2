#ifndef MAILRAIL_NODE_AGENT_FAR_OBJECTS_H_
#define MAILRAIL_NODE_AGENT_FAR_OBJECTS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"
#include "node/directory/peer_caller.h"
#include "proto/agent.pb.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What the agent does for its processes with objects of other nodes: it asks their homes
// (ObjectHost), and keeps up what its processes hold there.
//
// A home frees what is held by a node that has not renewed for the time of a lease, counted from
// when the home was last asked. So this agent counts from when it has last asked and was answered,
// and a sixth less: by then what its processes hold there is lost, they are told, and this node
// begins a new epoch there, in which nothing is held of the one before.
//
// What a process gives back, or has asked for and does not wait for any more, the home is asked to
// free until it has answered, also by an agent after this one; what the same holder asks next waits
// for that.
//
// One thread at a time: the loop's.
class FarObjects {
 public:
  struct Options {
    // Tells a process that what it holds of an object is lost.
    std::function<void(uint32_t number, control::Notice notice)> notify;
    // Whether a thread's wait is to be refused, since it would never end (DeadlockSearch).
    std::function<void(uint32_t number, uint32_t thread, std::function<void(const absl::Status&)>)>
        search;
    std::function<void(absl::string_view)> log;
  };

  // All outlive it.
  FarObjects(Options options, Loop* loop, Registry* registry, PeerCaller* peers);

  // Opens an object of another node for a process of this one. Errors as of Objects::Open, and of
  // PeerCalls.
  using OpenCallback = std::function<void(absl::StatusOr<control::ObjectGrant>)>;
  void Open(uint32_t number, const std::string& node, const std::string& name,
            const proto::ObjectSpec& spec, bool create, absl::Time deadline, OpenCallback done);
  // Nothing when it is none of these, or that open is over already.
  void Close(uint32_t number, const control::CloseObject& close);

  // kNotFound when this process does not have it open; kUnavailable when its home was not reached,
  // kAborted when what this process held there was lost meanwhile.
  using OpCallback = std::function<void(absl::StatusOr<proto::ObjectResult>)>;
  void Do(uint32_t number, const proto::ObjectOp& op, absl::Time deadline, OpCallback done);
  // What a thread waits for, if it is a lock of another node.
  absl::optional<proto::ThreadWait> WaitOf(uint32_t number, uint32_t thread) const;
  // REQUIRES: the op gives back what a holder has.
  void Settle(uint32_t number, const proto::ObjectOp& op);

  void OnProcessGone(uint32_t number);
  void OnPeerUp(const std::string& node);
  // Another node has started anew: what was held there is lost.
  void OnNodeAnew(const std::string& node);
  // After a restart, when all processes are known again.
  void Resume();

 private:
  using Holding = std::pair<uint32_t, uint32_t>;  // number, holder
  struct Call {
    uint32_t number = 0;
    std::string node;
    proto::ObjectOp op;
    absl::Time deadline;
    absl::Time asked;
    OpCallback done;
  };
  // Another node, and how this one stands there.
  struct Home {
    uint64_t epoch = 0;
    absl::Duration lease = absl::Seconds(30);
    absl::Time valid_until = absl::InfinitePast();
    absl::Time up_since = absl::InfinitePast();  // connected
    bool renewing = false;                       // an answer is awaited
    Loop::TimerId renew = 0;
    Loop::TimerId ends = 0;
    std::map<Holding, std::set<uint64_t>> unsettled;    // settlings
    std::map<Holding, std::deque<uint64_t>> held_back;  // calls, by serial
  };

  Home& HomeOf(const std::string& node);
  // The home has answered what was asked at `asked`; `at_once`: or if it was asked again after a
  // reconnect, then.
  void Renewed(const std::string& node, absl::Time asked, bool at_once, uint64_t lease_ms);
  // At the time until which it is valid: lost.
  void ExpectEnd(const std::string& node);
  void Renew(const std::string& node);
  void Lose(std::string node, std::string why);
  bool Uses(const std::string& node) const;

  // Asks the home; `done` gets the object, with this process as a user.
  using GrantCallback =
      std::function<void(const absl::StatusOr<proto::FarObjectGrant>& granted, FarObject* object)>;
  void AskToOpen(uint32_t number, const std::string& node, const std::string& name,
                 const proto::ObjectSpec& spec, bool create, absl::Time deadline,
                 GrantCallback done);
  void Reopen(uint64_t serial);
  void Send(uint64_t serial);
  // Looks from time to time whether a wait for a lock would never end.
  void LookForDeadlock(uint64_t serial, absl::Duration after);
  void OnAnswer(uint64_t serial, uint64_t epoch, const absl::StatusOr<proto::Reply>& reply);
  // Of a call that nobody waits for any more: it may have got something.
  void OnLateAnswer(const Call& call, uint64_t epoch, const absl::StatusOr<proto::Reply>& reply);
  void Finish(uint64_t serial, absl::StatusOr<proto::ObjectResult> result);
  // The home is asked to free what a call may have got.
  void Undo(const Call& call);
  void AddSettling(Settling settling);
  void Ask(const Settling& settling);
  void Settled(uint64_t id);
  void CloseUser(FarObject* object, uint32_t number);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  PeerCaller* const peers_;
  std::map<std::string, Home> homes_;
  uint64_t last_serial_ = 0;
  std::map<uint64_t, Call> calls_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_FAR_OBJECTS_H_
