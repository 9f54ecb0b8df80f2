#ifndef MAILRAIL_NODE_AGENT_AWAITED_ENDS_H_
#define MAILRAIL_NODE_AGENT_AWAITED_ENDS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "mailrail/message.h"
#include "node/agent/registry.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What other nodes wait for here: the ends of processes and mailboxes of this node. Each question
// is answered when the end has come; a process's only when all that it had sent to the asking node
// is there, so that its end comes behind it. Nothing of this is kept: a node asks again after each
// reconnect, and what has ended by then is answered at once.
//
// Bounded by what there is here and by the number of nodes. One thread at a time: the loop's.
class AwaitedEnds {
 public:
  using Answer = std::function<void(const std::string& node, uint64_t id, const proto::Reply&)>;

  // `registry` outlives it.
  AwaitedEnds(Registry* registry, Answer answer)
      : registry_(registry), answer_(std::move(answer)) {}

  // kInvalidArgument is answered to what makes no sense.
  void Await(const std::string& node, uint64_t id, const proto::AwaitEnd& await);
  void Forget(const std::string& node, uint64_t id, const proto::AwaitEnd& await);

  // As of Watches.
  void OnProcessGone(const LocalProcess& process, EndReason reason);
  void OnMailboxDestroyed(const LocalMailbox& mailbox);
  // A link has gone, perhaps the last of a process that was gone before.
  void OnLinkEnded();
  // Another node has started anew: it knows of no question.
  void OnNodeAnew(const std::string& node);

 private:
  struct Question {
    uint64_t id = 0;
    Subject subject;
    EndReason reason = EndReason::kNone;  // it has ended
  };
  // By the subject's key and the asking node.
  using Questions = std::map<std::pair<std::string, std::string>, Question>;

  // Of a process or mailbox of this node; kNothing for what makes no sense.
  Subject SubjectOf(const proto::AwaitEnd& await) const;
  bool Lives(const Subject& subject) const;
  // Whether anything that it had sent to that node may still be on its way.
  bool Carries(const Subject& subject, const std::string& node) const;
  void End(const Subject& subject, EndReason reason);
  // Answers if it can be answered; returns the next one.
  Questions::iterator Settle(Questions::iterator question);
  void Say(const std::string& node, uint64_t id, EndReason reason);

  Registry* const registry_;
  const Answer answer_;
  Questions questions_;
  size_t ended_ = 0;  // questions whose subjects have ended
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_AWAITED_ENDS_H_
